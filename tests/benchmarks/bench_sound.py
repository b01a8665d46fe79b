"""What a sound and a picture take, and how near the sound is: `bench_sound.py [--excerpts N] [--json PATH]`.

For excerpts of real songs, in turns (set OMP_NUM_THREADS=1 for one thread): librosa's Griffin–Lim, ours with as many
iterations, and ours as shipped. Near is the mean difference between the spectrogram asked for and that of the sound,
over values within 6 (natural logarithm) of the loudest; `all` is over all of them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

from earwitness.features import FeatureProfile, get_profile, render_picture
from earwitness.features.decoding import load_audio
from earwitness.features.inversion import ITERATIONS, griffin_lim
from tests.helpers.machine import machine

SONGS = Path(__file__).parents[2] / "deploy/demo/audio"
PROFILES = ("log-mel-80@1", "log-mel-80-16k@1", "log-power-512@1")
TARGET_RATIO = 4.0
LOUD = 6.0
MANY = 100

Floats = NDArray[np.float32]
Invert = Callable[[Floats, Floats, int], Floats]
"""Of magnitudes [bins, frames], window and hop the sound [samples], whose first frame begins at its first sample."""


@dataclass(frozen=True)
class Figure:
    """A way and a profile: median seconds a sound, and the mean differences of its spectrogram."""

    profile: str
    way: str
    seconds: float
    loud: float
    all: float


def by_librosa(magnitude: Floats, window: Floats, hop_length: int) -> Floats:
    size = len(window)
    centred = librosa.griffinlim(
        magnitude, n_iter=MANY, hop_length=hop_length, n_fft=size, window=get_window("hann", size), random_state=0
    )
    return np.pad(np.asarray(centred, np.float32), size // 2)  # it leaves out half a frame at each end


def ours(iterations: int) -> Invert:
    return lambda magnitude, window, hop_length: griffin_lim(magnitude.T, window, hop_length, 0, iterations)


WAYS: dict[str, Invert] = {
    f"librosa, {MANY} iterations": by_librosa,
    f"ours, {MANY} iterations": ours(MANY),
    f"ours, {ITERATIONS} iterations": ours(ITERATIONS),
}


def excerpts(profile: FeatureProfile, count: int) -> list[Floats]:
    """Evenly over the songs, each [bands, frames]."""
    found = []
    for path in sorted(SONGS.glob("*.ogg")):
        waveform = load_audio(path, profile.sample_rate_hz)
        found.append(profile.excerpts(profile.spectrogram(waveform), profile.excerpt_shape[1]))
    every = np.concatenate(found)
    return [np.asarray(each) for each in every[np.linspace(0, len(every) - 1, count).astype(int)]]


def measure(name: str, count: int) -> list[Figure]:
    profile = get_profile(name)
    window = get_window("hann", profile.frame_length).astype(np.float32)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    near: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    margin = -(-profile.frame_length // (2 * profile.hop_length))
    for turn, excerpt in enumerate([excerpts(profile, 1)[0], *excerpts(profile, count)]):
        padded = np.pad(profile.magnitude(excerpt), ((0, 0), (margin, margin)), mode="edge").astype(np.float32)
        for way, invert in WAYS.items():
            start = time.perf_counter()
            sound = invert(padded, window, profile.hop_length)
            if turn:  # the first compiles and plans
                seconds[way].append(time.perf_counter() - start)
                near[way].append(difference(profile, sound, excerpt, margin))
    return [
        Figure(name, way, statistics.median(seconds[way]), *(float(each) for each in np.mean(near[way], axis=0)))
        for way in WAYS
    ]


def difference(profile: FeatureProfile, sound: Floats, excerpt: Floats, margin: int) -> tuple[float, float]:
    first = margin * profile.hop_length + (profile.frame_length // 2 if profile.centred else 0)
    between = profile.hop_length * (excerpt.shape[1] - 1)
    cut = sound[first:][: between + (1 if profile.centred else profile.frame_length)]
    found = np.abs(profile.spectrogram(cut).T - excerpt)
    return float(found[excerpt > excerpt.max() - LOUD].mean()), float(found.mean())


def picture_s(count: int) -> float:
    profile = get_profile(PROFILES[0])
    taken = []
    for excerpt in [excerpts(profile, 1)[0], *excerpts(profile, count)]:
        start = time.perf_counter()
        render_picture(profile, excerpt, "svd-r1 fc9[0] maximise")
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--excerpts", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    figures = [figure for name in PROFILES for figure in measure(name, options.excerpts)]
    print(f"{'profile':<20} {'way':<26} {'ms':>7} {'ratio':>6} {'loud':>6} {'all':>6}")
    for figure in figures:
        before = next(each for each in figures if each.profile == figure.profile)
        print(
            f"{figure.profile:<20} {figure.way:<26} {1e3 * figure.seconds:7.1f} "
            f"{before.seconds / figure.seconds:6.1f} {figure.loud:6.3f} {figure.all:6.3f}"
        )
    picture = picture_s(options.excerpts)
    print(f"a picture: {1e3 * picture:.1f} ms")
    if options.json:
        document = {"machine": machine(), "figures": [asdict(each) for each in figures], "picture_s": picture}
        options.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
