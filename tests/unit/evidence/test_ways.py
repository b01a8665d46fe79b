"""Ways set against each other: what is searched, who teaches and who judges, and what is made of what was heard."""

import asyncio
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from earwitness.client.values import Model, Objective, Score
from earwitness.errors import InvalidArgument
from earwitness.evidence.judges import EMBEDDING_JUDGE
from earwitness.evidence.ways.bands import SILENCE_DB, band_levels
from earwitness.evidence.ways.measure import Panel, measured
from earwitness.evidence.ways.plan import MAX_ROWS, PUBLISHED, opposite_objectives, splits, ways
from earwitness.evidence.ways.real import RealAudio
from earwitness.evidence.ways.report import write_ways
from earwitness.evidence.ways.values import REAL, Batch, Cost, Group, Part, WayEvidence, WaysEvidence, goals
from tests.unit.evidence.examples import ONE_OUTPUT, RATE_HZ, REPLAYS, TWO_OUTPUTS, Roughness, sound

SONGS = [Path(f"song-{letter}.ogg") for letter in "abcde"]


def test_without_a_gradient_there_are_draws_and_the_walk() -> None:
    with_gradient, without = ways(50, has_gradient=True), ways(50, has_gradient=False)
    assert {each.settings.optimiser for each in without} == {"draws", "walk"}
    assert {each.settings.optimiser for each in with_gradient} == {"draws", "walk", "normalised"}
    assert set(without) < set(with_gradient)
    assert {each.name: each.row_count for each in with_gradient} == {
        "prior sampling": 96,
        "normalised steps, nearest": 150,
        "normalised steps": 50,
        "walk": 150,
    }


@pytest.mark.parametrize("count", [1, 86])
def test_more_than_one_search_holds_is_refused(count: int) -> None:
    with pytest.raises(InvalidArgument, match=r"count: got \d+; it must be 2 to 85"):
        ways(count, has_gradient=True)
    assert max(each.row_count for each in ways(85, has_gradient=True)) <= MAX_ROWS


@pytest.mark.parametrize(
    ("model", "unit", "expected"),
    [
        (ONE_OUTPUT, 0, [(0, "maximise"), (0, "minimise")]),
        (TWO_OUTPUTS, 0, [(1, "maximise"), (0, "maximise")]),
        (TWO_OUTPUTS, 1, [(1, "maximise"), (0, "maximise")]),
        (REPLAYS, 1, [(0, "maximise"), (1, "maximise")]),
    ],
)
def test_what_judges_should_hear_more_of_comes_first(model: Model, unit: int, expected: list[tuple[int, str]]) -> None:
    found = opposite_objectives(model, unit)
    assert [(each.unit, each.sense) for each in found] == expected


def test_a_unit_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="unit: got 2"):
        opposite_objectives(TWO_OUTPUTS, 2)


def test_splits_hold_back_what_they_are_judged_by() -> None:
    found = splits(SONGS, 3)
    assert [[each.stem[-1] for each in one.judging] for one in found] == [["a", "b"], ["c", "d"], ["a", "e"]]
    for each in found:
        assert sorted((*each.learned, *each.judging)) == SONGS
    assert splits(SONGS, 0) == ()
    assert [len(each.judging) for each in splits(SONGS[:2], 2)] == [1, 1]


@pytest.mark.parametrize(("recordings", "count"), [(SONGS[:1], 1), (SONGS, 6)])
def test_what_cannot_be_split_so_often_is_refused(recordings: list[Path], count: int) -> None:
    with pytest.raises(InvalidArgument, match="splits"):
        splits(recordings, count)


def test_levels_of_bands_are_those_of_what_lies_in_them() -> None:
    rate_hz = 16_000
    time_s = np.arange(rate_hz) / rate_hz
    low, high = (np.sin(2 * np.pi * hz * time_s) for hz in (100.0, 7000.0))
    levels = band_levels((low + 0.1 * high).astype(np.float32), rate_hz)
    assert levels["below 300 Hz"] == pytest.approx(10 * math.log10(1 / 1.01), abs=0.01)
    assert levels["above 6 kHz"] == pytest.approx(10 * math.log10(0.01 / 1.01), abs=0.01)
    assert levels["above 4 kHz"] == pytest.approx(levels["above 6 kHz"], abs=0.01)
    assert set(band_levels(np.zeros(100, np.float32), rate_hz).values()) == {SILENCE_DB}


def real_audio() -> RealAudio:
    """Two recordings of five excerpts each, of 4 frames, one every 2: neighbours overlap."""
    activations = np.array([[9, 8, 7, 1, 0, 6, 2, 5, 3, 4]], np.float32).T
    return RealAudio(tuple(SONGS[:2]), np.repeat([0, 1], 5), np.tile(np.arange(5) * 2, 2), activations, 4, 2)


def test_the_most_activating_excerpts_do_not_overlap() -> None:
    real = real_audio()
    upwards = real.activations[:, 0].astype(np.float64)
    assert list(real.most(upwards, 4)) == [0, 2, 5, 7]
    assert list(real.most(upwards, 9)) == [0, 2, 5, 7, 9, 4]
    assert list(real.most(upwards, 9, SONGS[1:2])) == [5, 7, 9]
    assert list(real.most(-upwards, 2)) == [4, 6]


def test_excerpts_at_given_activations_are_each_used_once() -> None:
    real = real_audio()
    upwards = real.activations[:, 0].astype(np.float64)
    found = real.at(upwards, np.array([6.9, 7.1, 2.2]))
    assert list(found) == [2, 5, 8]  # 7; then 6, as neighbours of 7 overlap it; then 3, as 2 overlaps 6
    assert len(real.at(upwards, np.full(20, 5.0))) <= 6


