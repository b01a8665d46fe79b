"""How well the judges of explanations judge: `bench_judges.py SONGS [--json PATH]`.

SONGS is a folder of labelled recordings in any layout of `earwitness data`. Excerpts of one explanation's length are
taken at random places without overlap, at most so many of each class from each song: sung for most of their length, or
hardly at all. Each is judged as it is, and after what an explanation's sound has gone through: log-mel, Griffin-Lim.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earwitness.client.references import find_recordings
from earwitness.evidence.judges import Contrast, contrast, open_judges
from earwitness.features import LogMelProfile, get_profile, load_audio
from earwitness.training.datasets import load_recordings

SUNG, UNSUNG = 0.6, 0.02
"""Shares of an excerpt's frames: at least, at most."""
PER_CLASS = 20
"""Excerpts of each class of a song."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A labelled piece of a song."""

    song: str
    sung: bool
    waveform: np.ndarray


@dataclass(frozen=True)
class Result:
    """What a judge makes of all excerpts, and its AUC within each song that has both classes."""

    heard: str
    contrast: Contrast
    songs: dict[str, float]


def excerpts_of(songs: Path, profile: LogMelProfile) -> list[Excerpt]:
    """All that can be had."""
    paths = {path.stem: path for path in find_recordings([songs])}
    data = load_recordings(songs, profile)
    rng = np.random.default_rng(0)
    count, found = profile.excerpt_frames, []
    for clip in data.clips:
        labels = data.labels[clip.first_frame : clip.first_frame + clip.frame_count]
        name = Path(clip.facts["name"]).stem
        waveform = load_audio(paths[name], profile.sample_rate_hz)
        taken = {True: 0, False: 0}
        for start in rng.permutation(np.arange(0, len(labels) - count, count)):
            share = labels[start : start + count].mean()
            sung = bool(share > SUNG)
            if (UNSUNG < share <= SUNG) or taken[sung] == PER_CLASS:
                continue
            piece = waveform[start * profile.hop_length :][: profile.sample_count(count)]
            if np.abs(piece).max() > 0.01:  # silence before and after a song is no music
                taken[sung] += 1
                found.append(Excerpt(name, sung, piece))
    return found


def measure(songs: Path) -> list[Result]:
    """Every judge, with both ways of hearing."""
    profile = get_profile("log-mel-80@1")
    assert isinstance(profile, LogMelProfile)
    excerpts = excerpts_of(songs, profile)
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as they are": lambda waveform: waveform,
        "after log-mel and Griffin-Lim": lambda waveform: profile.invert(profile.spectrogram(waveform).T, 0).waveform,
    }
    results = []
    for heard, way in ways.items():
        sounds = [way(each.waveform) for each in excerpts]
        for judge in open_judges().values():
            probabilities: dict[tuple[str, bool], list[float]] = defaultdict(list)
            for each, sound in zip(excerpts, sounds, strict=True):
                probabilities[each.song, each.sung].append(judge.hear(sound, profile.sample_rate_hz).vocal_probability)
            names = {name for name, _ in probabilities}
            within = {name: _both({name}, probabilities) for name in sorted(names)}
            results.append(
                Result(
                    heard,
                    contrast(judge, *_both(names, probabilities)),
                    {name: contrast(judge, *pair).auc for name, pair in within.items() if all(map(len, pair))},
                )
            )
    return results


def _both(songs: set[str], probabilities: dict[tuple[str, bool], list[float]]) -> list[np.ndarray]:
    """Probabilities of the excerpts of some songs, sung ones and others."""
    return [np.array([each for song in sorted(songs) for each in probabilities[song, sung]]) for sung in (True, False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("songs", type=Path, help="folder of labelled recordings")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    results = measure(options.songs)
    for each in results:
        found = each.contrast
        print(
            f"{found.judge:8} {each.heard:30} AUC {found.auc:.3f} [{found.auc_low:.3f}, {found.auc_high:.3f}]; called "
            f"vocal: {found.high.vocal_share:.1%} of {found.high.count} sung, {found.low.vocal_share:.1%} of "
            f"{found.low.count} others; within songs {', '.join(f'{auc:.2f}' for auc in each.songs.values())}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
