"""Sweeps whose nearest rows are ranked, by a criterion over several layers, with a real scorer."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc.tensors import decode, encode
from earwitness.scorer.v1 import scorer_pb2
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.references import LAYERS, build, places_of
from tests.integration.explainer.running import FC3_0, Running, failure, running
from tests.integration.explainer.sweeping import GRID, Sweeping, sweep
from tests.integration.scorer import running as scorers

Both = tuple[Running, scorers.Running]
TWO = scorer_pb2.Criterion(layer_distance=scorer_pb2.Criterion.LayerDistance(layers=["fc2", "conv1"]))
NEAR = scorer_pb2.Criterion(
    layer_nearness=scorer_pb2.Criterion.LayerNearness(neighbour_count=3), outside_range_allowed=True
)


@pytest.fixture
async def both(tiny: TinyBundle, tmp_path: Path) -> AsyncIterator[Both]:
    async with (
        scorers.running(tmp_path / "scorer") as scorer,
        running(tiny, scorer_address=f"127.0.0.1:{scorer.port}") as explainer,
    ):
        yield explainer, scorer


def ranked(reference: str = "references/r", **changes) -> pb.Sweep:
    objectives = [pb.SweepObjective(objective=FC3_0, reference=reference)]
    return sweep(objectives=objectives, **{"seed_count": 8, **changes})


async def columns(sweeping: Sweeping, tiny: TinyBundle, sweep_id: str, number: int) -> np.ndarray:
    latents = decode((await sweeping.get(sweep_id)).results[number].latents, "latents")
    units = tiny.layers(tiny.spectrogram(latents))
    return np.concatenate([units[name] for name in LAYERS], axis=1).astype(np.float32)


async def asked_directly(scorer: scorers.Running, tiny: TinyBundle, batches, criterion) -> dict[int, float]:
    """What the scorer itself ranks such rows by."""
    answer = await scorer.stub.Rank(
        scorer_pb2.RankRequest(
            reference="references/r", model="models/tiny", weights_sha256=tiny.metadata.weights_sha256, layer="fc3",
            unit=0, criterion=criterion,
            batches=[scorer_pb2.Batch(id=f"{index:06d}", activations=encode(rows)) for index, rows in batches.items()],
        )
    )  # fmt: skip
    return {int(each.id): each.criterion_value for each in answer.batches}


@pytest.mark.parametrize("criterion", [None, TWO, NEAR])
async def test_the_nearest_rows_are_ranked_by_the_criterion(both: Both, tiny: TinyBundle, criterion) -> None:
    explainer, scorer = both
    real = await build(scorer, tiny, "r", layers=LAYERS)
    kept = np.argsort(-real[:, 8], kind="stable")[:60]
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(ranked(keep_count=3, criterion=criterion))
    await sweeping.wait(sweep_id)
    (ranking,) = (await sweeping.get(sweep_id)).rankings
    assert not ranking.error
    assert ranking.criterion == (criterion or scorer_pb2.Criterion())
    assert ranking.reference_version == "references/r/versions/1"
    assert sorted(each.result_index for each in ranking.results) == list(range(12))
    batches = {}
    for each in ranking.results:
        found = await sweeping.explanations(sweep_id, each.result_index)
        places = places_of(tiny, found, kept)
        assert list(each.kept_rows) == sorted(np.argsort(places, kind="stable")[:3].tolist())
        assert each.score.row_count == 3
        batches[each.result_index] = (await columns(sweeping, tiny, sweep_id, each.result_index))[each.kept_rows]
    expected = await asked_directly(scorer, tiny, dict(sorted(batches.items())), criterion)
    for each in ranking.results:
        assert each.criterion_value == pytest.approx(expected[each.result_index], rel=1e-3)


async def test_a_sweep_is_ranked_again_by_another_criterion(both: Both, tiny: TinyBundle) -> None:
    explainer, scorer = both
    await build(scorer, tiny, "r", layers=LAYERS)
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(ranked(keep_count=4))
    await sweeping.wait(sweep_id)
    name = f"sweeps/{sweep_id}"

    async def rank(**of) -> pb.SweepRanking:
        (ranking,) = (await sweeping.explainer.RankSweep(pb.RankSweepRequest(name=name, **of))).rankings
        return ranking

    own = await rank()
    assert {len(each.kept_rows) for each in own.results} == {4}
    everything = await rank(keep_count=8, criterion=TWO)
    assert {len(each.kept_rows) for each in everything.results} == {0}, "seed_count keeps all"
    assert {each.score.row_count for each in everything.results} == {8}
    assert everything.criterion == TWO
    batches = {index: await columns(sweeping, tiny, sweep_id, index) for index in range(12)}
    expected = await asked_directly(scorer, tiny, batches, TWO)
    assert {each.result_index: each.criterion_value for each in everything.results} == pytest.approx(expected, rel=1e-3)
    for wrong in (1, 9, -1):
        refused = await failure(rank(keep_count=wrong))
        assert [each.field for each in refused.violations] == ["keep_count"]


async def test_what_cannot_be_ranked_so_is_refused_before_the_sweep(both: Both, tiny: TinyBundle) -> None:
    explainer, scorer = both
    await build(scorer, tiny, "r", layers=("fc2", "fc3"))
    await build(scorer, tiny, "all", selection=scorer_pb2.Selection(all=scorer_pb2.Selection.All()))
    sweeping = Sweeping.of(explainer.channel)
    none = scorer_pb2.Criterion(layer_distance=scorer_pb2.Criterion.LayerDistance())
    for asked, field, said in (
        (ranked(criterion=TWO), "criterion.layer_distance.layers[1]", "keeps fc2, fc3"),
        (ranked(criterion=none), "criterion.layer_distance.layers", "got none"),
        (
            ranked(criterion=scorer_pb2.Criterion(layer_nearness={"neighbour_count": 61})),
            "criterion.layer_nearness.neighbour_count", "keeps 60 rows",
        ),
    ):  # fmt: skip
        refused = await failure(sweeping.create(asked))
        (violation,) = refused.violations
        assert (violation.field, said in violation.description) == (field, True), violation.description
    for changes in ({"keep_count": 3}, {"criterion": NEAR}):
        refused = await failure(sweeping.create(ranked("references/all", **changes)))
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "sweep.objectives[0].reference: references/all is of all excerpts" in refused.message


async def test_a_plain_ranking_asks_for_no_model(both: Both, tiny: TinyBundle) -> None:
    """As of sweeps that were stored before there were criteria."""
    explainer, scorer = both
    await build(scorer, tiny, "r")
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(ranked(grid=GRID))
    await sweeping.wait(sweep_id)
    explainer.backend.reachable = False
    request = pb.RankSweepRequest(name=f"sweeps/{sweep_id}")
    (ranking,) = (await sweeping.explainer.RankSweep(request)).rankings
    assert len(ranking.results) == 12
    request.keep_count = 3
    refused = await failure(sweeping.explainer.RankSweep(request))
    assert refused.code is grpc.StatusCode.UNAVAILABLE
