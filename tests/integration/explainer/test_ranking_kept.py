"""RankSweep with a real scorer: what was ranked is kept whatever happens between the check and the ranking."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import FC3_0, failure, running
from tests.integration.explainer.sweeping import LEAST_1, Sweeping, sweep
from tests.integration.scorer import running as scorers

REFERENCE = "references/r"
Disturb = Callable[[scorers.Running], Awaitable[Any]]


@asynccontextmanager
async def ranked(tiny: TinyBundle, folder: Path) -> AsyncIterator[tuple[scorers.Running, Sweeping, str]]:
    """A scorer with a reference, an explainer that knows it, and the id of a sweep of two objectives, one ranked."""
    about = tiny.metadata
    async with scorers.running(folder) as scorer, running(tiny, scorer_address=f"127.0.0.1:{scorer.port}") as explainer:
        rows = scorers.rows_of(50, units=2)
        source = {"model": "models/tiny", "weights_sha256": about.weights_sha256, "layer": "fc3", "unit_count": 2}
        await scorer.stub.CreateReference(scorers.creation("r", **source))
        await scorer.append(reference_parts(rows))
        await scorer.freeze("r")
        sweeping = Sweeping.of(explainer.channel)
        objectives = [pb.SweepObjective(objective=FC3_0, reference=REFERENCE), pb.SweepObjective(objective=LEAST_1)]
        sweep_id = await sweeping.create(sweep(objectives=objectives))
        await sweeping.wait(sweep_id)
        yield scorer, sweeping, sweep_id


def reference_parts(rows: Any) -> Any:
    units = rows.shape[1]
    return scorers.parts(rows, reference=REFERENCE, row_count=rows.size // units)


async def delete(scorer: scorers.Running) -> None:
    await scorer.stub.DeleteReference(scorer_pb2.DeleteReferenceRequest(name=REFERENCE))


def then(monkeypatch: pytest.MonkeyPatch, disturb: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen when the references were found right."""
    find = ScorerClient.find

    async def and_then(scorer: ScorerClient, *of: Any) -> Any:
        found = await find(scorer, *of)
        await disturb()
        return found

    monkeypatch.setattr(ScorerClient, "find", and_then)


async def test_a_reference_that_goes_meanwhile(
    tiny: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaced the ranking by its error and answered OK."""
    async with ranked(tiny, tmp_path) as (scorer, sweeping, sweep_id):
        before = (await sweeping.get(sweep_id)).rankings
        assert [(each.objective_index, each.error, len(each.results)) for each in before] == [(0, "", 12)]
        then(monkeypatch, lambda: delete(scorer))
        refused = await failure(sweeping.explainer.RankSweep(pb.RankSweepRequest(name=f"sweeps/{sweep_id}")))
        assert (refused.code, refused.resource_name) == (grpc.StatusCode.NOT_FOUND, REFERENCE)
        assert (await sweeping.get(sweep_id)).rankings == before


async def test_a_scorer_that_goes_meanwhile_is_asked_again(
    tiny: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All objectives are ranked or none is."""
    async with ranked(tiny, tmp_path) as (_, sweeping, sweep_id):
        before = (await sweeping.get(sweep_id)).rankings
        rank, away = ScorerClient.rank, iter([False, True])

        async def fails(ranker: ScorerClient, *of: Any) -> Any:
            if next(away, False):
                await ranker._scorer.close()
                ranker._scorer = type(ranker)("127.0.0.1:1")._scorer
            return await rank(ranker, *of)

        with monkeypatch.context() as patched:
            patched.setattr(ScorerClient, "rank", fails)
            request = pb.RankSweepRequest(name=f"sweeps/{sweep_id}", references=[REFERENCE, f"{REFERENCE}/versions/1"])
            refused = await failure(sweeping.explainer.RankSweep(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SCORER_UNAVAILABLE")
        assert refused.retry_after_s is not None
        assert (await sweeping.get(sweep_id)).rankings == before


async def test_an_empty_reference_leaves_its_objective_as_it_is(tiny: TinyBundle, tmp_path: Path) -> None:
    async with ranked(tiny, tmp_path) as (_, sweeping, sweep_id):
        (first,) = (await sweeping.get(sweep_id)).rankings
        request = pb.RankSweepRequest(name=f"sweeps/{sweep_id}", references=["", REFERENCE])
        found = (await sweeping.explainer.RankSweep(request)).rankings
        assert found[0] == first
        assert [(each.objective_index, len(each.results)) for each in found] == [(0, 12), (1, 12)]
        request.references[1] = ""
        refused = await failure(sweeping.explainer.RankSweep(request))
        assert refused.violations[0].field == "references"
        assert "leaves every objective out; name a reference" in refused.message
        assert "or give none at all for the sweep's own" in refused.message
        assert "has none" not in refused.message
        too_little = pb.RankSweepRequest(name=f"sweeps/{sweep_id}", max_response_bytes=500)
        refused = await failure(sweeping.explainer.RankSweep(too_little))
        assert refused.violations[0].field == "max_response_bytes"
        assert sum(each.ByteSize() for each in found) < 128 * 24