def batch(roughness: float, count: int, shift: int = 0) -> Batch:
    sounds = tuple((sound(roughness, seed + shift), RATE_HZ) for seed in range(count))
    rng = np.random.default_rng(shift)
    labels = tuple(f"seed {seed}" for seed in range(count))
    return Batch(np.arange(count, dtype=np.float64), rng.normal(size=(count, 4, 5)).astype(np.float32), sounds, labels)


def score(distance: float) -> Score:
    return Score(distance, distance, 0.0, 6, 12, 1, 1, False, 0.0, 1.0, 0.0, 0.1, 0.0)


def silent(done: int, count: int, words: str) -> None:
    """Progress that nobody sees."""


def judged(groups: Sequence[Group]) -> list[WayEvidence]:
    judge = Roughness()
    panel = Panel({EMBEDDING_JUDGE: judge}, (), judge)
    objectives = opposite_objectives(ONE_OUTPUT, 0)

    async def all_of_it() -> list[WayEvidence]:
        real = [await panel.hear(batch(each, 12, 50).sounds, "real", silent) for each in (0.9, 0.1)]
        compared = tuple((each.embeddings, batch(0.5, 12, 50).spectrograms) for each in real)
        found = []
        for group in groups:
            heard = (
                await panel.hear(group.high.sounds, group.name, silent),
                await panel.hear(group.low.sounds, group.name, silent),
            )
            found.append(measured(panel, group, objectives, heard, (compared[0], compared[1])))
        return found

    return asyncio.run(all_of_it())


def group(name: str, high: float, low: float, distance: float) -> Group:
    costs = (Cost(20.0, 0.5), Cost(10.0, 0.25))
    return Group(name, name, batch(high, 6), batch(low, 6), (), (score(distance), score(distance)), costs)


@pytest.fixture(scope="module")
def evidence() -> WaysEvidence:
    """A way that is as good as real audio, and a published rule that is not."""
    groups = (
        group(PUBLISHED, 0.5, 0.5, 3.0),
        group("walk", 0.9, 0.1, 0.2),
        Group(REAL, "real", batch(0.9, 6, 90), batch(0.1, 6, 90)),
    )
    found = judged(groups)
    whole = Part(("a", "b"), ("a", "b"), tuple(found))
    objectives = opposite_objectives(ONE_OUTPUT, 0)
    return WaysEvidence(
        ONE_OUTPUT, objectives, ("vocal", "non-vocal"), (EMBEDDING_JUDGE,), whole, (), datetime.now(UTC), groups
    )


def test_a_way_is_held_against_real_audio_and_the_published_rule(evidence: WaysEvidence) -> None:
    published, walk, real = evidence.whole.ways
    assert walk.contrasts[0].auc == real.contrasts[0].auc == 1.0
    assert published.contrasts[0].auc < 0.9
    assert walk.high.kernel.distance < published.high.kernel.distance
    assert (walk.high.evaluations, walk.low.seconds) == (20.0, 0.25)
    assert (real.high.distance, real.high.evaluations) == (None, None)
    assert all(each.met for each in goals(evidence, walk))
    failed = {each.words for each in goals(evidence, published) if not each.met}
    assert f"told apart by {EMBEDDING_JUDGE} as real audio is" in failed
    assert {f"unit FID, {each}" for each in evidence.objectives} <= failed


def test_a_split_replaces_what_was_learnt_from_in_the_distance(evidence: WaysEvidence) -> None:
    walk = evidence.whole.ways[1]
    words = {each.words for each in goals(evidence, walk)}
    assert f"kernel distance, {evidence.objectives[0]}, no split" in words
    split = Part(("a",), ("b",), evidence.whole.ways)
    document = WaysEvidence(**{**vars(evidence), "splits": (split,)})
    words = {each.words for each in goals(document, walk)}
    assert f"kernel distance, {evidence.objectives[0]}, split 1" in words
    assert not any("no split" in each for each in words)


def test_is_written_with_its_tables_and_sounds(evidence: WaysEvidence, tmp_path: Path) -> None:
    write_ways(tmp_path / "out", evidence, example_count=2)
    document = json.loads((tmp_path / "out/ways.json").read_text())
    assert [each["name"] for each in document["whole"]["ways"]] == [PUBLISHED, "walk", REAL]
    told = document["whole"]["ways"][1]["told_apart"][EMBEDDING_JUDGE]
    assert (told["auc"], told["high_share"], told["low_share"]) == (1.0, 1.0, 0.0)
    assert all(each["met"] for each in document["goals"]["walk"])
    table = (tmp_path / "out/ways.md").read_text()
    assert [line for line in table.splitlines() if line.startswith("## ")] == [
        f"## {ONE_OUTPUT.name}: vocal / non-vocal",
        "## Goals",
    ]
    first = table.partition("## Goals")[0]
    assert [line.split(" | ")[0] for line in first.splitlines() if line.startswith("| ")] == [
        "| way", f"| {PUBLISHED}", "| walk", f"| {REAL}",
    ]  # fmt: skip
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<audio") == 3 * 2 * 2
    with pytest.raises(InvalidArgument, match="is not empty"):
        write_ways(tmp_path / "out", evidence, example_count=2)


def test_objectives_are_named(evidence: WaysEvidence) -> None:
    assert evidence.objectives == (Objective("fc9", 0), Objective("fc9", 0, "minimise"))
