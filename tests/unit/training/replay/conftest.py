"""A corpus of second-long utterances in which replays lack everything above 2 kHz."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from earwitness.features import write_wav
from earwitness.training.datasets import SpoofingCorpus, open_spoofing_corpus
from earwitness.training.replay.utterances import Utterance, UtteranceSplit
from earwitness.training.train_replay import ReplayTrainingConfig, train_replay
from tests.helpers.spoofing import write_telltale


@dataclass(frozen=True)
class ListedCorpus:
    """Utterances by split, in memory."""

    fingerprint: str
    splits: dict[str, list[Utterance]]
    sources: Sequence[str] = field(default=("noise",))

    def utterances(self, split: UtteranceSplit) -> Sequence[Utterance]:
        return self.splits[split]


@pytest.fixture(scope="session")
def dull_replays(tmp_path_factory: pytest.TempPathFactory) -> ListedCorpus:
    folder: Path = tmp_path_factory.mktemp("utterances")
    dull = butter(4, 2_000, fs=16_000, output="sos")
    rng = np.random.default_rng(0)
    splits: dict[str, list[Utterance]] = {}
    for split, count in (("train", 24), ("dev", 8), ("eval", 8)):
        splits[split] = []
        for number in range(count):
            waveform = 0.1 * rng.standard_normal(int(rng.uniform(0.5, 2.5) * 16_000))
            genuine = number % 2 == 0
            path = folder / f"{split}_{number:03d}.wav"
            write_wav(path, (waveform if genuine else sosfilt(dull, waveform)).astype(np.float32), 16_000)
            splits[split].append(Utterance(path.stem, path, genuine, f"M{number % 4:04d}"))
    return ListedCorpus("dull", splits)


@pytest.fixture(scope="session")
def telltale(tmp_path_factory: pytest.TempPathFactory) -> SpoofingCorpus:
    """Replays lack everything above 7 kHz, and that alone."""
    return open_spoofing_corpus(write_telltale(tmp_path_factory.mktemp("telltale")))


@pytest.fixture(scope="session")
def telltale_checkpoint(telltale: SpoofingCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that has found that out."""
    config = ReplayTrainingConfig(
        tmp_path_factory.mktemp("run"),
        network="bulbul",
        epochs=5,
        batch_size=8,
        learning_rate=8e-4,
        dropout=0.1,
        threads=1,
        workers=0,
    )
    return train_replay(config, telltale)
