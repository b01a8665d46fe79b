"""A real Triton that is killed, hangs, is slow, or comes back with other weights, below an explainer that searches."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.triton_install import TritonInstall, fetch_tritonserver
from earwitness.inference.tritonserver import TritonServer
from earwitness.rpc.errors import RpcFailure
from tests.faults.searches import Latents, close, explain, latents, like, search, stream, sweep, until, until_steps
from tests.faults.tally import Tally
from tests.helpers.services import PATIENCE_S, Service, service
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.sweeping import Sweeping, array

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS = range(6)
STEPS = 300
INFERENCE_TIMEOUT_S = 3.0
EXCHANGES = 4
"""Tries to exchange Triton while searches wait, at most."""
SETTINGS = {
    "backend": "triton", "inference_timeout_s": INFERENCE_TIMEOUT_S, "sweep_yield_s": 0, "sweep_rows": 4,
}  # fmt: skip


class Switch:
    """What stands between an explainer and its Tritons, as a Service of Kubernetes does: connections, cut at will."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def turn(self, port: int) -> None:
        """Cut every connection; the next ones lead to another port."""
        self.target = port
        for writer in self._writers:
            writer.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except ConnectionError:  # nobody there: as without a switch
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        self._writers -= ends


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def switch(port: int) -> AsyncIterator[Switch]:
    """Listens in front of a port."""
    made = Switch(port)
    server = await asyncio.start_server(made.connect, "127.0.0.1")
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.turn(port)


@dataclass(frozen=True)
class Running:
    """A Triton that serves the tiny bundle, an explainer on it, and what its searches find undisturbed."""

    triton: TritonServer
    explainer: Service
    expected: Latents

    async def serving(self) -> bool:
        """Whether the explainer says so."""
        request = health_pb2.HealthCheckRequest(service="earwitness.explainer.v1.ExplainerService")
        answer = await health_pb2_grpc.HealthStub(self.explainer.channel).Check(request)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture(scope="module")
def install() -> TritonInstall:
    return fetch_tritonserver()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    install: TritonInstall, tiny: TinyBundle, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("explainer")
    async with (
        TritonServer(install, tiny.repository) as triton,
        service("explainer", triton_url=triton.grpc_url, data_dir=folder, **SETTINGS) as explainer,
    ):
        yield Running(triton, explainer, latents(await explain(explainer.channel, search(SEEDS, STEPS))))


async def sweep_is_right(sweeping: Sweeping, sweep_id: str, expected: Latents) -> bool:
    """Whether a sweep ends well, with what its seeds find undisturbed."""
    if not (await sweeping.wait(sweep_id)).HasField("response"):
        return False
    (result,) = (await sweeping.get(sweep_id)).results
    return all(close(row, expected[seed]) for seed, row in enumerate(array(result.latents)))


def calls(running: Running, tally: Tally) -> list["asyncio.Task[pb.ExplainResponse | RpcFailure | None]"]:
    """A search of each seed, by either call, begun."""
    channel, right = running.explainer.channel, like(running.expected)
    kinds = (explain, stream)
    return [asyncio.create_task(tally.call(kinds[seed % 2](channel, search([seed], STEPS)), right)) for seed in SEEDS]


async def all_is_well(running: Running, tally: Tally) -> None:
    """Return when a search of each seed has found what it finds undisturbed."""
    channel, right = running.explainer.channel, like(running.expected)
    await asyncio.gather(*(tally.persist(partial(explain, channel, search([seed], STEPS)), right) for seed in SEEDS))


async def test_triton_killed(running: Running, tally: Tally) -> None:
    """Searches fail with UNAVAILABLE and may be sent again; sweeps wait and go on; nothing is found that is not so."""
    assert running.triton.pid is not None
    sweeping = Sweeping.of(running.explainer.channel)
    sweep_id = await sweeping.create(sweep(4, STEPS))
    disturbed = calls(running, tally)
    await until_steps(running.explainer, 20)
    os.kill(running.triton.pid, signal.SIGKILL)
    tally.injections += 1
    assert await running.triton.wait() == -signal.SIGKILL
    outcomes = await asyncio.gather(*disturbed)
    assert tally.retryable["UNAVAILABLE"] > 0
    assert all(each.retry_after_s for each in outcomes if isinstance(each, RpcFailure))
    refused = await tally.call(explain(running.explainer.channel, search([0], STEPS)))
    assert isinstance(refused, RpcFailure)
    assert refused.reason == "INFERENCE_UNAVAILABLE"
    await running.triton.start()
    await until(running.serving)
    await all_is_well(running, tally)
    tally.judge(await sweep_is_right(sweeping, sweep_id, running.expected))


