"""Real songs with timed words, read as labelled spectrograms for evaluation; the data stay where they are.

<folder>/audio/<name>.mp3      any format that `load_audio` reads
<folder>/words/<name>.csv      columns word_start and word_end, seconds
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.features import AudioError, FeatureProfile, LogMelProfile, load_audio
from earwitness.training.corpus import LabelledSpectrograms

CLOSED_GAP_S = 0.3
"""Shorter pauses between words count as sung."""


def load_songs(folder: Path, profile: FeatureProfile) -> LabelledSpectrograms:
    """All songs of `folder`, a frame being vocal when its centre lies within a word or a closed gap.

    Raises: AudioError when there is no song, a song has no words file, or a file cannot be read; ValueError when the
    profile is no log-mel profile.
    """
    if not isinstance(profile, LogMelProfile):
        raise ValueError(f"profile {profile.name!r}: real songs are labelled on a log-mel frame axis")
    paths = sorted(path for path in (folder / "audio").glob("*") if path.is_file())
    if not paths:
        raise AudioError(f"{folder / 'audio'}: holds no songs; give a folder with audio/ and words/")
    spectrograms, labels = [], []
    for path in paths:
        spectrograms.append(profile.spectrogram(load_audio(path, profile.sample_rate_hz)))
        centres_s = profile.frame_centres(len(spectrograms[-1])) / profile.sample_rate_hz
        labels.append(vocal_frames(read_words(folder / "words" / f"{path.stem}.csv"), centres_s))
    return LabelledSpectrograms.from_spectrograms(
        profile, spectrograms, labels, [{"name": path.stem} for path in paths]
    )


def read_words(path: Path) -> NDArray[np.float64]:
    """Start and end of each word `[words, 2]`, seconds.

    Raises: AudioError when the file is missing or lacks its columns.
    """
    try:
        with path.open(newline="") as file:
            rows = [(float(row["word_start"]), float(row["word_end"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as err:
        raise AudioError(f"{path}: cannot be read as words ({err!r}); it needs word_start and word_end") from err
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def vocal_frames(words: NDArray[np.float64], centres_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each time in `centres_s` `[frames]` is sung, gaps below CLOSED_GAP_S closed."""
    vocal = np.zeros(len(centres_s), bool)
    sung_until = -np.inf
    for start, end in words[np.argsort(words[:, 0])]:
        begin = sung_until if start - sung_until < CLOSED_GAP_S else start
        vocal |= (centres_s >= begin) & (centres_s < end)
        sung_until = max(sung_until, end)
    return vocal
