"""A scorer on a port of its own, a channel to it, and requests that are right until a test changes them."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from earwitness.client.partials import Partial
from earwitness.client.scorer_messages import partial_form
from earwitness.rpc.errors import RpcFailure, error_from_rpc
from earwitness.rpc.tensors import encode
from earwitness.scorer.server import build_server
from earwitness.scorer.settings import ScorerSettings
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc

UNITS = 4
WEIGHTS = "ab" * 32
Parts = list[pb.AppendActivationsRequest]
PartialParts = list[pb.MergeStatisticsRequest]


def rows_of(count: int, seed: int = 0, units: int = UNITS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, units)).astype(np.float32)


def reference(**changes: Any) -> pb.Reference:
    values = {
        "model": "models/svd-r1",
        "weights_sha256": WEIGHTS,
        "layer": "fc9",
        "unit_count": UNITS,
        "feature_profile": "log-mel-80@1",
        "selection": pb.Selection(all=pb.Selection.All()),
    }
    return pb.Reference(**(values | changes))


def creation(reference_id: str = "r", **changes: Any) -> pb.CreateReferenceRequest:
    return pb.CreateReferenceRequest(request_id=str(uuid4()), reference_id=reference_id, reference=reference(**changes))


def header(data: bytes, **changes: Any) -> pb.AppendActivationsRequest:
    values = {
        "reference": "references/r",
        "shard_id": "shard",
        "row_count": len(data) // (4 * UNITS),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return pb.AppendActivationsRequest(header=pb.ShardHeader(**(values | changes)))


def chunks(data: bytes, chunk_bytes: int = 2**20) -> Parts:
    starts = range(0, len(data), chunk_bytes)
    return [pb.AppendActivationsRequest(chunk=data[start : start + chunk_bytes]) for start in starts]


def parts(rows: np.ndarray, *, chunk_bytes: int = 2**20, **changes: Any) -> Parts:
    data = rows.astype("<f4").tobytes()
    return [header(data, **({"row_count": len(rows)} | changes)), *chunks(data, chunk_bytes)]


def partial_parts(partial: Partial, *, chunk_bytes: int = 2**20, **changes: Any) -> PartialParts:
    """The messages of MergeStatistics."""
    data = partial.to_bytes()
    values = {
        "reference": "references/r",
        "shard_id": "shard",
        "row_count": partial.row_count,
        "sha256": hashlib.sha256(data).hexdigest(),
        "form": partial_form(partial),
    }
    header = pb.MergeStatisticsRequest(header=pb.PartialHeader(**(values | changes)))
    starts = range(0, len(data), chunk_bytes)
    return [header, *(pb.MergeStatisticsRequest(chunk=data[start : start + chunk_bytes]) for start in starts)]


def scoring(rows: np.ndarray, **changes: Any) -> pb.ScoreRequest:
    values = {
        "reference": "references/r",
        "model": "models/svd-r1",
        "weights_sha256": WEIGHTS,
        "layer": "fc9",
        "activations": encode(rows),
    }
    return pb.ScoreRequest(**(values | changes))


def ranking(batches: dict[str, np.ndarray], **changes: Any) -> pb.RankRequest:
    values = {
        "reference": "references/r",
        "model": "models/svd-r1",
        "weights_sha256": WEIGHTS,
        "layer": "fc9",
        "batches": [pb.Batch(id=each, activations=encode(rows)) for each, rows in batches.items()],
    }
    return pb.RankRequest(**(values | changes))


@dataclass
class Running:
    """A scorer that serves."""

    stub: Any
    channel: grpc.aio.Channel
    registry: CollectorRegistry
    port: int = 0

    async def append(
        self, messages: Iterable[pb.AppendActivationsRequest], timeout_s: float | None = None
    ) -> pb.AppendActivationsResponse:
        async def stream() -> AsyncIterator[pb.AppendActivationsRequest]:
            for message in messages:
                yield message

        response: pb.AppendActivationsResponse = await self.stub.AppendActivations(stream(), timeout=timeout_s)
        return response

    async def merge(self, messages: Iterable[pb.MergeStatisticsRequest]) -> pb.MergeStatisticsResponse:
        async def stream() -> AsyncIterator[pb.MergeStatisticsRequest]:
            for message in messages:
                yield message

        response: pb.MergeStatisticsResponse = await self.stub.MergeStatistics(stream())
        return response

    async def read(self, name: str) -> tuple[pb.StatisticsHeader, bytes]:
        """The statistics of a version; every chunk is of a size that MergeStatistics takes."""
        first, *parts = [part async for part in self.stub.ReadStatistics(pb.ReadStatisticsRequest(name=name))]
        assert all(0 < len(part.chunk) <= 2**20 for part in parts)
        return first.header, b"".join(part.chunk for part in parts)

    async def refusal(self, method: str, request: Any) -> RpcFailure:
        """How a call fails; `request` is a list of messages where the caller streams."""
        calls = {"AppendActivations": self.append, "MergeStatistics": self.merge}
        calls["ReadStatistics"] = lambda asked: self.read(asked.name)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.get(method, getattr(self.stub, method))(request)
        return error_from_rpc(caught.value)

    async def freeze(self, reference_id: str = "r") -> pb.ReferenceVersion:
        """A version of what the reference holds."""
        request = pb.FreezeReferenceRequest(name=f"references/{reference_id}")
        version: pb.ReferenceVersion = (await self.stub.FreezeReference(request)).version
        return version

    async def frozen_reference(self, rows: np.ndarray, reference_id: str = "r", **changes: Any) -> pb.ReferenceVersion:
        """A reference of these rows with one version."""
        name = f"references/{reference_id}"
        await self.stub.CreateReference(creation(reference_id, **changes))
        await self.append(parts(rows, reference=name))
        return await self.freeze(reference_id)

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@asynccontextmanager
async def running(data_dir: Path, **settings: Any) -> AsyncIterator[Running]:
    server = await build_server(ScorerSettings(port=0, metrics_port=None, data_dir=data_dir, **settings))
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Running(scorer_pb2_grpc.ScorerServiceStub(channel), channel, server.registry, server.port)
