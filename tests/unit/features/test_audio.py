"""Audio files: every format, rate and channel count, and what is refused."""

import wave

import numpy as np
import pytest
import soundfile

from earwitness.features import AudioError, decode_audio, load_audio, write_wav
from earwitness.features.decoding import BLOCK_SAMPLES

RATE_HZ = 22_050


def tone(rate_hz: int, seconds: float = 1.0, frequency_hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def peak_frequency_hz(waveform: np.ndarray, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))) * rate_hz / len(waveform))


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels"),
    [("a.wav", 48_000, 2), ("a.flac", 44_100, 1), ("a.ogg", 22_050, 2), ("a.mp3", 44_100, 1), ("b.wav", 8_000, 5)],
)
def test_any_format_rate_and_channels(tmp_path, name, rate_hz, channels):
    soundfile.write(tmp_path / name, np.stack([tone(rate_hz)] * channels, axis=1), rate_hz)
    waveform = load_audio(tmp_path / name, RATE_HZ)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert len(waveform) == pytest.approx(RATE_HZ, rel=0.12 if name.endswith("mp3") else 0.001)
    assert peak_frequency_hz(waveform, RATE_HZ) == pytest.approx(440, abs=2)
    assert np.abs(waveform[2_000:-2_000]).max() == pytest.approx(0.5, abs=0.03)


def test_mono_is_the_mean(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile([0.5, -0.1], (100, 1)), RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", RATE_HZ), 0.2, atol=1e-6)


def test_resampling_leaves_no_alias(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(48_000, frequency_hz=15_000), 48_000)
    assert np.abs(load_audio(tmp_path / "a.wav", RATE_HZ)[1_000:-1_000]).max() < 1e-3


def test_missing_unreadable_empty_and_non_finite_files_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such audio file"):
        load_audio(tmp_path / "gone.wav", RATE_HZ)
    (tmp_path / "text.mp3").write_text("not audio")
    with pytest.raises(AudioError, match=r"text\.mp3: cannot be read as audio"):
        load_audio(tmp_path / "text.mp3", RATE_HZ)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(AudioError, match=r"empty\.wav: holds no samples"):
        load_audio(tmp_path / "empty.wav", RATE_HZ)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), RATE_HZ, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav: holds NaN"):
        load_audio(tmp_path / "nan.wav", RATE_HZ)


def test_long_files_are_decoded_in_blocks(tmp_path):
    stereo = np.random.default_rng(0).normal(size=(2 * BLOCK_SAMPLES + 5, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo, 8_000, subtype="FLOAT")
    decoded = decode_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(decoded.waveform, stereo.mean(axis=1))
    assert (decoded.sample_rate_hz, decoded.promised_count) == (8_000, len(stereo))


def test_a_file_that_is_cut_off_decodes_to_less_than_its_header_promises(tmp_path):
    soundfile.write(tmp_path / "a.mp3", tone(44_100, seconds=4.0), 44_100)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[: len(content) // 2])
    decoded = decode_audio(tmp_path / "a.mp3")
    assert 0.3 < len(decoded.waveform) / decoded.promised_count < 0.7


def test_write_wav_is_16_bit_mono_and_clips(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([0.0, 0.5, 2.0, -2.0], np.float32), RATE_HZ)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(4), "<i2"), [0, 16_384, 32_767, -32_767])


def test_write_wav_refuses_what_is_no_waveform(tmp_path):
    for bad in (np.zeros((2, 2), np.float32), np.array([np.inf], np.float32)):
        with pytest.raises(AudioError, match=r"a\.wav: the waveform"):
            write_wav(tmp_path / "a.wav", bad, RATE_HZ)
