"""Small and medium rooms as boxes: the impulse response between two points, and the noise one hears in there.

Early sound is the exact sum over all image sources within `EARLY_REACH_M`; what comes later arrives so densely that
only its energy matters, so it is Gaussian noise whose energy density is the limit of the image sum. Both follow from
one absorption coefficient: nothing has to be fitted where they meet, and a response costs milliseconds however long the
room rings. Absorption differs below and above `CROSSOVER_HZ`.

Source: Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65 (1979); Eyring,
"Reverberation time in 'dead' rooms", JASA 1 (1930).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ

SOUND_M_PER_S = 343.0
DECAY_60_DB = 6 * np.log(10)
"""Natural logarithm of the energy ratio of 60 dB."""
EARLY_REACH_M = 14.0
CROSSOVER_HZ = 1_500.0
CROSSOVER_TAPS = 65
FINER = 4
"""Arrival times are rounded to this fraction of a sample."""
WALL_DISTANCE_M = 0.5
BEFORE_DIRECT = 8
"""Samples kept before the direct sound: what band-limiting spreads it over."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class RoomKind:
    """Ranges a kind's rooms are drawn from: length and width, reverberation time, exponent of its noise's spectrum."""

    side_m: tuple[float, float]
    t60_s: tuple[float, float]
    noise_slope: tuple[float, float]


KINDS: Mapping[str, RoomKind] = {
    "booth": RoomKind((2.0, 3.0), (0.10, 0.20), (0.8, 1.6)),
    "home": RoomKind((2.8, 5.0), (0.25, 0.50), (0.8, 2.0)),
    "office": RoomKind((2.6, 6.5), (0.30, 0.60), (0.6, 1.6)),
    "meeting": RoomKind((5.0, 9.0), (0.40, 0.75), (0.6, 1.6)),
}


@dataclass(frozen=True)
class Room:
    """A box `size_m` with reverberation times below and above the crossover, noise ~ 1/f^slope, and mains hum."""

    name: str
    kind: str
    size_m: Point
    t60_s: tuple[float, float]
    noise_slope: float
    hum_hz: float
    hum_level: float

    @classmethod
    def draw(cls, name: str, kind: str, rng: np.random.Generator) -> Self:
        ranges = KINDS[kind]
        t60_s = rng.uniform(*ranges.t60_s)
        size_m = (rng.uniform(*ranges.side_m), rng.uniform(*ranges.side_m), rng.uniform(2.2, 3.3))
        return cls(
            name, kind, size_m, (t60_s, t60_s * rng.uniform(0.6, 1.0)), rng.uniform(*ranges.noise_slope),
            float(rng.choice([50.0, 60.0])), float(rng.choice([0.0, 0.0, rng.uniform(0.2, 0.8)])),
        )  # fmt: skip

    def impulse_response(self, distance_m: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """From a source to a microphone `distance_m` away, both somewhere in the room: `[samples]`.

        The direct sound has height 1 and arrives at sample `BEFORE_DIRECT`.
        """
        from scipy import signal

        microphone = np.array([rng.uniform(WALL_DISTANCE_M, side - WALL_DISTANCE_M) for side in self.size_m])
        source = self._around(microphone, distance_m, rng)
        low, high = (self._band(source, microphone, t60_s, rng) for t60_s in self.t60_s)
        taps = signal.firwin(CROSSOVER_TAPS, CROSSOVER_HZ, fs=SAMPLE_RATE_HZ)
        length = max(len(low), len(high))
        low, high = np.pad(low, (0, length - len(low))), np.pad(high, (0, length - len(high)))
        difference = signal.fftconvolve(low - high, taps)[CROSSOVER_TAPS // 2 :][:length]
        direct = round(distance_m / SOUND_M_PER_S * SAMPLE_RATE_HZ)
        response = np.pad(high + difference, (BEFORE_DIRECT, 0))[direct:]
        return np.asarray(response * distance_m)

    def noise(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """What the room sounds like when nobody speaks: `[count]`, RMS 1."""
        from scipy import fft

        length = fft.next_fast_len(count, real=True)
        spectrum = fft.rfft(rng.standard_normal(length))
        frequencies = np.maximum(fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ), 30.0)
        noise = fft.irfft(spectrum * frequencies ** (-self.noise_slope / 2), length)[:count]
        noise /= np.sqrt(np.mean(noise**2))
        time = np.arange(count) / SAMPLE_RATE_HZ
        for harmonic in (1, 2, 3, 5):
            noise += self.hum_level / harmonic * np.sin(2 * np.pi * (harmonic * self.hum_hz * time + rng.random()))
        return np.asarray(noise / np.sqrt(np.mean(noise**2)))

    def _around(
        self, microphone: NDArray[np.float64], distance_m: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """A point at that distance, about as high, inside the room."""
        while True:
            azimuth, slope = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
            direction = np.array([np.cos(azimuth), np.sin(azimuth), slope])
            point = microphone + distance_m * direction / np.linalg.norm(direction)
            if np.all(point > 0.1) and np.all(point < np.array(self.size_m) - 0.1):
                return np.asarray(point)

    def _band(
        self, source: NDArray[np.float64], microphone: NDArray[np.float64], t60_s: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """The response with one reverberation time for all frequencies; amplitude 1 at one metre."""
        from scipy import signal

        length, width, height = self.size_m
        volume_m3, surface_m2 = length * width * height, 2 * (length * width + length * height + width * height)
        reflected = np.exp(-DECAY_60_DB * 4 * volume_m3 / (SOUND_M_PER_S * surface_m2 * t60_s))
        offsets, bounces = zip(*map(_images, source, microphone, self.size_m), strict=True)
        distance_m = np.sqrt(np.add.reduce([each**2 for each in np.meshgrid(*offsets, indexing="ij")]))
        bounce_count = np.add.reduce(np.meshgrid(*bounces, indexing="ij"))
        near = distance_m < EARLY_REACH_M
        heights = reflected ** (bounce_count[near] / 2) / distance_m[near]
        places = np.rint(distance_m[near] / SOUND_M_PER_S * SAMPLE_RATE_HZ * FINER).astype(int)
        fine_count = round(max(t60_s, 2 * EARLY_REACH_M / SOUND_M_PER_S) * SAMPLE_RATE_HZ) * FINER
        early = FINER * signal.resample_poly(np.bincount(places, heights, fine_count), 1, FINER)
        time_s = np.arange(len(early)) / SAMPLE_RATE_HZ
        # Images lie 1/V per cubic metre; each brings the energy (1/distance)² that its reflections left.
        density = 4 * np.pi * SOUND_M_PER_S / volume_m3 * np.exp(-DECAY_60_DB * time_s / t60_s)
        late = np.sqrt(density / SAMPLE_RATE_HZ) * rng.standard_normal(len(early))
        return np.asarray(early + np.where(time_s > EARLY_REACH_M / SOUND_M_PER_S, late, 0.0))


def _images(source: float, microphone: float, side: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Along one axis: how far the images of the source lie from the microphone, and how many walls each met."""
    reach = int(np.ceil(EARLY_REACH_M / (2 * side))) + 1
    rounds = np.arange(-reach, reach + 1)
    offsets = np.concatenate([2 * rounds * side + source, 2 * rounds * side - source]) - microphone
    return offsets, np.concatenate([np.abs(2 * rounds), np.abs(2 * rounds - 1)])
