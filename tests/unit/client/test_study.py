"""Searches over ranges: what is asked, what comes of it, and a study that goes on where it was left."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.client.study import Batch, Study
from earwitness.client.sweep_values import SweepObjective
from earwitness.client.tuning_values import Span, TuningPlan, check_trials
from earwitness.client.values import Objective, Settings
from earwitness.errors import InvalidArgument

OBJECTIVE = SweepObjective(Objective("fc9", 0), "top50/versions/1")
PLAN = TuningPlan("svd-r1", "ab" * 32, OBJECTIVE, Span(1e-4, 1e-1), Span(1e-4, 1.0), Span(50, 1000))


def distance(settings: Settings) -> float:
    """Lowest at a rate of 0.01, a prior weight of 0.03 and 200 steps."""
    assert settings.learning_rate is not None
    assert settings.prior_weight is not None
    assert settings.steps is not None
    at = np.log([settings.learning_rate / 0.01, settings.prior_weight / 0.03, settings.steps / 200])
    return float(np.sum(at**2))


def tell(study: Study, batch: Batch) -> None:
    study.tell(batch, {each: distance(each) for each in batch.settings})


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ("0.1..0.01", "learning_rate", "learning_rate: got 0.1..0.01; a range goes up"),
        ("0..0.01", "learning_rate", "greater than 0"),
        ("-1..1", "prior_weight", "prior_weight: got -1..1"),
        ("nan..1", "prior_weight", "got nan..1"),
        ("1..nan", "prior_weight", "got 1..nan"),
        ("1..inf", "steps", "got 1..inf; .* finite"),
        ("0.1..11", "learning_rate", "at most 10"),
        ("1..1001", "prior_weight", "at most 1000"),
        ("50..99.5", "steps", "whole numbers"),
        ("a..b", "steps", "steps: got 'a..b'; give a number, or a range LOW..HIGH"),
        ("1..2..3", "steps", "give a number"),
        ("1..", "steps", "give a number"),
        ("1e-4...1e-1", "learning_rate", "got '1e-4...1e-1'; .*: two dots, and a digit before a point"),
        ("1...5", "prior_weight", "two dots"),
        ("0.1...0.5", "prior_weight", "two dots"),
        ("1e-4…1e-1", "learning_rate", "give a number"),
        ("1_0..20", "steps", "give a number"),
        ("٥..٩", "steps", "give a number"),
    ],
)
def test_ranges_that_are_none(words: str, field: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Span.parse(words, field).check(field)


def test_prefixes_are_doublings_and_sgd_has_none() -> None:
    assert Span.parse("1e-4..1e-1", "learning_rate") == PLAN.learning_rate
    settings = PLAN.settings(0.01, 0.1, 450)
    assert [each.steps for each in PLAN.prefixes(settings)] == [50, 100, 200, 400]
    assert {(each.learning_rate, each.prior_weight) for each in PLAN.prefixes(settings)} == {
        (settings.learning_rate, settings.prior_weight)
    }
    assert PLAN.prefixes(PLAN.settings(0.01, 0.1, 50)) == ()
    assert replace(PLAN, optimiser="sgd").prefixes(settings) == ()
    check_trials(PLAN, 166)
    with pytest.raises(InvalidArgument, match=r"got 167, 6 settings each .* take 166"):
        check_trials(PLAN, 167)


def test_what_is_asked_lies_in_the_ranges_and_comes_near_the_best() -> None:
    study = Study(PLAN)
    found: dict[Settings, float] = {}
    for _ in range(6):
        batch = study.ask(5)
        assert len(batch.trials) == 5
        for settings in batch.trials.values():
            assert set(PLAN.prefixes(settings)) <= set(batch.settings)
            assert 1e-4 <= (settings.learning_rate or 0) <= 0.1000001
            assert 50 <= (settings.steps or 0) <= 1000
        assert len(set(batch.settings)) == len(batch.settings)
        tell(study, batch)
        found |= {each: distance(each) for each in batch.settings}
    assert study.trial_count == 30
    assert study.open_batch() is None
    chance = [distance(each) for each in Study(replace(PLAN, sampler_seed=5)).ask(30).trials.values()]
    assert min(found.values()) < min(chance)


def test_a_study_goes_on_where_it_was_left(tmp_path: Path) -> None:
    whole = Study(PLAN)
    for _ in range(3):
        tell(whole, whole.ask(4))

    path = tmp_path / "study.log"
    first = Study(PLAN, path)
    tell(first, first.ask(4))
    left = first.ask(4)  # and here the process ends
    again = Study(PLAN, path)
    found = again.open_batch()
    assert found == left
    tell(again, found)
    tell(again, Study(PLAN, path).open_batch() or found)  # told twice is told once
    last = Study(PLAN, path)
    assert last.open_batch() is None
    tell(last, last.ask(4))
    assert [list(each.trials.values()) for each in last.batches] == [
        list(each.trials.values()) for each in whole.batches
    ]
    assert [each.request_id for each in last.batches] != [each.request_id for each in whole.batches]


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    tell_to = Study(PLAN, path)
    tell_to.ask(1)
    for changed in ({"steps": Span(50, 500)}, {"seed_count": 7}, {"weights_sha256": "cd" * 32}):
        with pytest.raises(InvalidArgument, match=f"another {next(iter(changed))}"):
            Study(replace(PLAN, **changed), path)


def test_settings_that_are_fixed_are_swept_once() -> None:
    fixed = replace(PLAN, learning_rate=Span(0.01, 0.01), prior_weight=Span(0.1, 0.1), steps=Span(10, 12))
    study = Study(fixed)
    for _ in range(2):
        batch = study.ask(6)
        assert len(batch.settings) <= 3
        tell(study, batch)
    assert study.trial_count == 12
