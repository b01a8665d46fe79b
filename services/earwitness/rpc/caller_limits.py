"""What one caller may take of a server: calls per second, and calls in flight."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from earwitness.errors import ResourceExhausted
from earwitness.rpc.auth import caller
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext

MAX_CALLERS = 10_000
"""Remembered at once: one that has not called for longest is forgotten first, and begins anew with a full burst."""
RETRY_AFTER_S = 1.0


class CallerTooFast(ResourceExhausted):
    """The caller has used up its calls for now."""

    reason = "CALLER_TOO_FAST"


class CallerTooBusy(ResourceExhausted):
    """As many of the caller's calls are in flight as one may have."""

    reason = "CALLER_TOO_BUSY"


@dataclass
class _Account:
    tokens: float
    filled: float
    in_flight: int = 0


class CallerLimitInterceptor(CallInterceptor):
    """A token bucket and a count of calls for each caller; health and reflection always pass."""

    def __init__(
        self, per_second: float | None, burst: int, in_flight: int | None, clock: Callable[[], float] = monotonic
    ) -> None:
        """None is no limit of that kind; `burst` calls at once are free after a pause."""
        self._per_second = per_second
        self._burst = burst
        self._in_flight = in_flight
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: CallerTooFast; CallerTooBusy; what the call raises."""
        if method.is_plumbing:
            return await proceed()
        account = self._account(caller().name)
        if method.waits:  # of which admission counts each caller's by itself
            self._take(account)
            return await proceed()
        if self._in_flight is not None and account.in_flight >= self._in_flight:
            raise CallerTooBusy(
                f"{account.in_flight} of your calls are in flight, the most one caller may have; "
                f"try again in {RETRY_AFTER_S:g} s",
                retry_after_s=RETRY_AFTER_S,
            )
        self._take(account)
        account.in_flight += 1
        try:
            return await proceed()
        finally:
            account.in_flight -= 1

    def _take(self, account: _Account) -> None:
        if self._per_second is None:
            return
        now = self._clock()
        account.tokens = min(self._burst, account.tokens + (now - account.filled) * self._per_second)
        account.filled = now
        if account.tokens < 1:
            wait_s = (1 - account.tokens) / self._per_second
            raise CallerTooFast(
                f"you may make {self._per_second:g} calls a second, {self._burst} at once; try again in {wait_s:.2g} s",
                retry_after_s=wait_s,
            )
        account.tokens -= 1

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            while len(self._accounts) >= MAX_CALLERS and (idle := self._oldest_idle()) is not None:
                del self._accounts[idle]
            account = self._accounts[name] = _Account(self._burst, self._clock())
        self._accounts.move_to_end(name)
        return account

    def _oldest_idle(self) -> str | None:
        return next((name for name, each in self._accounts.items() if each.in_flight == 0), None)
