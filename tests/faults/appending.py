"""Shards for one reference, from several callers at once, and whether each counts, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import CollectorRegistry

from earwitness.rpc.errors import RpcFailure
from earwitness.scorer.frechet import factor_rows, frechet_distance
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from tests.faults.tally import Tally
from tests.helpers.services import Service, service
from tests.integration.scorer.running import Running, parts, rows_of, scoring

SHARD_ROWS = 50
CALLERS, SHARDS = 6, 60
BY_NAME = pb.GetReferenceRequest(name="references/r")


@asynccontextmanager
async def scorer_process(**settings: object) -> AsyncIterator[tuple[Service, Running]]:
    """A scorer as a process, and its stub."""
    async with service("scorer", **settings) as started:
        yield started, Running(scorer_pb2_grpc.ScorerServiceStub(started.channel), started.channel, CollectorRegistry())


@dataclass
class Appending:
    """CALLERS that append SHARDS between them to `references/r`, and which of these were acknowledged."""

    tally: Tally
    acknowledged: set[int] = field(default_factory=set)

    async def run(self, scorer: Running, numbers: range = range(SHARDS), timeout_s: float | None = None) -> None:
        """Send each shard once, whatever becomes of it."""
        left = iter(numbers)

        async def caller() -> None:
            for number in left:
                rows = rows_of(SHARD_ROWS, seed=number)
                call = scorer.append(parts(rows, shard_id=f"shard {number}"), timeout_s)
                if not isinstance(await self.tally.call(call), RpcFailure):
                    self.acknowledged.add(number)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async def judge_kept(self, scorer: Running) -> None:
        """Whether all that was acknowledged is there, and nothing that was not sent."""
        kept = (await scorer.stub.GetReference(BY_NAME)).reference.row_count
        self.tally.judge(SHARD_ROWS * len(self.acknowledged) <= kept <= SHARD_ROWS * SHARDS)

    async def judge_whole(self, scorer: Running) -> None:
        """Whether every shard counts once, when all have been sent again."""
        await self.run(scorer)
        version = (await scorer.stub.FreezeReference(pb.FreezeReferenceRequest(name="references/r"))).version
        rows = np.concatenate([rows_of(SHARD_ROWS, seed=number) for number in range(SHARDS)])
        batch = rows_of(20, seed=999)
        score = (await scorer.stub.Score(scoring(batch))).score
        expected = frechet_distance(batch, factor_rows(rows)).distance
        self.tally.judge(version.row_count == len(rows) and bool(np.isclose(score.distance, expected, rtol=1e-9)))
