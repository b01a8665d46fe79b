"""Batches of windows: every window once an epoch, the same for whoever draws them; scores averaged per utterance."""

from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.features import get_profile
from earwitness.training.networks.replay import ReplayNetwork, log_odds
from earwitness.training.replay.sampling import WindowSampler, loss_and_scores, utterance_scores
from earwitness.training.replay.spectrograms import UtteranceSpectrograms, stored_spectrograms
from tests.unit.training.replay.conftest import ListedCorpus
from tests.unit.training.replay.slow import windows


@pytest.fixture(scope="module")
def data(dull_replays: ListedCorpus, tmp_path_factory: pytest.TempPathFactory) -> UtteranceSpectrograms:
    folder: Path = tmp_path_factory.mktemp("spectrograms")
    return stored_spectrograms(dull_replays.utterances("train"), get_profile("log-power-256@1"), folder)


@pytest.mark.parametrize("hop", [None, 30])
def test_an_epoch_has_every_window_once_in_an_order_of_its_own(data: UtteranceSpectrograms, hop: int | None) -> None:
    expected = [windows(data.spectrogram(index), 100, hop) for index in range(len(data))]
    labels = np.repeat([0 if genuine else 1 for genuine in data.genuine], [len(each) for each in expected])
    sampler = WindowSampler(data, 100, hop, batch_size=5, seed=3)
    assert sampler.batches_per_epoch == -(-len(labels) // 5)

    def sums(epoch: int, workers: int) -> list[tuple[float, int]]:
        return [
            (float(window.double().sum()), int(label))
            for batch in sampler.epoch(epoch, workers)
            for window, label in zip(*batch, strict=True)
        ]

    wanted = zip(np.concatenate(expected).astype(np.float64).sum((1, 2)).tolist(), labels.tolist(), strict=True)
    first = sums(0, workers=0)
    np.testing.assert_allclose(sorted(first), sorted(wanted), rtol=1e-6)
    assert sums(0, workers=1) == first
    assert sums(1, workers=0) != first
    assert sorted(sums(1, workers=0)) == sorted(first)


def test_a_score_is_the_mean_over_an_utterances_windows(data: UtteranceSpectrograms) -> None:
    network = ReplayNetwork("bulbul", 129, 100)
    network.initialise(torch.Generator().manual_seed(0))
    network.train()
    scores = utterance_scores(network, data, 100, 40)
    assert network.training
    network.eval()
    for index in (0, 5):
        x = torch.from_numpy(windows(data.spectrogram(index).astype(np.float32), 100, 40))[:, None]
        with torch.no_grad():
            np.testing.assert_allclose(scores[index], log_odds(network(x)).mean(), rtol=1e-4, atol=1e-5)
    loss, same = loss_and_scores(network, data, 100, 40)
    np.testing.assert_array_equal(same, scores)
    assert 0 < loss < 20
    assert len(utterance_scores(network, data, 100, None)) == len(data)
