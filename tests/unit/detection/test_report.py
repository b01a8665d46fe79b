"""Figures by group: which trials each rests on, what is resampled, and groups that have no EER."""

import numpy as np
import pytest

from earwitness.detection.eer import UndefinedEer, equal_error_rate
from earwitness.detection.keys import Trial
from earwitness.detection.report import evaluate_systems
from earwitness.errors import InvalidArgument
from tests.helpers.trials import made_scores, made_trials

TRIALS = made_trials()
SCORES = np.array(list(made_scores(TRIALS).values()))
GENUINE = np.array([bool(trial.genuine) for trial in TRIALS])


def test_spoofs_of_a_loudspeaker_stand_against_all_genuine_trials() -> None:
    (system,) = evaluate_systems(TRIALS, {"a": SCORES}, ["playback", "speaker"], resamples=20)
    assert set(system.groups["playback"]) == {"P01", "P02"}
    chosen = GENUINE | np.array([trial.playback == "P02" for trial in TRIALS])
    assert system.groups["playback"]["P02"].eer == equal_error_rate(SCORES[chosen], GENUINE[chosen])
    own = np.array([trial.speaker == "M0002" for trial in TRIALS])
    found = system.groups["speaker"]["M0002"]
    assert found.eer == equal_error_rate(SCORES[own], GENUINE[own])
    assert (found.genuine, found.spoof) == ((own & GENUINE).sum(), (own & ~GENUINE).sum())
    assert (found.unit, found.units) == ("trials", own.sum())
    assert (system.figures.unit, system.figures.units) == ("speakers", 4)


def test_trials_are_resampled_where_a_speaker_is_unknown() -> None:
    trials = [*TRIALS[:-1], Trial("x", False)]
    (system,) = evaluate_systems(trials, {"a": SCORES}, resamples=5)
    assert (system.figures.unit, system.figures.units) == ("trials", len(TRIALS))
    (system,) = evaluate_systems(trials, {"a": SCORES}, resamples=0)
    assert system.figures.intervals is None
    assert "eer_convex_hull_interval" not in system.to_dict()


def test_lower_scores_may_mean_genuine() -> None:
    high = evaluate_systems(TRIALS, {"a": SCORES}, resamples=0)[0].figures
    low = evaluate_systems(TRIALS, {"a": -SCORES}, resamples=0, lower_is_genuine=True)[0].figures
    assert high.eer is not None
    assert low.eer is not None
    assert (low.eer.convex_hull, low.eer.threshold) == (high.eer.convex_hull, -high.eer.threshold)


def test_a_group_of_one_class_says_so() -> None:
    trials = [Trial("a", True, "M1"), Trial("b", True, "M1"), Trial("c", False, "M2"), Trial("d", True, "M2")]
    (system,) = evaluate_systems(trials, {"a": np.array([1.0, 2, 0, 3])}, ["speaker"], resamples=3)
    document = system.to_dict()["groups"]["speaker"]["M1"]
    assert document["undefined"] == "all 2 trials are genuine; an equal error rate needs genuine trials and spoofs"
    assert document["eer_convex_hull"] is None
    assert system.groups["speaker"]["M2"].eer is not None


def test_without_both_classes_or_the_fact_there_is_nothing_to_say() -> None:
    with pytest.raises(UndefinedEer, match="all 2 trials are spoofs"):
        evaluate_systems([Trial("a", False), Trial("b", False)], {"a": np.zeros(2)})
    with pytest.raises(InvalidArgument, match="no trial says its attack"):
        evaluate_systems(TRIALS, {"a": SCORES}, ["attack"])


def test_progress_counts_every_figure() -> None:
    told = []
    evaluate_systems(
        TRIALS, {"a": SCORES, "b": SCORES}, ["playback"], 0, progress=lambda done, total, _: told.append((done, total))
    )
    assert told == [(done, 6) for done in range(6)]
