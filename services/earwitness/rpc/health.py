"""The standard health service, telling what each service says of itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from grpc_health.v1 import health_pb2

from earwitness.errors import NotFound, Unavailable
from earwitness.rpc.interceptor import ServicerContext

Healthy = Callable[[], Awaitable[bool]]
Status = health_pb2.HealthCheckResponse

POLL_S = 1.0
TIMEOUT_S = 1.0
OVERALL = ""
LIVE = "live"
"""SERVING while the process answers, though what it needs may be away: where this fails, a new start may help."""
_logger = logging.getLogger(__name__)


class Health:
    """Servicer of grpc.health.v1. Asks every service once a second; overall, "", is SERVING when all are.

    grpcio-health-checking's own asyncio servicer is not used: it holds a lock while it writes to a watcher, so that one
    stalled watcher stops all status changes; and when one watcher of a service leaves, the others hear no more.
    """

    def __init__(self, services: Mapping[str, Healthy]) -> None:
        self._services = dict(services)
        self._statuses = {**dict.fromkeys([OVERALL, *self._services], Status.UNKNOWN), LIVE: Status.SERVING}
        self._failing: set[str] = set()
        self._asked: dict[str, asyncio.Future[bool]] = {}
        """Questions without an answer yet: what hangs is not asked again, or its threads would pile up."""
        self._changed = asyncio.Event()
        self._draining = False
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Set every status once, then keep them up to date."""
        await self._poll()
        self._poller = asyncio.create_task(self._poll_forever())

    async def drain(self) -> None:
        """Report NOT_SERVING from now on; watchers receive it and their streams end."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        for question in self._asked.values():
            question.cancel()
        self._draining = True
        self._set(dict.fromkeys(self._statuses, Status.NOT_SERVING))

    async def Check(self, request: health_pb2.HealthCheckRequest, context: ServicerContext) -> Any:  # noqa: N802
        """Raises: NotFound."""
        if request.service not in self._statuses:
            raise NotFound("grpc.Service", f"service {request.service!r}", f"there are {sorted(self._services)}")
        return Status(status=self._statuses[request.service])

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext
    ) -> AsyncIterator[Any]:
        """The status now and whenever it changes. Raises: Unavailable at the end of the server."""
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, Status.SERVICE_UNKNOWN)
            if status != told:
                yield Status(status=status)
                told = status
            elif self._draining:
                raise Unavailable("the server is shutting down")
            else:
                await changed.wait()

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._poll()

    async def _poll(self) -> None:
        answers = await asyncio.gather(*map(self._ask, self._services))
        serving = dict(zip(self._services, answers, strict=True)) | {OVERALL: all(answers)}
        self._set({name: Status.SERVING if fine else Status.NOT_SERVING for name, fine in serving.items()})

    async def _ask(self, name: str) -> bool:
        question = self._asked.get(name)
        try:
            if question is None:
                question = self._asked[name] = asyncio.ensure_future(self._services[name]())
            await asyncio.wait([question], timeout=TIMEOUT_S)
            if not question.done():
                raise TimeoutError(f"no answer within {TIMEOUT_S:g} s")
            del self._asked[name]
            healthy = question.result()
            self._failing.discard(name)
            return healthy
        except Exception:
            if name not in self._failing:  # once, not every second
                self._failing.add(name)
                _logger.warning("%s cannot determine whether it is healthy", name, exc_info=True)
            return False

    def _set(self, statuses: dict[str, int]) -> None:
        statuses = {**statuses, LIVE: Status.SERVING}
        if statuses == self._statuses:
            return
        for name in statuses.keys() - {OVERALL}:
            if statuses[name] != self._statuses[name]:
                _logger.info("%s is %s", name, Status.ServingStatus.Name(statuses[name]))
        self._statuses = statuses
        self._changed.set()
        self._changed = asyncio.Event()
