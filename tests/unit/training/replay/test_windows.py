"""Windows that slide over utterances, and what is put together from them again."""

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.training.replay.windows import BandStatistics, mean_over_windows, window_starts
from tests.unit.training.replay.slow import windows

COUNTING = np.arange(10, dtype=np.float32)[:, None] + np.array([0.0, 100.0], np.float32)
"""Ten frames of two bands; a value says its frame and band."""


@pytest.mark.parametrize(
    ("frames", "hop", "starts"),
    [
        (10, None, [0]),
        (10, 3, [0, 3, 6]),
        (10, 4, [0, 4, 6]),
        (11, 4, [0, 4, 7]),
        (4, 1, [0]),
        (2, 1, [0]),
        (5, 9, [0, 1]),
    ],
)
def test_windows_cover_every_frame_once_or_more(frames, hop, starts):
    assert window_starts(frames, 4, hop).tolist() == starts
    if hop is not None and hop <= 4:
        assert {start + step for start in starts for step in range(4)} >= set(range(frames))


def test_windows_are_in_the_networks_layout():
    many = windows(COUNTING, 4, hop_frames=3)
    assert many.shape == (3, 2, 4)
    np.testing.assert_array_equal(many[:, 0, 0], [0, 3, 6])
    assert windows(COUNTING, 16).shape == (1, 2, 16)


@pytest.mark.parametrize("changes", [{"frame_count": 0}, {"window_frames": 0}, {"hop_frames": 0}])
def test_counts_are_positive(changes):
    with pytest.raises(InvalidArgument, match=f"{next(iter(changes))}: got 0, expected at least 1"):
        window_starts(**{"frame_count": 5, "window_frames": 2, "hop_frames": 1, **changes})


def test_scores_of_windows_are_averaged_per_utterance():
    np.testing.assert_allclose(mean_over_windows([1.0, 5.0, 3.0, -1.0], [0, 2, 0, 1], 3), [2.0, -1.0, 5.0])
    for utterances, count in (([0, 0, 2, 2], 3), ([0, 1, 2, 3], 3)):
        with pytest.raises(ValueError, match="expected at least one of each of 3"):
            mean_over_windows(np.zeros(4), utterances, count)
    with pytest.raises(ValueError, match=r"shapes \(4,\) and \(3,\)"):
        mean_over_windows(np.zeros(4), [0, 1, 2], 3)


def test_statistics_are_those_of_all_frames_together():
    frames = np.random.default_rng(0).normal([5.0, -20.0], [2.0, 0.5], (1_000, 2)).astype(np.float32)
    statistics = BandStatistics(2)
    for part in np.split(frames, [1, 1, 400, 993]):
        statistics.add(part)
    mean, std = statistics.mean_and_std()
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-5)
    still = BandStatistics(1)
    with pytest.raises(ValueError, match="no frames"):
        still.mean_and_std()
    still.add(np.full((3, 1), 7.0))
    assert still.mean_and_std()[1] == pytest.approx(0.01)
