"""Who talks in a corpus, divided between the splits: espeak-ng voices, or the speakers of a folder of recordings.

No speaker is in two splits; a voice of espeak-ng is in the same split as in the singing corpus.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.features import AudioError, find_audio, load_audio, usable
from earwitness.training.corpus.config import SPLITS, Split
from earwitness.training.corpus.dataset import DatasetError
from earwitness.training.corpus.identities import divide, speakers
from earwitness.training.corpus.replay.config import REPLAY_SPLITS, SAMPLE_RATE_HZ, ReplayConfig, ReplaySplit
from earwitness.training.corpus.replay.speech import PHRASES, say_phrases, trimmed

logger = logging.getLogger(__name__)

SPLIT_OF: Mapping[ReplaySplit, Split] = {"train": "train", "dev": "valid", "eval": "test"}
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Talker:
    """A speaker who says `phrases` phrases: those recorded in files, or an espeak-ng voice `language+variant`."""

    name: str
    phrases: int
    recordings: tuple[Path, ...] = ()

    def speak(self) -> Sequence[NDArray[np.float32]]:
        """Each phrase `[samples]`, 16 kHz, without silence around it. A voice speaks once per process (espeak.py).

        Raises: AudioError when a recording cannot be read, is silent, or too short.
        """
        if not self.recordings:
            return say_phrases(self.name, PHRASES[: self.phrases])
        return [_load(path) for path in self.recordings]


Talkers = Mapping[ReplaySplit, Sequence[Talker]]


def voices(config: ReplayConfig) -> Talkers:
    """As many espeak-ng voices as each split shall have, all with the same phrases."""
    return {
        split: [Talker(name, config.phrases) for name in speakers(SPLIT_OF[split], config.size(split).speakers)]
        for split in REPLAY_SPLITS
    }


def recorded_talkers(folder: Path, config: ReplayConfig) -> Talkers:
    """The speakers of `folder`, each a folder of audio in it, divided; no more of them and of their files than asked.

    Files that cannot be read are left out, and named in the log.

    Raises: DatasetError for fewer than three speakers, or a name with white space.
    """
    found = {
        each.name: _recordings(each)
        for each in sorted(folder.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    }
    names = [name for name, paths in found.items() if paths]
    if len(names) < len(SPLITS):
        raise DatasetError(
            f"{folder} holds {len(names)} folders with audio; give one for each speaker, three at least, one a split"
        )
    spaced = [name for name in names if len(name.split()) != 1]
    if spaced:
        raise DatasetError(f"{folder}: white space in {', '.join(map(repr, spaced))}; protocols cannot name them")
    talkers = {
        split: [
            Talker(name, len(found[name][: config.phrases]), found[name][: config.phrases])
            for name in divide(names, SPLIT_OF[split], "replay")[: config.size(split).speakers]
        ]
        for split in REPLAY_SPLITS
    }
    return talkers


def recordings_digest(talkers: Talkers) -> str:
    """SHA-256 (hex) of who says what in `talkers`: names and the bytes of all recordings."""
    digest = hashlib.sha256()
    for split in REPLAY_SPLITS:
        for talker in talkers[split]:
            digest.update(f"{split}/{talker.name}/{talker.phrases}\n".encode())
            for path in talker.recordings:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _recordings(folder: Path) -> tuple[Path, ...]:
    """The files of sound below a folder that can be read; the others are named in the log."""
    try:
        return tuple(usable(find_audio([folder])))
    except AudioError as err:
        logger.warning("left out: %s", err)
        return ()


def _load(path: Path) -> NDArray[np.float32]:
    waveform = load_audio(path, SAMPLE_RATE_HZ)
    if len(waveform) < SHORTEST_S * SAMPLE_RATE_HZ:
        raise AudioError(f"{path}: is shorter than {SHORTEST_S} s; leave it out")
    if not np.any(waveform):
        raise AudioError(f"{path}: is silent; leave it out")
    return trimmed(waveform)
