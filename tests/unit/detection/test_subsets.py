"""Which subset of a key counts: eval, of which figures are published, unless another is asked for."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.detection.eer import equal_error_rate
from earwitness.detection.keys import Trial, read_key
from earwitness.detection.report import evaluate_systems
from earwitness.detection.scores import matched, read_scores
from earwitness.detection.subsets import chosen, coverage
from earwitness.errors import InvalidArgument

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize(
    ("name", "subset", "nearest", "hull"),
    [
        ("la21", None, 30.00, 27.58),
        ("la21", "eval", 30.00, 27.58),
        ("la21", "all", 33.96, 32.79),
        ("pa21", None, 42.50, 35.98),
    ],
)
def test_keys_of_2021_give_what_is_published(name: str, subset: str | None, nearest: float, hull: float) -> None:
    key = read_key(CASES / f"{name}_key.txt")
    picked = chosen(key.trials, subset)
    known = {trial.id for trial in key.trials}
    found = matched(picked.trials, read_scores(CASES / f"{name}_scores.txt", known), known)
    eer = equal_error_rate(found.values, [bool(trial.genuine) for trial in picked.trials])
    assert (100 * eer.nearest_threshold, 100 * eer.convex_hull) == pytest.approx((nearest, hull), abs=0.005)
    assert found.without_key == ()


def test_what_is_left_out_is_told() -> None:
    key = read_key(CASES / "la21_key.txt")
    assert str(chosen(key.trials)) == (
        "eval: 200 of 320 trials; left out: 60 progress, 60 hidden (--subset all takes all)"
    )
    assert str(chosen(key.trials, "all")) == "all 320 trials of the key (60 progress, 200 eval, 60 hidden)"
    scored = {trial.id for trial in key.trials if trial.subset == "progress"}
    assert coverage(chosen(key.trials), key.trials, scored) == (
        "there are scores of progress 60 of 60, eval 0 of 200, hidden 0 of 60; eval is evaluated, --subset takes "
        "another"
    )


def trials(*subsets: str | None, trim: str | None = None) -> list[Trial]:
    return [Trial(f"f{number}", bool(number % 2), subset=name, trim=trim) for number, name in enumerate(subsets)]


def test_keys_without_eval() -> None:
    assert chosen(trials(None, None)).name == ""
    assert chosen(trials(None, None), "all").name == ""
    assert chosen(trials("progress", "progress")).name == "progress"
    with pytest.raises(InvalidArgument, match=r"the key has train \(1\), test \(1\) and none called eval"):
        chosen(trials("train", "test"))
    assert [trial.file for trial in chosen(trials("train", "test"), "TEST").trials] == ["f1"]
    with pytest.raises(InvalidArgument, match="no column of subsets"):
        chosen(trials(None, None), "eval")
    with pytest.raises(InvalidArgument, match=r"is 'dev'; the key has eval \(1\), progress \(1\); or all"):
        chosen(trials("eval", "progress"), "dev")


def test_both_hidden_subsets_of_2021_pa() -> None:
    key = [*trials("hidden", trim="notrim"), *trials("hidden", "hidden", trim="trim"), *trials("eval", trim="notrim")]
    counts = {name: len(chosen(key, name).trials) for name in ("hidden", "hidden1", "hidden2", "hidden1_PA")}
    assert counts == {"hidden": 3, "hidden1": 1, "hidden2": 2, "hidden1_PA": 1}
    older = trials("hidden_track_1", "hidden_track_2", "hidden_track_2")
    assert [len(chosen(older, name).trials) for name in ("hidden", "hidden1", "hidden2", "hidden_track_2")] == [
        3, 1, 2, 2,
    ]  # fmt: skip


def groups(fact: str, *rows: tuple[bool, str | None]) -> dict[str, tuple[int, int]]:
    made = [Trial(f"f{number}", genuine, **{fact: value}) for number, (genuine, value) in enumerate(rows)]
    (system,) = evaluate_systems(made, {"s": np.arange(len(made), dtype=np.float64)}, [fact], resamples=0)
    return {name: (each.genuine, each.spoof) for name, each in system.groups[fact].items()}


@pytest.mark.parametrize(
    "fact", ["attack", "vocoder", "attack_room", "attack_device", "attack_distance", "playback", "attack_tag"]
)
def test_how_spoofs_were_made_is_set_against_all_genuine_trials(fact: str) -> None:
    rows = [(True, None), (True, None), (False, "x"), (False, "y"), (False, "y")]
    assert groups(fact, *rows) == {"x": (2, 1), "y": (2, 2)}


@pytest.mark.parametrize("fact", ["codec", "transmission", "source", "room", "microphone", "gender", "trim", "speaker"])
def test_what_both_classes_have_is_set_against_its_own(fact: str) -> None:
    rows = [(True, "x"), (True, "y"), (False, "x"), (False, "y"), (False, "y")]
    assert groups(fact, *rows) == {"x": (1, 1), "y": (1, 2)}


def test_environments_are_of_spoofs_in_2017_and_of_all_in_2019() -> None:
    assert groups("environment", (True, None), (True, None), (False, "E01")) == {"E01": (2, 1)}
    rows = [(True, "aaa"), (True, "abc"), (False, "abc"), (False, "aaa"), (False, "aaa")]
    assert groups("environment", *rows) == {"aaa": (1, 2), "abc": (1, 1)}


def test_distances_of_2021_pa_are_the_talkers_or_the_devices() -> None:
    rows = [(True, "D1"), (True, "D2"), (False, "d1"), (False, "d2"), (False, "d2")]
    assert groups("distance", *rows) == {"D1": (1, 3), "D2": (1, 3), "d1": (2, 1), "d2": (2, 2)}


def test_a_fact_that_a_key_lacks_names_those_that_it_has() -> None:
    key = read_key(CASES / "pa21_key.txt")
    scores = {"s": np.arange(len(key.trials), dtype=np.float64)}
    with pytest.raises(InvalidArgument, match=r"says its attack; the key tells speaker, room, .*attack-distance, trim"):
        evaluate_systems(key.trials, scores, ["attack"], resamples=0)
