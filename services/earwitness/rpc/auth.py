"""Who calls, and what they may: bearer tokens from a file, JSON Web Tokens, roles."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from earwitness.errors import EarwitnessError, FailedPrecondition
from earwitness.rpc.files import Watched
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext, peer_address

NAME_LENGTH = 63
_logger = logging.getLogger(__name__)


class Role(IntEnum):
    """What a caller may; each includes those before it."""

    READ = 1
    """See what there is: models, references, sweeps and their results."""
    EXPLAIN = 2
    """Have something computed: searches, sweeps, scores."""
    ADMIN = 3
    """Change what others rely on: references; delete sweeps."""


@dataclass(frozen=True)
class Caller:
    """Who calls: a name for logs and limits, and a role."""

    name: str
    role: Role


class Unauthenticated(EarwitnessError):
    """The caller sent no credential, or one that is not accepted."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class RoleTooLow(EarwitnessError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"
    reason = "ROLE_TOO_LOW"


class Credentials(Protocol):
    """One way to identify the sender of a bearer token."""

    def caller(self, token: str) -> Caller | None:
        """Who; None for a token of another kind.

        Raises: Unauthenticated for one of this kind that is not accepted.
        """


_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who made the call that this code runs for. Raises: LookupError outside of calls."""
    return _caller.get()


NOBODY = "-"
"""Stands for the name of a caller that is not known (yet)."""


def caller_name() -> str:
    """Name of who made the call, or `NOBODY`."""
    found = _caller.get(None)
    return NOBODY if found is None else found.name


class AuthInterceptor(CallInterceptor):
    """Tells who calls and refuses what they may not; health checks need nothing.

    Without `credentials` every caller has full access; the peer's certificate or address is then the name.
    """

    def __init__(
        self, credentials: Sequence[Credentials], roles: Mapping[str, Role], let_in: Callable[[str], None]
    ) -> None:
        """`roles` are the least that methods ask for, by path; what is not among them is for `Role.ADMIN`.

        `let_in` receives the peer of each admitted call, as gRPC writes it.
        """
        self._let_in = let_in
        self._credentials = tuple(credentials)
        self._roles = roles

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: Unauthenticated; RoleTooLow; what the call raises."""
        if method.is_health:
            return await proceed()
        found = self._authenticate(context) if self._credentials else Caller(_peer_name(context), Role.ADMIN)
        needed = self._roles.get(method.path, Role.ADMIN)
        if found.role < needed:
            raise RoleTooLow(
                f"{method.name} is for the role {needed.name.lower()}, this token has {found.role.name.lower()}; "
                "ask the operator of the server for one that may"
            )
        _caller.set(found)
        self._let_in(str(context.peer()))
        return await proceed()

    def _authenticate(self, context: ServicerContext) -> Caller:
        headers = [str(value) for key, value in context.invocation_metadata() or () if key == "authorization"]
        scheme, _, token = (headers[0] if len(headers) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("send the metadata `authorization: Bearer TOKEN`, once")
        for each in self._credentials:
            found = each.caller(token.strip())
            if found is not None:
                return found
        raise Unauthenticated("this token is not accepted; ask the operator of the server for one")


class StaticTokens:
    """Tokens of a file, which is read again when it changes: a line taken out is a token revoked."""

    def __init__(self, path: Path) -> None:
        """Raises: FailedPrecondition for a wrong line, or none at all, as no caller could ever get in; OSError."""
        self._callers = Watched([path], lambda: _read_tokens(path))
        if not self._callers.current():
            raise FailedPrecondition(f"token_file {path} holds no token; write one per line, or unset token_file")

    def caller(self, token: str) -> Caller | None:
        """Part of `Credentials`; never refuses, as any word may be another kind's."""
        # Digests of equal length, all compared: the time reveals nothing about the tokens.
        given = _digest(token)
        found = [who for digest, who in self._callers.current().items() if hmac.compare_digest(digest, given)]
        return found[0] if found else None


def _read_tokens(path: Path) -> dict[bytes, Caller]:
    """Lines of `TOKEN [ROLE [NAME]]`, without blank lines and comments (#); without a role a token may read only."""
    callers: dict[bytes, Caller] = {}
    without_role: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        digest = _digest(words[0])
        role = words[1].upper() if len(words) > 1 else Role.READ.name
        if len(words) == 1:
            without_role.append(number)
        if len(words) > 3 or role not in Role.__members__:
            # Not the line itself: it holds a token.
            raise FailedPrecondition(f"token_file {path}, line {number}: write TOKEN [read|explain|admin [NAME]]")
        name = words[2] if len(words) == 3 else f"token-{digest.hex()[:8]}"
        callers[digest] = Caller(name[:NAME_LENGTH], Role[role])
    if without_role:
        _logger.warning(
            "token_file %s: no role in line %s, so these tokens may read only; write TOKEN ROLE",
            path,
            ", ".join(map(str, without_role)),
        )
    return callers


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _peer_name(context: ServicerContext) -> str:
    """The common name of the peer's certificate; without one its address, without the port."""
    for name in (context.auth_context() or {}).get("x509_common_name") or ():
        return name.decode("utf-8", "replace")[:NAME_LENGTH]
    return peer_address(context)[:NAME_LENGTH]
