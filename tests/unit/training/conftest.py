"""A tiny corpus in which a bright band marks the voice."""

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.features import get_profile
from earwitness.training.corpus import LabelledSpectrograms
from tests.helpers.labelled import labelled


def easy_split(clips: int, seed: int) -> LabelledSpectrograms:
    """Clips of 300 frames of noise; the second or first half of every other one is vocal and has ten loud bands."""
    rng = np.random.default_rng(seed)
    spectrograms, labels = [], []
    for number in range(clips):
        frames = rng.normal(-8.0, 1.0, (300, 80)).astype(np.float32)
        vocal = np.zeros(300, bool)
        if number % 2 == 0:
            vocal[150 * (number // 2 % 2) :][:150] = True
        frames[vocal, 30:40] += 6.0
        spectrograms.append(frames)
        labels.append(vocal)
    facts = [{"vocal": number % 2 == 0, "engine": "easy" if number % 2 == 0 else ""} for number in range(clips)]
    return labelled(get_profile("log-mel-80@1"), spectrograms, labels, facts)


@pytest.fixture(scope="session")
def easy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("easy")
    for split, clips, seed in (("train", 12, 1), ("valid", 4, 2), ("test", 4, 3)):
        easy_split(clips, seed).save(folder / split)
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "easy", "sources": ["noise"]}))
    return folder
