"""Sounds and pictures of pages that hold thousands: small, and the same bytes every time."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from earwitness.atlas.media import COLOURS, LARGEST, medium_of
from earwitness.features import get_profile, render_audio

RNG = np.random.default_rng(2)


def _wav(rate: int) -> bytes:
    file = io.BytesIO()
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32) / 9
    soundfile.write(file, tone, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.parametrize(("rate", "kind"), [(8000, "MP3"), (22050, "MP3"), (10000, "FLAC")])
def test_a_sound_is_the_sound_at_the_loudness_of_pages(rate: int, kind: str) -> None:
    spectrogram = RNG.standard_normal((8, 12)).astype(np.float32)
    made, again = medium_of(_wav(rate), spectrogram), medium_of(_wav(rate), spectrogram)
    assert made == again
    assert soundfile.info(io.BytesIO(made.sound)).format == kind
    heard, its_rate = soundfile.read(io.BytesIO(made.sound))
    assert its_rate == rate
    middle = heard[rate // 4 : rate // 2]
    assert 20 * np.log10(np.sqrt(np.mean(middle**2))) == pytest.approx(-23, abs=1)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * rate / len(middle) == pytest.approx(440, abs=10)


def test_a_picture_has_one_pixel_a_value_with_the_lowest_band_at_its_foot() -> None:
    spectrogram = np.zeros((8, 12), np.float32)
    spectrogram[0, 3] = 1  # the lowest band
    picture = Image.open(io.BytesIO(medium_of(_wav(8000), spectrogram).picture))
    assert picture.size == (12, 8)
    levels = np.asarray(picture)
    assert levels[7, 3] == COLOURS - 1
    assert levels.sum() == COLOURS - 1


def test_large_and_silent_spectrograms() -> None:
    large = Image.open(io.BytesIO(medium_of(_wav(8000), RNG.random((257, 400), np.float32)).picture))
    assert large.size == (LARGEST, LARGEST)
    silent = Image.open(io.BytesIO(medium_of(_wav(8000), np.full((8, 12), -3, np.float32)).picture))
    assert np.asarray(silent).max() == 0


def test_an_explanation_of_the_shipped_features_takes_less_than_10_kb() -> None:
    profile = get_profile("log-mel-80@1")
    _, frames = profile.excerpt_shape
    noise = RNG.standard_normal(profile.sample_count(frames)).astype(np.float32)
    (spectrogram,) = profile.excerpts(profile.spectrogram(noise), frames)
    made = medium_of(render_audio(profile, spectrogram).wav, spectrogram)
    assert len(made.sound) + len(made.picture) < 10_000
