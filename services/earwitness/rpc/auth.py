"""Bearer tokens from a file."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, FailedPrecondition
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext


class Unauthenticated(EarwitnessError):
    """The caller sent no token, or one that is not accepted."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


def read_tokens(path: Path) -> list[str]:
    """The tokens of a file: one per line, without blank lines and comments (#).

    Raises: FailedPrecondition when there is none, as no caller could ever get in.
    """
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise FailedPrecondition(f"token_file {path} holds no token; write one per line, or unset token_file")
    return tokens


class TokenInterceptor(CallInterceptor):
    """Refuses calls without one of the tokens in `authorization: Bearer ...`; health checks need none."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: Unauthenticated; what the call raises."""
        if not method.is_health:
            self._require_token(context)
        return await proceed()

    def _require_token(self, context: ServicerContext) -> None:
        header = next((str(value) for key, value in context.invocation_metadata() or () if key == "authorization"), "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("send the metadata `authorization: Bearer TOKEN`")
        # Digests of equal length, all compared: the time tells nothing about the tokens.
        given = _digest(token.strip())
        if sum(hmac.compare_digest(given, known) for known in self._digests) == 0:
            raise Unauthenticated("this token is not accepted; ask the operator of the server for one")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
