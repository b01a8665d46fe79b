"""Labelled spectrograms: what goes in comes out, on disk and in excerpts."""

import json

import numpy as np
import pytest

from earwitness.features import get_profile
from earwitness.training.corpus import DatasetError, LabelledSpectrograms, Quantisation
from tests.helpers.labelled import labelled

PROFILE = get_profile("log-mel-80@1")
QUANTISATION = Quantisation.of_profile(PROFILE)


@pytest.fixture
def data() -> LabelledSpectrograms:
    """Three clips, one too short for an excerpt; band 0 counts frames, labels are set on every third frame."""
    rng = np.random.default_rng(0)
    lengths = (200, 60, 150)
    spectrograms = [rng.uniform(-10, 3, (length, 80)).astype(np.float32) for length in lengths]
    labels = [np.arange(length) % 3 == 0 for length in lengths]
    return labelled(PROFILE, spectrograms, labels, [{"name": str(n)} for n in lengths])


def test_quantisation_error_is_half_a_step_and_the_floor_is_exact():
    values = np.linspace(QUANTISATION.low, QUANTISATION.high, 10_001, dtype=np.float32)
    back = QUANTISATION.levels()[QUANTISATION.quantise(values)]
    assert np.abs(back - values).max() <= QUANTISATION.step / 2 + 1e-5
    assert QUANTISATION.levels()[0] == np.float32(PROFILE.floor_value)
    np.testing.assert_array_equal(QUANTISATION.quantise(np.array([-99, 99], np.float32)), [0, 255])


def test_saved_data_open_as_they_were(data, tmp_path):
    data.save(tmp_path)
    opened = LabelledSpectrograms.open(tmp_path)
    assert isinstance(opened.frames, np.memmap)
    assert opened.clips == data.clips
    assert opened.profile == data.profile
    assert opened.quantisation == data.quantisation
    np.testing.assert_array_equal(opened.frames, data.frames)
    np.testing.assert_array_equal(opened.labels, data.labels)
    assert json.loads((tmp_path / "clips.json").read_text())["quantisation"]["low"] == PROFILE.floor_value


def test_an_incomplete_folder_is_refused(data, tmp_path):
    data.save(tmp_path)
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(DatasetError, match=r"labels\.npy is missing"):
        LabelledSpectrograms.open(tmp_path)


def test_arrays_that_do_not_fit_are_refused(data):
    with pytest.raises(DatasetError, match=r"labels \(409,\) do not fit 3 clips of 410 frames"):
        LabelledSpectrograms(data.profile, data.quantisation, data.frames, data.labels[:-1], data.clips)


def test_excerpts_are_cut_from_their_clip(data):
    excerpt = data.excerpt(2, 7)
    assert excerpt.shape == (80, 115)
    np.testing.assert_array_equal(excerpt, data.spectrogram(2)[7:122].T)
    for start in (-1, 36):
        with pytest.raises(IndexError, match=f"start {start}: clip 2 has 150 frames"):
            data.excerpt(2, start)


def test_random_excerpts_are_real_ones_with_their_labels(data):
    excerpts, labels = data.random_excerpts(np.random.default_rng(1), 64, dither=False)
    assert excerpts.shape == (64, 80, 115)
    assert excerpts.dtype == labels.dtype == np.float32
    starts = [(clip, start) for clip, count in ((0, 86), (2, 36)) for start in range(count)]
    known = {data.excerpt(clip, start).tobytes(): (start + 57) % 3 == 0 for clip, start in starts}
    assert len(known) == 86 + 36
    for excerpt, label in zip(excerpts, labels, strict=True):
        assert known[excerpt.tobytes()] == label


def test_dither_stays_within_half_a_step_and_spares_the_floor(data):
    silent = labelled(PROFILE, [np.full((115, 80), PROFILE.floor_value, np.float32)], [np.zeros(115, bool)], [{}])
    assert (silent.random_excerpts(np.random.default_rng(0), 2)[0] == np.float32(PROFILE.floor_value)).all()
    plain, _ = data.random_excerpts(np.random.default_rng(2), 8, dither=False)
    dithered, _ = data.random_excerpts(np.random.default_rng(2), 8)
    assert 0 < np.abs(dithered - plain).max() <= data.quantisation.step / 2 + 1e-6
    again, _ = data.random_excerpts(np.random.default_rng(2), 8)
    np.testing.assert_array_equal(dithered, again)


def test_clips_too_short_for_any_excerpt_are_named():
    short = labelled(PROFILE, [np.zeros((50, 80), np.float32)], [np.zeros(50, bool)], [{}])
    with pytest.raises(DatasetError, match="no clip has the 115 frames"):
        short.random_excerpts(np.random.default_rng(0), 1)
