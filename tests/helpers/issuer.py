"""An issuer of JSON Web Tokens."""

import time
from dataclasses import dataclass
from typing import Any

import jwt


@dataclass(frozen=True)
class Issuer:
    """Signs JSON Web Tokens with a key whose public half is in `key_set`."""

    key: Any
    algorithm: str
    key_id: str

    @property
    def key_set(self) -> dict[str, Any]:
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        return {**made, "kid": self.key_id, "alg": self.algorithm}

    def token(self, key_id: str | None = None, **changes: Any) -> str:
        claims = {"iss": "https://issuer.example", "aud": "earwitness", "sub": "ada", "earwitness_role": "read",
                  "exp": time.time() + 600, **changes}  # fmt: skip
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.key, self.algorithm, headers={"kid": key_id or self.key_id})
