"""Rows kept by nearness to the real rows that a reference keeps, measured by a real scorer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.references import LAYERS, build, places_of, selected
from tests.integration.explainer.running import FC3_0, Running, failure, running, search, seeds
from tests.integration.scorer import running as scorers

LEAST_1 = pb.Objective(layer="fc3", unit=1, sense=pb.SENSE_MINIMISE)


@asynccontextmanager
async def both(tiny: TinyBundle, folder: Path, **settings) -> AsyncIterator[tuple[Running, scorers.Running]]:
    async with (
        scorers.running(folder / "scorer") as scorer,
        running(tiny, scorer_address=f"127.0.0.1:{scorer.port}", **settings) as explainer,
    ):
        yield explainer, scorer


def near(asked: pb.Search, keep: int, reference: str = "references/r", **how) -> pb.Search:
    asked.reference, asked.keep_count = reference, keep
    asked.nearness.CopyFrom(pb.Nearness(**how))
    return asked


def chosen(places: np.ndarray, count: int) -> list[int]:
    return sorted(np.argsort(places, kind="stable")[:count].tolist())


@pytest.mark.parametrize("how", [{}, {"layers": ["fc2"], "neighbour_count": 1}, {"layers": ["fc3", "conv1"]}])
async def test_the_nearest_over_the_layers_come_back_in_row_order(tiny: TinyBundle, tmp_path: Path, how) -> None:
    async with both(tiny, tmp_path) as (explainer, scorer):
        real = await build(scorer, tiny, "r", layers=LAYERS)
        kept = np.argsort(-real[:, 8], kind="stable")[:60]
        asked = search(*seeds(12), steps=6, learning_rate=0.3)
        everything = (await explainer.explain(asked, pb.ARTEFACT_TRAJECTORY)).explanations
        answer = await explainer.explain(near(asked, 5, **how), pb.ARTEFACT_TRAJECTORY)
        places = places_of(tiny, everything, kept, how.get("layers", LAYERS), how.get("neighbour_count", 5))
        rows = chosen(places, 5)
        assert [each.row_index for each in answer.explanations] == rows
        np.testing.assert_allclose([each.nearness for each in answer.explanations], places[rows])
        for each in answer.explanations:
            each.ClearField("nearness")
            assert each == everything[each.row_index]
        assert (answer.summary.searched_count, answer.summary.incomplete_count) == (12, 0)
        streamed = await explainer.stream(near(asked, 5, **how))
        assert [event.explanation.row_index for event in streamed if event.HasField("explanation")] == rows


async def test_each_objective_keeps_its_own_by_its_own_reference(tiny: TinyBundle, tmp_path: Path) -> None:
    async with both(tiny, tmp_path) as (explainer, scorer):
        real = await build(scorer, tiny, "top", layers=LAYERS)
        await build(scorer, tiny, "bottom", layers=LAYERS, selection=selected("bottom", unit=1))
        rows = [pb.Row(seed=seed) for seed in range(6)]
        rows += [pb.Row(seed=seed, objective=LEAST_1, reference="references/bottom") for seed in range(6)]
        draws = pb.Search(
            model="models/tiny", objective=FC3_0, rows=rows,
            settings=pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=400),
        )  # fmt: skip
        everything = (await explainer.explain(draws)).explanations
        answer = await explainer.explain(near(draws, 2, "references/top"))
        kept = [np.argsort(-real[:, 8], kind="stable")[:60], np.argsort(real[:, 9], kind="stable")[:60]]
        expected = chosen(places_of(tiny, everything[:6], kept[0]), 2)
        expected += [6 + row for row in chosen(places_of(tiny, everything[6:], kept[1]), 2)]
        assert [each.row_index for each in answer.explanations] == expected
        assert answer.summary.searched_count == 12


async def test_room_is_asked_for_the_rows_that_come_back(tiny: TinyBundle, tmp_path: Path) -> None:
    async with both(tiny, tmp_path) as (explainer, scorer):
        await build(scorer, tiny, "r", layers=LAYERS)
        asked = near(search(*seeds(200), steps=1), 3)
        request = pb.ExplainRequest(search=asked, max_response_bytes=6000)
        assert len((await explainer.stub.Explain(request)).explanations) == 3
        asked.keep_count = 20
        refused = await failure(explainer.stub.Explain(pb.ExplainRequest(search=asked, max_response_bytes=6000)))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "20 explanations" in refused.message


async def test_what_a_reference_does_not_keep_is_refused_before_any_search(tiny: TinyBundle, tmp_path: Path) -> None:
    async with both(tiny, tmp_path) as (explainer, scorer):
        await build(scorer, tiny, "r", layers=("fc2", "fc3"))
        await build(scorer, tiny, "all", selection=scorers.pb.Selection(all=scorers.pb.Selection.All()))
        for asked, field, said in (
            (near(search(*seeds(5)), 2, layers=["fc2", "conv1"]), "search.nearness.layers[1]", "keeps fc2, fc3"),
            (near(search(*seeds(5)), 2, layers=["fc2", "fc2"]), "search.nearness.layers[1]", "once"),
            (near(search(*seeds(5)), 2, neighbour_count=61), "search.nearness.neighbour_count", "keeps 60 rows"),
            (near(search(*seeds(5)), 2, neighbour_count=-1), "search.nearness.neighbour_count", "got -1"),
        ):
            refused = await explainer.refusal(asked)
            (violation,) = refused.violations
            assert (violation.field, said in violation.description) == (field, True), violation.description
        refused = await explainer.refusal(near(search(*seeds(5)), 2, "references/all"))
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "keeps none of them, which keep_count needs" in refused.message
        assert explainer.backend.steps == 0


async def test_a_scorer_that_goes_during_the_search_is_told_of_with_what_was_searched(
    tiny: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.explainer.real.PATIENCE_S", 0.2)
    async with running_apart(tiny, tmp_path) as (explainer, scorer, stop):
        await build(scorer, tiny, "r", layers=LAYERS)
        explainer.backend.step_s = 0.02
        explainer.backend.stepped.clear()
        asked = near(search(*seeds(4), steps=60), 2)
        searching = asyncio.create_task(failure(explainer.explain(asked)))
        await explainer.backend.stepped.wait()
        await stop()
        refused = await searching
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SCORER_UNAVAILABLE")
        assert "the 4 rows were searched" in refused.message
        assert "without keep_count all of them come back" in refused.message
        asked.keep_count = 0
        asked.reference = ""
        assert len((await explainer.explain(asked)).explanations) == 4


@asynccontextmanager
async def running_apart(tiny: TinyBundle, folder: Path):
    """As `both`, and what stops the scorer."""
    scoring = scorers.running(folder / "scorer")
    scorer = await scoring.__aenter__()
    stopped = []

    async def stop() -> None:
        if not stopped:
            stopped.append(True)
            await scoring.__aexit__(None, None, None)

    try:
        async with running(tiny, scorer_address=f"127.0.0.1:{scorer.port}") as explainer:
            yield explainer, scorer, stop
    finally:
        await stop()
