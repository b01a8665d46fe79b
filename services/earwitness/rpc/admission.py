"""A fixed number of calls in flight: more are refused at once, never queued."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from earwitness.errors import ResourceExhausted
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext, peer_address

RETRY_AFTER_S = 1.0


class TooManyCalls(ResourceExhausted):
    """As many calls are in flight as the server takes."""

    reason = "TOO_MANY_CALLS"


class TooManyWatches(ResourceExhausted):
    """As many streams of health or reflection are open as may be."""

    reason = "TOO_MANY_WATCHES"


class AdmissionInterceptor(CallInterceptor):
    """Refuses calls beyond `limit`; health and reflection always pass, within `WatchLimitInterceptor`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Return when no call is in flight."""
        await self._idle.wait()

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: TooManyCalls; what the call raises."""
        if method.is_plumbing:
            return await proceed()
        if self._in_flight >= self._limit:
            raise TooManyCalls(
                f"{self._limit} calls are in flight, the most this server takes; try again in {RETRY_AFTER_S:g} s",
                retry_after_s=RETRY_AFTER_S,
            )
        self._in_flight += 1
        self._idle.clear()
        try:
            return await proceed()
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()


class WatchLimitInterceptor(CallInterceptor):
    """Refuses streams of health and reflection beyond so many of all peers, and so many of one address.

    Single health checks pass: a watcher too many must not make a probe fail.
    """

    def __init__(self, of_all: int, of_one: int) -> None:
        self._of_all = of_all
        self._of_one = of_one
        self._open: Counter[str] = Counter()

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: TooManyWatches; what the call raises."""
        if not method.is_plumbing or method.kind == "unary":
            return await proceed()
        with self._counted(peer_address(context)):
            return await proceed()

    @contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        for count, most, whose in (
            (self._open[address], self._of_one, f"from {address}"),
            (self._open.total(), self._of_all, "of all callers"),
        ):
            if count >= most:
                raise TooManyWatches(
                    f"{count} streams of health or reflection {whose} are open, the most that may be; end one of them "
                    f"or ask by single calls",
                    retry_after_s=RETRY_AFTER_S,
                )
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