async def test_triton_hung(running: Running, tally: Tally) -> None:
    """UNAVAILABLE after `inference_timeout_s`, best-so-far or DEADLINE_EXCEEDED before; all is well once it goes on."""
    assert running.triton.pid is not None
    sweeping, channel = Sweeping.of(running.explainer.channel), running.explainer.channel
    sweep_id = await sweeping.create(sweep(4, STEPS))
    disturbed = calls(running, tally)
    short = asyncio.create_task(tally.call(explain(channel, search([0], 10_000), INFERENCE_TIMEOUT_S / 2)))
    await until_steps(running.explainer, 20)
    os.kill(running.triton.pid, signal.SIGSTOP)
    tally.injections += 1
    try:
        outcomes = await asyncio.gather(*disturbed)
        assert {each.code for each in outcomes if isinstance(each, RpcFailure)} == {grpc.StatusCode.UNAVAILABLE}
        await short
        assert tally.retryable["DEADLINE_EXCEEDED"] <= 1
        assert not await running.serving()
    finally:
        os.kill(running.triton.pid, signal.SIGCONT)
    await until(running.serving)
    await all_is_well(running, tally)
    tally.judge(await sweep_is_right(sweeping, sweep_id, running.expected))


async def test_triton_slow(running: Running, tally: Tally) -> None:
    """The best until the deadline comes back and says so; it is what so many steps find."""
    assert running.triton.pid is not None
    pid, channel = running.triton.pid, running.explainer.channel

    async def hold_up() -> None:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.05)

    slowing = asyncio.create_task(hold_up())
    tally.injections += 1
    try:
        found = await asyncio.gather(*(tally.call(explain(channel, search([seed], 10_000), 5.0)) for seed in SEEDS[:2]))
    finally:
        slowing.cancel()
        await asyncio.gather(slowing, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)
    for answer in found:
        if isinstance(answer, pb.ExplainResponse):
            assert answer.summary.stopped_by == pb.STOPPED_BY_DEADLINE
            steps = answer.summary.row_step_count
            ((seed, latent),) = latents(answer).items()
            tally.judge(close(latent, latents(await explain(channel, search([seed], steps)))[seed]))
    await all_is_well(running, tally)


async def test_triton_exchanged(
    running: Running, install: TritonInstall, tiny: TinyBundle, tally: Tally, tmp_path: Path
) -> None:
    """Other weights are served in the middle of searches: each is of one version, or fails with ABORTED."""
    other = write_tiny_bundle(tmp_path / "models", seed=7)
    async with (
        TritonServer(install, other.repository) as second,
        switch(running.triton.grpc_port) as between,
        service(
            "explainer",
            triton_url=f"127.0.0.1:{between.port}", data_dir=tmp_path, max_concurrent_searches=1, **SETTINGS,
        ) as explainer,
    ):  # fmt: skip
        sweeping = Sweeping.of(explainer.channel)
        sweep_id = await sweeping.create(sweep(4, 10_000))
        outcomes: list[pb.ExplainResponse | RpcFailure | None] = []

        async def one_runs_and_others_wait() -> bool:
            return await explainer.metric("explainer_queue_depth") == len(SEEDS) - 1

        while True:
            disturbed = [
                asyncio.create_task(tally.call(explain(explainer.channel, search([seed], STEPS)))) for seed in SEEDS
            ]
            await until(one_runs_and_others_wait)
            await between.turn(second.grpc_port)
            tally.injections += 1
            outcomes += await asyncio.gather(*disturbed)
            if tally.retryable["ABORTED"] or tally.injections == EXCHANGES:
                break
            # On a busy machine all of them may be told that nobody is there, before there is a connection again.
            await between.turn(running.triton.grpc_port)
            outcomes.append(await tally.persist(partial(explain, explainer.channel, search(SEEDS[:1], STEPS))))
        # One was in the models and lost its connection; those that waited were planned for the weights before.
        assert tally.retryable["ABORTED"] > 0
        assert "MODEL_EXCHANGED" in {each.reason for each in outcomes if isinstance(each, RpcFailure)}
        again = await tally.persist(partial(explain, explainer.channel, search(SEEDS[:1], STEPS)))
        assert again.summary.weights_sha256 == other.metadata.weights_sha256
        now = latents(await explain(explainer.channel, search(SEEDS, STEPS)))
        assert not close(now[0], running.expected[0])
        versions = {tiny.metadata.weights_sha256: running.expected, other.metadata.weights_sha256: now}
        for answer in (*outcomes, again):
            if isinstance(answer, pb.ExplainResponse):
                tally.judge(like(versions[answer.summary.weights_sha256])(answer))
        operation = await asyncio.wait_for(sweeping.wait(sweep_id), PATIENCE_S)
        assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "start a new sweep" in operation.error.message
