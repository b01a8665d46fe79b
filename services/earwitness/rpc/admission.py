"""A fixed number of calls in flight: more are refused at once, never queued."""

import asyncio
from typing import Any

from earwitness.errors import ResourceExhausted
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext

RETRY_AFTER_S = 1.0


class TooManyCalls(ResourceExhausted):
    """As many calls are in flight as the server takes."""

    reason = "TOO_MANY_CALLS"


class AdmissionInterceptor(CallInterceptor):
    """Refuses calls beyond `limit`; health and reflection always pass."""

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
