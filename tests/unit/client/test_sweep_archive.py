"""A sweep as a file: what comes back is what was written, figure for figure, and anything else is refused in words."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.client.sweep_archive import ARCHIVE_FILE, DESCRIPTION, read_archive, write_archive
from earwitness.client.sweep_values import SweepResult
from earwitness.client.values import Criterion, Settings, Target
from earwitness.errors import InvalidArgument
from tests.unit.client.sweeps import PAPER, SAVED, saved_of


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    saved = saved_of("maximise", "minimise", undone=2)
    write_archive(saved, tmp_path)
    found = read_archive(tmp_path)
    assert (found.model, found.references) == (saved.model, saved.references)
    for field in fields(saved.sweep):
        if field.name != "results":
            assert getattr(found.sweep, field.name) == getattr(saved.sweep, field.name), field.name
    assert [each.done for each in found.sweep.results] == ([True] * 25 + [False] * 2) * 2
    for mine, theirs in zip(found.sweep.results, saved.sweep.results, strict=True):
        assert_same(mine, theirs)


def test_ways_and_how_they_were_ranked_come_back(tmp_path: Path) -> None:
    ways = (
        Settings("normalised", 0.2, 0.0, 100, 0.0, Target(0, 1, quantile=True), 8),
        Settings("walk", 0.3, 0.0, 200, 0.0, Target(4.5, 7)),
    )
    saved = saved_of("maximise", settings=ways)
    criterion = Criterion("nearness", ("fc8",), 3)
    (ranking,) = saved.sweep.rankings
    batches = tuple(replace(each, kept_rows=(0, 2), criterion_value=1.5) for each in ranking.batches)
    ranking = replace(ranking, batches=batches, criterion=criterion)
    saved = replace(saved, sweep=replace(saved.sweep, rankings=(ranking,), keep_count=2, criterion=criterion))
    write_archive(saved, tmp_path)
    found = read_archive(tmp_path).sweep
    assert [each.settings for each in found.results] == list(ways)
    assert (found.rankings, found.keep_count, found.criterion) == ((ranking,), 2, criterion)


def assert_same(mine: SweepResult, theirs: SweepResult) -> None:
    for field in fields(theirs):
        value, expected = getattr(mine, field.name), getattr(theirs, field.name)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)
        else:
            assert value == expected, field.name


def test_it_can_be_read_with_numpy_alone(tmp_path: Path) -> None:
    write_archive(SAVED, tmp_path)
    with np.load(tmp_path / ARCHIVE_FILE, allow_pickle=False) as arrays:
        description = json.loads(str(arrays[DESCRIPTION]))
        assert arrays["latents"].shape == (26, 5, 4)
        assert arrays["layer_activations_0"].shape == (26, 5, 2)
        assert list(arrays["seeds"]) == [3, 4, 5, 6, 7]
    assert Settings(**description["settings"][0]) == PAPER[0]
    assert description["rankings"][0]["batches"][0]["score"] == asdict(SAVED.sweep.rankings[0].batches[0].score)
    assert description["references"][0]["identity"]["weights_sha256"] == SAVED.sweep.weights_sha256


def reworded(words: str, others: str) -> Any:
    return lambda arrays: arrays.update(description=np.char.replace(arrays["description"], words, others))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.pop("latents"), "latents"),
        (lambda arrays: arrays.update(activations=arrays["activations"][:, 1:]), r"activations has shape \(26, 4\)"),
        (lambda arrays: arrays.update(layer_activations_0=arrays["layer_activations_0"][:3]), "out of bounds"),
        (lambda arrays: arrays.update(description=np.array("{}")), "format: Field required"),
        (reworded('"format":1', '"format":2'), "format: Input should be 1"),
        (reworded('"layer":"fc9"', '"layer":"../x"'), r"layer: got '\.\./x'; svd-<r1> has fc8, fc9"),
        (reworded('"unit":0', '"unit":9'), "unit: got 9"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused_in_one_line(tmp_path: Path, change: Any, said: str) -> None:
    write_archive(SAVED, tmp_path)
    with np.load(tmp_path / ARCHIVE_FILE) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    np.savez(tmp_path / ARCHIVE_FILE, **arrays)
    with pytest.raises(InvalidArgument, match=f"sweep.npz is no saved sweep of this version .*{said}") as refused:
        read_archive(tmp_path)
    assert "\n" not in refused.value.message


def test_no_archive_and_no_zip(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"has no sweep\.npz; give a folder that a sweep was saved to"):
        read_archive(tmp_path)
    (tmp_path / ARCHIVE_FILE).write_bytes(b"x")
    with pytest.raises(InvalidArgument, match="is no saved sweep"):
        read_archive(tmp_path)
