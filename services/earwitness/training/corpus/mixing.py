"""Mixing desk: what a studio does to a foreground, a backing and their sum. Everything is mono float32 `[samples]`."""

import io

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


def rms(waveform: Waveform) -> float:
    """Root mean square; never 0, so it may divide."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)) + 1e-12))


def fit(waveform: Waveform, samples: int) -> Waveform:
    """Cut, or padded with silence, to `samples`."""
    return np.pad(waveform, (0, max(0, samples - len(waveform))))[:samples].astype(np.float32)


def active_rms(waveform: Waveform) -> float:
    """RMS over the samples where something sounds (above 5 % of the peak)."""
    level = np.abs(waveform)
    sounding = waveform[level > 0.05 * level.max()] if level.max() > 0 else waveform
    return rms(sounding)


def equalise(waveform: Waveform, sample_rate_hz: int, rng: np.random.Generator, most_db: float) -> Waveform:
    """A smooth random response of up to ± `most_db` between 50 Hz and the Nyquist frequency."""
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(len(waveform), 1 / sample_rate_hz)
    knots = np.linspace(np.log(50), np.log(sample_rate_hz / 2), 7)
    gains_db = np.clip(rng.normal(0, most_db / 2, len(knots)), -most_db, most_db)
    response = 10 ** (np.interp(np.log(np.maximum(frequencies, 50)), knots, gains_db) / 20)
    return np.asarray(np.fft.irfft(spectrum * response, len(waveform)), dtype=np.float32)


def reverberate(waveform: Waveform, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """Exponentially decaying diffuse tail with a pre-delay and duller highs, 0.2–2.5 s, at a random share."""
    from scipy import signal

    decay_s, wet = rng.uniform(0.2, 2.5), rng.choice([0.0, rng.uniform(0.03, 0.15), rng.uniform(0.15, 0.5)])
    if wet == 0.0:
        return waveform
    count, delay = int(decay_s * sample_rate_hz), int(rng.uniform(0, 0.06) * sample_rate_hz)
    tail = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail = signal.lfilter([1.0], [1.0, -rng.uniform(0.0, 0.7)], tail)
    tail *= wet / np.sqrt(np.sum(tail**2))
    echo = signal.fftconvolve(waveform, np.r_[np.zeros(delay), tail].astype(np.float32))[: len(waveform)]
    return np.asarray(waveform + echo, dtype=np.float32)


def repeat_echo(waveform: Waveform, sample_rate_hz: int, delay_s: float, share: float) -> Waveform:
    """Three fading repeats in rhythm."""
    out = waveform.copy()
    for repeat in range(1, 4):
        shift = int(repeat * delay_s * sample_rate_hz)
        if shift < len(waveform):
            out[shift:] += waveform[: len(waveform) - shift] * np.float32(share**repeat)
    return out


def compress(waveform: Waveform, sample_rate_hz: int, threshold_db: float, ratio: float) -> Waveform:
    """Feed-forward compressor with 10 ms smoothing; the threshold is relative to the peak."""
    from scipy import signal

    peak = float(np.abs(waveform).max())
    if peak == 0.0:
        return waveform
    pole = np.exp(-1 / (0.01 * sample_rate_hz))
    envelope = np.sqrt(signal.lfilter([1 - pole], [1, -pole], np.square(waveform / peak)) + 1e-9)
    over_db = np.maximum(0.0, 20 * np.log10(envelope) - threshold_db)
    return np.asarray(waveform * 10 ** (-over_db * (1 - 1 / ratio) / 20), dtype=np.float32)


def saturate(waveform: Waveform, drive: float) -> Waveform:
    """Soft clipping; `drive` 1 is nearly clean, 10 an overdriven amplifier."""
    peak = max(float(np.abs(waveform).max()), 1e-9)
    return np.asarray(np.tanh(drive * waveform / peak) * peak / np.tanh(drive), dtype=np.float32)


def low_pass(waveform: Waveform, sample_rate_hz: int, cutoff_hz: float) -> Waveform:
    """Steep low-pass as of cheap codecs."""
    from scipy import signal

    sections = signal.butter(10, cutoff_hz, fs=sample_rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections, waveform), dtype=np.float32)


def high_pass(waveform: Waveform, sample_rate_hz: int, cutoff_hz: float) -> Waveform:
    """Gentle high-pass as of a microphone channel."""
    from scipy import signal

    sections = signal.butter(2, cutoff_hz, "highpass", fs=sample_rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections, waveform), dtype=np.float32)


def vorbis(waveform: Waveform, sample_rate_hz: int, compression: float) -> Waveform:
    """The waveform after lossy coding; `compression` 0 (best) … 1 (worst)."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate_hz, 1, subtype="VORBIS", format="OGG", compression_level=compression
    ) as file:
        # libsndfile's Vorbis encoder overflows its stack on long writes.
        for start in range(0, len(waveform), 8_192):
            file.write(waveform[start : start + 8_192])
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    return fit(decoded, len(waveform))


def treat_foreground(waveform: Waveform, sample_rate_hz: int, beat_s: float, rng: np.random.Generator) -> Waveform:
    """The channel strip of a voice or a lead, the same for both, so that it tells nothing."""
    out = high_pass(waveform, sample_rate_hz, rng.uniform(60, 160))
    out = equalise(out, sample_rate_hz, rng, 6.0)
    if rng.random() < 0.7:
        out = compress(out, sample_rate_hz, rng.uniform(-30, -14), rng.uniform(1.5, 6.0))
    if rng.random() < 0.12:
        out = saturate(out, rng.uniform(1.5, 6.0))
    if rng.random() < 0.2:
        out = repeat_echo(out, sample_rate_hz, beat_s * float(rng.choice([0.5, 0.75, 1.0])), rng.uniform(0.1, 0.4))
    return reverberate(out, sample_rate_hz, rng)


def balance(foreground: Waveform, backing: Waveform, snr_db: float) -> Waveform:
    """Sum with the foreground's sounding level `snr_db` over the backing's."""
    gain = 10 ** (snr_db / 20)
    return (gain * foreground / active_rms(foreground) + backing / rms(backing)).astype(np.float32)


def master(mix: Waveform, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """Bus equaliser, loudness, noise floor, bandwidth, coding and level, drawn alike for every clip."""
    out = equalise(mix, sample_rate_hz, rng, 6.0)
    if rng.random() < 0.6:
        out = compress(out, sample_rate_hz, rng.uniform(-24, -8), rng.uniform(1.3, 4.0))
    out = out / rms(out)
    # Every recording has some noise floor; exact digital silence would be a sign of this corpus.
    out = out + rng.standard_normal(len(out), dtype=np.float32) * np.float32(10 ** (rng.uniform(-85, -40) / 20))
    if rng.random() < 0.5:
        out = saturate(out, rng.uniform(0.8, 2.5))
    if rng.random() < 0.25:
        out = low_pass(out, sample_rate_hz, rng.uniform(4_500, 10_000))
    out = out / rms(out) * np.float32(10 ** (rng.uniform(-28, -11) / 20))
    peak = float(np.abs(out).max())
    if peak > 1.0:
        out = out / peak
    out = out.astype(np.float32)
    return vorbis(out, sample_rate_hz, float(rng.uniform(0.2, 1.0))) if rng.random() < 0.15 else out
