"""An explainer on the tiny bundle, behind a real server and channel."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from earwitness.explainer.server import build_server
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.inference.backend import (
    FloatArray,
    InferenceBackend,
    InferenceFailed,
    InferenceOverloaded,
    InferenceUnavailable,
)
from earwitness.inference.local import LocalBackend
from earwitness.inference.metadata import BundleMetadata
from earwitness.rpc.errors import RpcFailure, error_from_rpc
from earwitness.rpc.server import RpcServer
from tests.helpers.tiny_bundle import TinyBundle

PATIENCE_S = 240.0
"""What waiting may take on a machine that has much else to do; seconds at most on one that has not."""
MODEL = "models/tiny"
FC3_0 = pb.Objective(layer="fc3", unit=0, sense=pb.SENSE_MAXIMISE)


class Slowed:
    """The real backend, whose search graphs take `step_s` longer and fail `failing` times, and which can be made
    unreachable; models whose names end with one of `overloaded` have full queues."""

    def __init__(self, inner: InferenceBackend) -> None:
        self.inner = inner
        self.step_s = 0.0
        self.steps = 0
        self.stepped = asyncio.Event()
        self.reachable = True
        self.failing = 0
        self.overloaded: tuple[str, ...] = ()
        self.refused = asyncio.Semaphore(0)
        """Released at each call of theirs."""

    @property
    def description(self) -> str:
        return self.inner.description

    @property
    def generation(self) -> int:
        return self.inner.generation

    async def bundles(self) -> Sequence[BundleMetadata]:
        if not self.reachable:
            raise InferenceUnavailable("nobody there")
        return await self.inner.bundles()

    async def left_out(self) -> Mapping[str, str]:
        if not self.reachable:
            raise InferenceUnavailable("nobody there")
        return await self.inner.left_out()

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        if not self.reachable:
            raise InferenceUnavailable("nobody there")
        if served_name.endswith(self.overloaded):
            self.refused.release()
            raise InferenceOverloaded("the queue is full")
        async with asyncio.timeout(timeout_s):
            if served_name.endswith("_search"):
                self.steps += 1
                self.stepped.set()
                await asyncio.sleep(self.step_s)
                if self.failing > 0:
                    self.failing -= 1
                    raise InferenceFailed("the server left out the outputs ['activation']")
            return await self.inner.infer(
                served_name, inputs, outputs, weights_sha256=weights_sha256, timeout_s=timeout_s
            )

    async def ready(self) -> bool:
        return self.reachable and await self.inner.ready()

    async def close(self) -> None:
        await self.inner.close()


@dataclass(frozen=True)
class Running:
    """A started server, its backend, and a channel to it."""

    server: RpcServer
    backend: Slowed
    channel: grpc.aio.Channel
    tiny: TinyBundle

    @property
    def stub(self) -> Any:
        return explainer_pb2_grpc.ExplainerServiceStub(self.channel)

    async def explain(self, search: pb.Search, *artefacts: int, timeout_s: float = PATIENCE_S) -> pb.ExplainResponse:
        answer: pb.ExplainResponse = await self.stub.Explain(
            pb.ExplainRequest(search=search, artefacts=artefacts), timeout=timeout_s
        )
        return answer

    async def stream(
        self, search: pb.Search, *artefacts: int, timeout_s: float = PATIENCE_S
    ) -> list[pb.StreamExplainResponse]:
        request = pb.StreamExplainRequest(search=search, artefacts=artefacts)
        return [event async for event in self.stub.StreamExplain(request, timeout=timeout_s)]

    async def refusal(self, search: pb.Search, *artefacts: int, timeout_s: float = PATIENCE_S) -> RpcFailure:
        """How `Explain` fails; `StreamExplain` must fail alike."""
        unary = await failure(self.explain(search, *artefacts, timeout_s=timeout_s))
        streamed = await failure(self.stream(search, *artefacts, timeout_s=timeout_s))
        assert (unary.code, unary.message, unary.violations) == (streamed.code, streamed.message, streamed.violations)
        return unary


async def failure(call: Any) -> RpcFailure:
    """The failure of a call that must fail."""
    try:
        await call
    except grpc.aio.AioRpcError as err:
        return error_from_rpc(err)
    raise AssertionError("the call succeeded")


def search(*rows: pb.Row, objective: pb.Objective | None = FC3_0, model: str = MODEL, **settings: Any) -> pb.Search:
    """A search of the tiny bundle; one row of seed 0 unless told."""
    return pb.Search(
        model=model,
        objective=objective,
        settings=pb.Settings(**{"steps": 20, **settings}),
        rows=rows or [pb.Row(seed=0)],
    )


def seeds(count: int, first: int = 0) -> list[pb.Row]:
    """Rows that differ by their seed only."""
    return [pb.Row(seed=first + index) for index in range(count)]


@asynccontextmanager
async def running(tiny: TinyBundle, **settings: Any) -> AsyncIterator[Running]:
    """A server with its own settings."""
    backend = Slowed(LocalBackend(tiny.repository, threads=1))
    with tempfile.TemporaryDirectory() as folder:
        defaults = {"port": 0, "metrics_port": None, "progress_interval_s": 0.02, "data_dir": Path(folder)}
        async with _serving(tiny, backend, ExplainerSettings(**{**defaults, **settings})) as started:
            yield started


@asynccontextmanager
async def _serving(tiny: TinyBundle, backend: Slowed, chosen: ExplainerSettings) -> AsyncIterator[Running]:
    options = [("grpc.max_receive_message_length", chosen.max_response_bytes)]
    try:
        async with (
            await build_server(chosen, backend) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel,
        ):
            yield Running(server, backend, channel, tiny)
    finally:
        await backend.close()
