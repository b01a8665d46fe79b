"""Sound and pictures of spectrograms."""

import asyncio
import io
import threading
import time

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from earwitness.explainer.plan import AUDIO_TAIL_S, PNG_BYTES_MAX, Artefact
from earwitness.explainer.render import Renderer
from earwitness.features import FeatureProfile, get_profile, render_audio, render_picture

PROFILE = get_profile("log-mel-80@1")
SHAPE = PROFILE.excerpt_shape


def tone(hz: float, profile: FeatureProfile = PROFILE) -> np.ndarray:
    """The excerpt of a tone."""
    seconds = np.arange(2 * profile.sample_rate_hz) / profile.sample_rate_hz
    waveform = (0.1 * np.sin(2 * np.pi * hz * seconds)).astype(np.float32)
    return profile.spectrogram(waveform)[: profile.excerpt_shape[1]].T


def heard(wav: bytes) -> tuple[np.ndarray, float]:
    """Samples and the loudest frequency of a WAV file."""
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return samples, float(np.argmax(spectrum) * rate_hz / len(samples))


def test_audio_sounds_as_its_spectrogram() -> None:
    audio = render_audio(PROFILE, tone(1000))
    info = soundfile.info(io.BytesIO(audio.wav))
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, 22050)
    assert info.duration <= SHAPE[1] / PROFILE.frames_per_second + AUDIO_TAIL_S
    samples, loudest_hz = heard(audio.wav)
    assert abs(loudest_hz - 1000) < 60
    assert 0.9 < np.abs(samples).max() <= 1
    assert np.abs(samples).max() / audio.gain == pytest.approx(0.1, rel=0.5)


def test_the_same_spectrogram_has_the_same_sound() -> None:
    assert render_audio(PROFILE, tone(440)) == render_audio(PROFILE, tone(440))


def test_levels_beyond_float32_still_sound() -> None:
    audio = render_audio(PROFILE, tone(1000) + np.float32(120))
    _, loudest_hz = heard(audio.wav)
    assert abs(loudest_hz - 1000) < 60
    assert 0 < audio.gain < 1e-40


@pytest.mark.parametrize("name", ["log-mel-80@1", "log-power-512@1", "log-mel-80-16k@1", "log-cqt-84@1"])
def test_every_front_end_tells_the_level_that_was_asked_for(name: str) -> None:
    profile = get_profile(name)
    plain, loud = (render_audio(profile, tone(1000, profile) + np.float32(more)) for more in (0, 120))
    assert soundfile.info(io.BytesIO(loud.wav)).samplerate == profile.sample_rate_hz
    louder = {"log magnitude": 120, "log power": 60}[profile.value_label]
    assert np.log(plain.gain / loud.gain) == pytest.approx(louder, abs=0.5)


def test_silence_sounds_like_silence() -> None:
    samples, _ = heard(render_audio(PROFILE, np.full(SHAPE, PROFILE.floor_value, np.float32)).wav)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    "spectrogram",
    [
        np.random.default_rng(0).normal(-4, 3, SHAPE).astype(np.float32),
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, 1e30, np.float32),
    ],
    ids=["noise", "constant", "huge"],
)
def test_a_picture_is_a_png_within_its_bound(spectrogram) -> None:
    png = render_picture(PROFILE, spectrogram, "svd-r1: maximise layer 'fc_9$' unit 0, seed 1, activation 3.2")
    picture = imread(io.BytesIO(png))
    assert picture.shape == (360, 640, 3)
    assert len(png) < PNG_BYTES_MAX


async def test_rendering_leaves_the_event_loop_free() -> None:
    renderer, beats, done = Renderer(threads=2), 0, asyncio.Event()

    async def heart():
        nonlocal beats
        while not done.is_set():
            await asyncio.sleep(0.005)
            beats += 1

    beating = asyncio.create_task(heart())
    audio, png = await asyncio.gather(
        renderer.audio(PROFILE, tone(500)), renderer.picture(PROFILE, tone(500), "a title")
    )
    done.set()
    await beating
    renderer.close()
    assert audio.wav.startswith(b"RIFF")
    assert png.startswith(b"\x89PNG")
    assert beats >= 2


async def test_expected_time_follows_what_was_measured() -> None:
    renderer = Renderer(threads=2)
    picture, both = frozenset({Artefact.PICTURE}), frozenset({Artefact.AUDIO, Artefact.PICTURE})
    assert renderer.expected_s(both, 4) == pytest.approx(2 * (2.0 + 1.0))
    assert renderer.expected_s(frozenset({Artefact.TRAJECTORY}), 100) == 0
    longest_s = 0.0
    for _ in range(3):
        begun = time.monotonic()
        await renderer.picture(PROFILE, tone(500), "a title")
        longest_s = max(longest_s, time.monotonic() - begun)
    renderer.close()
    guessed = 0.5**3  # what is left of the first guess of a second
    assert guessed < renderer.expected_s(picture, 2) < guessed + (1 - guessed) * longest_s
    assert renderer.expected_s(both, 4) == pytest.approx(2 * (2.0 + renderer.expected_s(picture, 1)))


async def test_what_is_not_likely_to_be_ready_in_time_is_not_begun() -> None:
    renderer, picture = Renderer(threads=2), frozenset({Artefact.PICTURE})
    assert renderer.loads(picture)
    assert renderer.worth_beginning(Artefact.PICTURE, 1e-6), "nothing is known"
    assert not renderer.worth_beginning(Artefact.PICTURE, 0.0)
    for _ in range(2):  # the first loads libraries, which tells nothing of the others
        await renderer.picture(PROFILE, tone(500), "a title")
    assert not renderer.loads(picture)
    assert renderer.loads(frozenset({Artefact.AUDIO}))
    expected_s = renderer.expected_s(picture, 1)
    assert renderer.worth_beginning(Artefact.PICTURE, 1.1 * expected_s)
    assert not renderer.worth_beginning(Artefact.PICTURE, 0.1 * expected_s)
    renderer.close()


async def test_a_closed_renderer_leaves_no_threads() -> None:
    renderer = Renderer(threads=2)
    await renderer.picture(PROFILE, tone(500), "a title")
    renderer.close()
    for thread in threading.enumerate():
        if thread.name.startswith("render"):
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()
