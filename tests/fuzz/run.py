"""Sends fuzzed requests of one RPC and holds every answer, and what the servers keep, against what is promised."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.client.errors import RpcFailure, answer_lost
from earwitness.rpc.context import REQUEST_ID_KEY
from tests.fuzz.answers import Answer, faults
from tests.fuzz.draw import Request, Rpc, draw
from tests.fuzz.effects import Effects
from tests.fuzz.stage import Stage

DEADLINE_S = 120.0
"""Nothing that is asked here takes a second on a machine at rest."""
AT_ONCE = 8
ENDLESS = "Watch"
"""Health's stream goes on for ever: its first answer is enough."""
GROWTH_BYTES = 256 * 2**20
"""More than the caches of a service and what one request of each kind takes."""


@dataclass(frozen=True)
class Finding:
    """A promise that was broken, and the request that did it, if it was one alone."""

    rpc: Rpc
    fault: str
    request: Request | None = None

    def __str__(self) -> str:
        shown = "" if self.request is None else f"\n{self.request.show(self.rpc)}"
        return f"{self.rpc.path}: {self.fault}{shown}"


@dataclass
class Report:
    """What came of the requests to one RPC."""

    rpc: Rpc
    codes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    memory_bytes: dict[str, int] = field(default_factory=dict)
    """Resident memory of each service after it."""
    crash: str = ""
    """How a service ended, if one did."""

    @property
    def count(self) -> int:
        return self.codes.total()


async def fuzz(rpc: Rpc, stage: Stage, seed: int, indices: Iterable[int]) -> Report:
    """Send these requests, some at once, then look at everything that could have been harmed.

    A service that ends leaves a report with `crash`, and the requests that were on their way as its findings.
    """
    report = Report(rpc)
    before = stage.memory_bytes()
    effects = await Effects.watch(rpc, stage)
    waiting = iter(indices)
    in_flight: dict[int, Request] = {}
    began = perf_counter()

    async def work() -> None:
        for index in waiting:
            request = in_flight[index] = draw(rpc, seed, index, stage)
            answer = await send(rpc, stage.channels[rpc.server], request)
            del in_flight[index]
            report.codes[answer.code.name] += 1
            report.slowest_s = max(report.slowest_s, answer.seconds)
            for fault in () if request.breaks_off else faults(rpc.method, answer):
                report.findings.append(Finding(rpc, fault, request))
            if answer.code is grpc.StatusCode.OK:
                effects.note(request, answer)

    working = asyncio.gather(*(work() for _ in range(AT_ONCE)))
    ended = asyncio.create_task(stage.stack.watch())
    await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
    report.seconds = perf_counter() - began
    if ended.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        report.crash = str(ended.exception())
        report.findings += [Finding(rpc, f"{report.crash}; on its way was", each) for each in in_flight.values()]
        return report
    ended.cancel()
    await working
    report.findings += [Finding(rpc, fault) async for fault in _aftermath(stage, effects)]
    report.memory_bytes = stage.memory_bytes()
    for name, after in report.memory_bytes.items():
        if after > before[name] + GROWTH_BYTES:
            report.findings.append(Finding(rpc, f"the {name} grew from {before[name]} to {after} bytes"))
    return report


async def send(rpc: Rpc, channel: grpc.aio.Channel, request: Request) -> Answer:
    """The messages as they are. Where several are sent and one is wanted, grpc.aio may lose the answer to that one."""
    several = len(request.messages) > 1 and not rpc.method.client_streaming
    while True:
        answer = await _send(rpc, channel, request)
        if not (several and answer_lost(RpcFailure(answer.code, answer.message))):
            return answer


async def _send(rpc: Rpc, channel: grpc.aio.Channel, request: Request) -> Answer:
    """By a call that knows nothing of the messages' types. To the wire all calls are streams."""
    began = perf_counter()
    call: Any = None

    async def sending() -> AsyncIterator[bytes]:
        for message in request.messages:
            yield message
        if request.breaks_off:
            call.cancel()

    request_id = f"fuzz-{rpc.method.name}-{request.seed}-{request.index}"  # a finding's place in the server's log
    call = channel.stream_stream(rpc.path)(sending(), timeout=DEADLINE_S, metadata=((REQUEST_ID_KEY, request_id),))
    responses = []
    try:
        async for response in call:
            responses.append(response)
            if rpc.method.name == ENDLESS:
                call.cancel()
                return Answer(grpc.StatusCode.OK, "", (), responses, perf_counter() - began)
    except grpc.aio.AioRpcError:
        pass
    except asyncio.CancelledError:
        if not request.breaks_off:
            raise
    trailers = tuple((await call.trailing_metadata()) or ())
    return Answer(await call.code(), await call.details() or "", trailers, responses, perf_counter() - began)


async def ordinary_faults(rpc: Rpc, stage: Stage) -> list[Finding]:
    """Whether ordinary calls are still answered as before anything wrong was asked, the last time of `rpc`."""
    if await stage.ordinary() == stage.expected:
        return []
    return [Finding(rpc, "ordinary calls are answered in another way than before")]


async def _aftermath(stage: Stage, effects: Effects) -> AsyncIterator[str]:
    """Faults of the servers after the requests: what they keep, and their health."""
    async for fault in effects.faults():
        yield fault
    for server, channel in stage.channels.items():
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            yield f"the {server} is not SERVING any more"
