"""What the channels give away: nothing by duration, level or silence, a lot by the spectrum."""

import numpy as np
import pytest
from scipy import signal

from earwitness.detection.eer import equal_error_rate
from earwitness.training.corpus.replay.channel import render_trial
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ, ReplayConfig, SplitSize
from earwitness.training.corpus.replay.difficulty import spectrum_features, trivial_features
from earwitness.training.corpus.replay.plan import Catalogue, plan_trials
from earwitness.training.corpus.replay.talkers import voices

CONFIG = ReplayConfig(
    phrases=2, train=SplitSize(speakers=16, rooms=6, microphones=6, loudspeakers=8, genuine=3, spoof=3)
)
NAMES = ("duration", "level", "silence before", "silence after")


def utterance(seed: int) -> np.ndarray:
    """Coloured noise in syllables: spoken by nobody, but with speech's band and rhythm."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(int(rng.uniform(0.8, 1.4) * SAMPLE_RATE_HZ))
    tract = signal.butter(1, [150, 900], "band", fs=SAMPLE_RATE_HZ, output="sos")
    rhythm = 0.05 + np.sin(np.pi * 4 * np.arange(len(noise)) / SAMPLE_RATE_HZ) ** 2
    return (0.1 * signal.sosfilt(tract, noise) * rhythm).astype(np.float32)


@pytest.fixture(scope="module")
def rendered() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trivial features `[192, 4]`, spectrum features `[192, 128]`, and which are genuine."""
    catalogue = Catalogue.draw(CONFIG)
    trials = plan_trials(CONFIG, catalogue, "train", voices(CONFIG)["train"])
    speakers = sorted({trial.speaker for trial in trials})
    waveforms = [
        render_trial(trial, catalogue, utterance(10 * speakers.index(trial.speaker) + trial.phrase)) / 32_768
        for trial in trials
    ]
    return (
        np.stack([trivial_features(each) for each in waveforms]),
        np.stack([spectrum_features(each) for each in waveforms]),
        np.array([trial.attack is None for trial in trials]),
    )


@pytest.mark.parametrize("feature", range(4), ids=NAMES)
def test_nothing_trivial_tells_the_classes_apart(rendered, feature):
    trivial, _, genuine = rendered
    assert equal_error_rate(trivial[:, feature], genuine).nearest_threshold == pytest.approx(0.5, abs=0.09)


def test_the_spectrum_tells_them_apart_but_not_fully(rendered):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _, spectrum, genuine = rendered
    half = len(genuine) // 2
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(spectrum[:half], genuine[:half])
    assert 0.01 < equal_error_rate(model.decision_function(spectrum[half:]), genuine[half:]).nearest_threshold < 0.3
