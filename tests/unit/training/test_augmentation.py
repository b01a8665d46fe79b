"""Augmentation by numbers: how far a pitch moves, how long a sound lasts, and which label it has afterwards."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.features import get_profile
from earwitness.training.augmentation import AugmentationConfig, Augmenter
from earwitness.training.corpus import Quantisation
from earwitness.training.segments import SegmentSampler, SegmentShape
from tests.helpers.labelled import labelled

PROFILE = get_profile("log-mel-80@1")
FREQUENCIES_HZ = PROFILE.band_frequencies_hz()
DRAWS, SHARE = 200, 0.3


def augmenter(**changes: float) -> tuple[AugmentationConfig, Augmenter]:
    config = replace(AugmentationConfig.none(), **changes)
    return config, Augmenter(config, FREQUENCIES_HZ, PROFILE.floor_value)


def drawn(seed: int) -> np.ndarray:
    """What both changes draw first, `[DRAWS]`: from −30 to 30 %."""
    found = np.random.default_rng(seed).uniform(-SHARE, SHARE, DRAWS)
    assert found.min() < -0.29 < 0.29 < found.max()
    return found


@pytest.mark.parametrize("band", [15, 40, 60])
def test_a_pitch_shift_moves_a_line_by_its_ratio(band: int) -> None:
    _, shifts = augmenter(shift=SHARE)
    line = np.full((DRAWS, 80, 10), PROFILE.floor_value, np.float32)
    line[:, band] = 0
    moved = shifts.apply(np.random.default_rng(0), line, np.tile(np.arange(10.0), (DRAWS, 1)))
    expected_hz = FREQUENCIES_HZ[band] * (1 + drawn(0))
    nearest = np.abs(FREQUENCIES_HZ[:, None] - expected_hz).argmin(axis=0)
    assert np.abs(moved[:, :, 5].argmax(axis=1) - nearest).max() <= 1
    assert np.mean(moved[:, :, 5].argmax(axis=1) == nearest) > 0.9


def test_a_stretch_changes_a_duration_by_its_ratio() -> None:
    config, stretches = augmenter(stretch=SHARE)
    source, frames, half = config.source_frames(115), 115, 35
    clicks = np.full((DRAWS, 80, source), PROFILE.floor_value, np.float32)
    clicks[:, :, [(source - 1) // 2 - half, (source - 1) // 2 + half]] = 0
    rng = np.random.default_rng(1)
    positions = stretches.centre_positions(rng, DRAWS, frames)
    heard = stretches.apply(rng, clicks, positions)[:, 0]
    apart = frames // 2 + heard[:, frames // 2 :].argmax(axis=1) - heard[:, : frames // 2].argmax(axis=1)
    np.testing.assert_allclose(apart, 2 * half / (1 + drawn(1)), atol=1.01)
    assert positions.min() >= 0
    assert positions.max() <= source - 1


def test_a_label_after_a_stretch_is_that_of_the_frame_in_the_middle() -> None:
    """Frames are numbered by their level, so that a segment shows which one each of its middles is."""
    quantisation = Quantisation.of_profile(PROFILE)
    numbers = np.repeat(quantisation.levels()[:, None], 80, axis=1)
    labels = np.random.default_rng(2).random(len(numbers)) < 0.5
    shape = SegmentShape(115, 3)
    config, _ = augmenter(stretch=SHARE)
    sampler = SegmentSampler(labelled(PROFILE, [numbers], [labels], [{}]), shape, config, 64, 0)
    segments, found = (each.numpy() for each in sampler.batch(0))
    frames = (segments[:, 40, shape.centres()] - quantisation.low) / quantisation.step
    between = np.abs(frames % 1 - 0.5) < 0.01  # either neighbour is as near
    assert np.mean(between) < 0.1
    np.testing.assert_array_equal(found[~between], labels[np.rint(frames).astype(int)][~between])
    steps = np.diff(frames, axis=1)
    assert (steps.min() < 7, steps.max() > 11) == (True, True), "nine frames apart before the stretch"
