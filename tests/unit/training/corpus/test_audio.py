"""Label intervals of rendered clips."""

import numpy as np
import pytest

from earwitness.training.corpus import CorpusConfig
from earwitness.training.corpus.audio import render_clips, vocal_intervals
from earwitness.training.corpus.plan import plan_clips

CONFIG = CorpusConfig.small()


def test_intervals_cover_the_clip_without_gaps():
    frames = np.zeros(417, bool)
    frames[70:140] = True
    (first, second, third) = vocal_intervals(frames, CONFIG.profile)
    assert (first[0], first[2], second[2], third[2]) == (0.0, "nosing", "sing", "nosing")
    assert first[1] == second[0] == pytest.approx(1.0 + 512 / 22_050, abs=0.01)
    assert second[1] == third[0] == pytest.approx(2.0 + 512 / 22_050, abs=0.01)
    assert third[1] == pytest.approx(CONFIG.profile.sample_count(417) / 22_050)


def test_a_rendered_clip_is_the_corpus_clip(small_corpus):
    data = small_corpus.open("valid")
    plans = plan_clips(CONFIG, "valid")
    for number, clip in enumerate(render_clips(plans, CONFIG)):
        spectrogram = CONFIG.profile.spectrogram(clip.waveform)
        np.testing.assert_array_equal(
            data.quantisation.quantise(spectrogram), data.frames[417 * number : 417 * number + 417]
        )
        np.testing.assert_array_equal(clip.vocal_frames, data.clip_labels(number))
