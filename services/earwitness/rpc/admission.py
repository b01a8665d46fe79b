"""A fixed number of calls in flight: more are refused at once, never queued."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from earwitness.errors import ResourceExhausted
from earwitness.rpc.auth import caller
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext, peer_address

RETRY_AFTER_S = 1.0
STRANGER_WATCHES = 8
"""Streams of health on a connection of which no call was let in: a client that watches has one for each service."""
WAITING_CALLERS = 4
"""So many callers may wait with as many calls each as the server does work for at once."""


class TooManyCalls(ResourceExhausted):
    """As many calls are in flight as the server takes."""

    reason = "TOO_MANY_CALLS"


class TooManyWaits(ResourceExhausted):
    """As many calls wait for the work of others as the server lets wait, in all or of this caller."""

    reason = "TOO_MANY_WAITS"


class TooManyWatches(ResourceExhausted):
    """As many streams of health or reflection are open as may be."""

    reason = "TOO_MANY_WATCHES"


class AdmissionInterceptor(CallInterceptor):
    """Refuses calls beyond `limit`; health and reflection always pass, within `WatchLimitInterceptor`.

    Calls that only wait take no place of those that work: one caller has `limit` of them, all have a few times that.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._working = 0
        self._waits: Counter[str] = Counter()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Return when no call is in flight."""
        await self._idle.wait()

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: TooManyCalls, TooManyWaits; what the call raises."""
        if method.is_plumbing:
            return await proceed()
        if method.waits:
            return await self._waiting(proceed)
        if self._working >= self._limit:
            raise TooManyCalls(
                f"{self._limit} calls are in flight, the most this server takes; try again in {RETRY_AFTER_S:g} s",
                retry_after_s=RETRY_AFTER_S,
            )
        self._working += 1
        try:
            return await self._counted(proceed)
        finally:
            self._working -= 1

    async def _waiting(self, proceed: Proceed) -> Any:
        name = caller().name
        for count, most, whose in (
            (self._waits[name], self._limit, "your calls"),
            (self._waits.total(), self._limit * WAITING_CALLERS, "calls"),
        ):
            if count >= most:
                raise TooManyWaits(
                    f"{count} of {whose} wait for sweeps, the most this server takes; end some, or ask now and then "
                    "with GetOperation",
                    retry_after_s=RETRY_AFTER_S,
                )
        self._waits[name] += 1
        try:
            return await self._counted(proceed)
        finally:
            self._waits[name] -= 1
            if not self._waits[name]:
                del self._waits[name]

    async def _counted(self, proceed: Proceed) -> Any:
        self._in_flight += 1
        self._idle.clear()
        try:
            return await proceed()
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()


class WatchLimitInterceptor(CallInterceptor):
    """Refuses streams of health and reflection beyond so many of all peers, of an address, of a stranger's connection.

    Single health checks pass: a watcher too many must not make a probe fail.
    """

    def __init__(self, of_all: int, of_one: int, is_known: Callable[[str], bool]) -> None:
        """`is_known` says whether a call of a peer, as gRPC writes it, was admitted."""
        self._of_all = of_all
        self._of_one = of_one
        self._is_known = is_known
        self._open: Counter[str] = Counter()
        self._of_strangers: Counter[str] = Counter()

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises: TooManyWatches; what the call raises."""
        if not method.is_plumbing or method.kind == "unary":
            return await proceed()
        peer, address = str(context.peer()), peer_address(context)
        is_known = self._is_known(peer)
        of_stranger = 0 if is_known else self._of_strangers[peer]
        for count, most, whose in (
            (of_stranger, STRANGER_WATCHES, "on a connection of which no other call was let in"),
            (self._open[address], self._of_one, f"from {address}"),
            (self._open.total(), self._of_all, "of all callers"),
        ):
            if count >= most:
                raise TooManyWatches(
                    f"{count} streams of health or reflection {whose} are open, the most that may be; end one of them "
                    f"or ask by single calls",
                    retry_after_s=RETRY_AFTER_S,
                )
        with _counted(self._open, address):
            if is_known:
                return await proceed()
            with _counted(self._of_strangers, peer):
                return await proceed()


@contextmanager
def _counted(counts: Counter[str], name: str) -> Iterator[None]:
    counts[name] += 1
    try:
        yield
    finally:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
