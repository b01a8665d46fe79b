"""JSON Web Tokens, checked against a key set (JWKS) in a file: no key server has to answer while calls come in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt

from earwitness.errors import FailedPrecondition
from earwitness.rpc.auth import NAME_LENGTH, Caller, Role, RoleTooLow, Unauthenticated
from earwitness.rpc.files import Watched

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Public keys alone: with a secret among them, whoever can check tokens could make them."""
LEEWAY_S = 30
"""How far clocks may differ."""


class JsonWebTokens:
    """Accepts tokens that a key of the file signed, for this audience and by this issuer, not yet expired.

    Source: RFC 7519 (claims), RFC 8725 (no algorithm but those expected; audience and issuer always checked).
    """

    def __init__(self, key_file: Path, *, issuer: str, audience: str, role_claim: str) -> None:
        """`role_claim` names the claim with the role: a word, several between spaces, or a list of them.

        Raises: FailedPrecondition for a file without usable keys; OSError.
        """
        self._issuer = issuer
        self._audience = audience
        self._role_claim = role_claim
        self._keys = Watched([key_file], lambda: _read_keys(key_file))

    def caller(self, token: str) -> Caller | None:
        """Part of `Credentials`."""
        if token.count(".") != 2:
            return None
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError as err:
            raise Unauthenticated("this token has expired; get a new one") from err
        except jwt.PyJWTError as err:
            raise Unauthenticated(f"this token is not accepted: {err}") from err
        name = str(claims["sub"])[:NAME_LENGTH]
        roles = [Role[word] for word in _words(claims.get(self._role_claim)) if word in Role.__members__]
        if not roles:
            raise RoleTooLow(f"the claim {self._role_claim!r} of this token names no role: read, explain or admin")
        return Caller(name, max(roles))

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        keys = self._keys.current()
        # One key may do without a name.
        key = keys.get(header.get("kid")) or (
            next(iter(keys.values())) if len(keys) == 1 and "kid" not in header else None
        )
        if key is None:
            raise jwt.InvalidKeyError("no key of this name is known")
        if header.get("alg") != key.algorithm_name:
            raise jwt.InvalidAlgorithmError("it is signed by another algorithm than its key is for")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims


def _read_keys(path: Path) -> dict[str | None, jwt.PyJWK]:
    try:
        found = jwt.PyJWKSet.from_json(path.read_text(encoding="utf-8")).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as err:
        raise FailedPrecondition(f"jwt_jwks_file {path} is no JSON Web Key Set with usable keys: {err}") from err
    for key in found:
        if key.algorithm_name not in ALGORITHMS:
            allowed = ", ".join(ALGORITHMS)
            raise FailedPrecondition(
                f"jwt_jwks_file {path} has a key for {key.algorithm_name}; keys must be for one of {allowed}"
            )
    keys = {key.key_id: key for key in found}
    if len(keys) < len(found):
        raise FailedPrecondition(f"jwt_jwks_file {path} has keys of the same name (kid), or several without; name each")
    return keys


def _words(claim: object) -> Sequence[str]:
    listed = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return [str(each).upper() for each in listed]
