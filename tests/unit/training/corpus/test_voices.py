"""The singers: pitch as asked for, equal from equal seeds, speech that does not depend on the clock."""

import time

import numpy as np
import pytest

from earwitness.training.corpus.build import analyse_speakers, voice_path
from earwitness.training.corpus.hibari import sing_hibari
from earwitness.training.corpus.score import Note
from earwitness.training.corpus.sinsy import sing_sinsy
from earwitness.training.corpus.world import SpokenVoice, sing_world

MELODY = (Note(0.0, 1.0, 62), Note(1.0, 1.0, 66))
BREATHY = "de+f2"


@pytest.fixture(scope="module")
def spoken_twice(tmp_path_factory) -> tuple[SpokenVoice, SpokenVoice]:
    """A speaker whose breath noise espeak-ng would seed with the second of the day, analysed in two different ones."""
    voices = []
    for take in range(2):
        folder = tmp_path_factory.mktemp(f"take{take}")
        began = int(time.time())
        analyse_speakers([BREATHY], folder, workers=1)
        voices.append(SpokenVoice.load(voice_path(folder, BREATHY)))
        while int(time.time()) == began:
            time.sleep(0.05)
    return voices[0], voices[1]


def sung_midi(waveform: np.ndarray, rate_hz: int, start_s: float, end_s: float) -> float:
    """Median pitch by autocorrelation, within an octave around the melody."""
    import librosa

    part = waveform[int(start_s * rate_hz) : int(end_s * rate_hz)].astype(np.float64)
    f0 = librosa.yin(part, fmin=180, fmax=600, sr=rate_hz, frame_length=2048)
    return float(np.median(69 + 12 * np.log2(f0 / 440)))


def test_speech_is_the_same_at_any_time(spoken_twice):
    first, second = spoken_twice
    np.testing.assert_array_equal(first.log_power, second.log_power)
    assert first.syllables == second.syllables
    assert len(first.syllables) >= 3


@pytest.mark.parametrize("engine", ["hibari", "sinsy", "world"])
def test_every_engine_sings_the_melody(engine, spoken_twice):
    def sing(seed: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng(seed)
        if engine == "hibari":
            return sing_hibari(MELODY, 62, 2.0, rng)
        if engine == "sinsy":
            return sing_sinsy(MELODY, 0.5, 2.0, rng)
        return sing_world(spoken_twice[0], MELODY, 62, 2.0, rng)

    waveform, rate_hz = sing(3)
    np.testing.assert_array_equal(waveform, sing(3)[0])
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(2.0 * rate_hz, rel=0.05)
    for note in MELODY:
        # sinsy's statistical voice leaves the score by over a semitone at times, as real singers do.
        assert sung_midi(waveform, rate_hz, note.start_s + 0.3, note.end_s - 0.1) == pytest.approx(note.midi, abs=1.5)
