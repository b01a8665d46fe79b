"""Microphones and loudspeakers: what each does to a signal, and the ranges that its kind is drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ

HIGHEST_HZ = 7_900.0
"""A high cut here or above lies beyond the band, and is left out."""
OVERSAMPLING = 3
"""Third harmonics of the whole band stay below the Nyquist frequency while a loudspeaker distorts."""

Range = tuple[float, float]
Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """A resonance (or a dip, when `gain_db` is negative) of a bandwidth `hz / q`."""

    hz: float
    gain_db: float
    q: float


@dataclass(frozen=True)
class Response:
    """A minimum-phase frequency response: cut-off frequencies, the order of each cut, and resonances."""

    low_cut_hz: float
    low_order: int
    high_cut_hz: float
    high_order: int
    peaks: tuple[Peak, ...]

    def apply(self, waveform: Signal) -> Signal:
        """`waveform` `[samples]` as it comes through."""
        from scipy import signal

        return np.asarray(signal.sosfilt(self._sections, waveform))

    @cached_property
    def _sections(self) -> NDArray[np.float64]:
        from scipy import signal

        sections = [signal.butter(self.low_order, self.low_cut_hz, "high", fs=SAMPLE_RATE_HZ, output="sos")]
        if self.high_cut_hz < HIGHEST_HZ:
            sections.append(signal.butter(self.high_order, self.high_cut_hz, "low", fs=SAMPLE_RATE_HZ, output="sos"))
        return np.concatenate(sections + [_peak_section(peak) for peak in self.peaks])


@dataclass(frozen=True)
class MicrophoneKind:
    """Ranges: low cut, high cut, spread of the response's ripples, share of the device in the noise's power."""

    low_cut_hz: Range
    high_cut_hz: Range
    ripple_db: float
    own_noise: Range


MICROPHONE_KINDS: Mapping[str, MicrophoneKind] = {
    "phone": MicrophoneKind((70, 150), (7_000, 8_000), 2.2, (0.2, 0.8)),
    "laptop": MicrophoneKind((60, 140), (6_800, 8_000), 2.4, (0.3, 0.9)),
    "headset": MicrophoneKind((40, 120), (7_000, 8_000), 2.0, (0.2, 0.8)),
    "studio": MicrophoneKind((20, 60), (7_800, 8_000), 0.8, (0.0, 0.3)),
}


@dataclass(frozen=True)
class Microphone:
    """A microphone with its preamplifier; `own_noise` is its share in the power of all noise it records."""

    name: str
    kind: str
    response: Response
    own_noise: float

    @classmethod
    def draw(cls, name: str, kind: str, rng: np.random.Generator) -> Self:
        ranges = MICROPHONE_KINDS[kind]
        response = Response(
            rng.uniform(*ranges.low_cut_hz), 2, rng.uniform(*ranges.high_cut_hz), 4,
            _ripples(rng, 9, ranges.ripple_db),
        )  # fmt: skip
        return cls(name, kind, response, rng.uniform(*ranges.own_noise))

    def record(self, sound: Signal, room_noise: Signal, snr_db: float, rng: np.random.Generator) -> Signal:
        """`sound` `[samples]` with noise `snr_db` below it, both coloured by the microphone; its RMS is about 1.

        `room_noise` is as long as `sound`, at any level.
        """
        heard = _unit(self.response.apply(sound))
        room = _unit(self.response.apply(room_noise))
        own = rng.standard_normal(len(sound))
        noise = np.sqrt(1 - self.own_noise) * room + np.sqrt(self.own_noise) * own
        return np.asarray(heard + 10 ** (-snr_db / 20) * noise)


@dataclass(frozen=True)
class LoudspeakerKind:
    """Ranges: low cut and its orders, high cut, ripples, drive (how hard speech meets the limit), unevenness."""

    low_cut_hz: Range
    low_orders: tuple[int, ...]
    high_cut_hz: Range
    ripple_db: float
    drive: Range
    asymmetry: Range


LOUDSPEAKER_KINDS: Mapping[str, LoudspeakerKind] = {
    "phone": LoudspeakerKind((200, 600), (2, 3, 4), (6_000, 8_000), 2.6, (0.6, 2.4), (0.1, 0.4)),
    "laptop": LoudspeakerKind((120, 350), (2, 3, 4), (6_500, 8_000), 2.4, (0.4, 1.6), (0.05, 0.3)),
    "portable": LoudspeakerKind((70, 180), (2, 3, 4), (7_000, 8_200), 2.0, (0.3, 1.2), (0.05, 0.25)),
    "hifi": LoudspeakerKind((35, 80), (2, 4), (7_900, 9_000), 1.2, (0.05, 0.4), (0.0, 0.1)),
}


@dataclass(frozen=True)
class Loudspeaker:
    """A loudspeaker with its amplifier: what it can move, then how it sounds."""

    name: str
    kind: str
    response: Response
    drive: float
    asymmetry: float

    @classmethod
    def draw(cls, name: str, kind: str, rng: np.random.Generator) -> Self:
        ranges = LOUDSPEAKER_KINDS[kind]
        low_cut_hz = rng.uniform(*ranges.low_cut_hz)
        resonance = Peak(1.2 * low_cut_hz, rng.uniform(1, 2 * ranges.ripple_db), rng.uniform(1.0, 3.0))
        response = Response(
            low_cut_hz, int(rng.choice(ranges.low_orders)), rng.uniform(*ranges.high_cut_hz), 3,
            (resonance, *_ripples(rng, 12, ranges.ripple_db)),
        )  # fmt: skip
        return cls(name, kind, response, rng.uniform(*ranges.drive), rng.uniform(*ranges.asymmetry))

    def play(self, waveform: Signal) -> Signal:
        """`waveform` `[samples]` as it sounds; the drive acts on its peaks, so the level it comes at is nothing."""
        from scipy import signal

        peak = float(np.abs(waveform).max())
        moved = self.displacement(signal.resample_poly(waveform / peak, OVERSAMPLING, 1))
        return self.response.apply(signal.resample_poly(moved, 1, OVERSAMPLING))

    def displacement(self, waveform: Signal) -> Signal:
        """How far the cone moves for `waveform` `[samples]`, whose peak is 1: as far where it is soft, less beyond.

        It saturates, which makes odd harmonics, and earlier on one side, which makes even ones: a hyperbolic tangent
        about a resting place off its middle, d·x + asymmetry·(d·x)² near 0, with limits of 1 / (1 − asymmetry) and
        −1 / (1 + asymmetry), all over d, the drive. It never turns back, however hard it is driven.
        """
        rest = np.arctanh(self.asymmetry)
        moved = np.tanh(self.drive * waveform - rest) + self.asymmetry
        return np.asarray(moved / ((1 - self.asymmetry**2) * self.drive))


def _ripples(rng: np.random.Generator, count: int, spread_db: float) -> tuple[Peak, ...]:
    """Random resonances and dips, evenly spread over the octaves of speech."""
    hz = np.exp(rng.uniform(np.log(150), np.log(7_500), count))
    gain_db, q = rng.normal(0, spread_db, count), np.exp(rng.uniform(np.log(0.7), np.log(5), count))
    return tuple(Peak(*(float(value) for value in row)) for row in zip(hz, gain_db, q, strict=True))


def _peak_section(peak: Peak) -> NDArray[np.float64]:
    """The second-order section `[1, 6]` of a resonance.

    Source: R. Bristow-Johnson, "Audio EQ cookbook", peaking filter.
    """
    angle = 2 * np.pi * peak.hz / SAMPLE_RATE_HZ
    width, height = np.sin(angle) / (2 * peak.q), 10 ** (peak.gain_db / 40)
    row = np.array([
        1 + width * height, -2 * np.cos(angle), 1 - width * height,
        1 + width / height, -2 * np.cos(angle), 1 - width / height,
    ])  # fmt: skip
    return np.asarray(row[None] / row[3])


def _unit(waveform: Signal) -> Signal:
    return np.asarray(waveform / np.sqrt(np.mean(waveform**2)))
