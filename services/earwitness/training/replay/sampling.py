"""Batches of windows: shuffled anew every epoch to learn from, in order to score."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from earwitness.features import cut_or_repeat
from earwitness.training.networks.replay import GENUINE, SPOOF, log_odds
from earwitness.training.prepared import Batch, prepared
from earwitness.training.replay.spectrograms import UtteranceSpectrograms
from earwitness.training.replay.windows import mean_over_windows, window_starts
from earwitness.training.run_folder import Progress, silent

SCORING_BATCH = 64


class WindowSampler:
    """All windows of a split, in batches by number: batch i of a seed is the same whoever draws it."""

    def __init__(
        self,
        data: UtteranceSpectrograms,
        window_frames: int,
        hop_frames: int | None,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        """One window of each utterance, or with `hop_frames` all of them (see `window_starts`).

        With a `seed` every epoch has an order of its own; without, all have the utterances' order.
        """
        self._data = data
        self._window_frames = window_frames
        self._batch_size = batch_size
        self._seed = seed
        starts = [window_starts(count, window_frames, hop_frames) for count in data.frame_counts]
        self.utterances: NDArray[np.int64] = np.repeat(np.arange(len(data)), [len(each) for each in starts])
        """Whose each window is, `[W]`."""
        self._starts = np.concatenate(starts)
        self.labels = np.where(data.genuine, GENUINE, SPOOF)
        """Output unit of each utterance's class `[U]`."""
        self._order = lru_cache(maxsize=1)(self._new_order)

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self._starts) // self._batch_size)

    def batch(self, number: int) -> Batch:
        """Windows `[B, bands, frames]`, float32, and labels `[B]`; the last batch of an epoch may be smaller."""
        epoch, index = divmod(number, self.batches_per_epoch)
        chosen = self._order(epoch)[index * self._batch_size : (index + 1) * self._batch_size]
        windows = [
            cut_or_repeat(self._data.spectrogram(self.utterances[window]), self._window_frames, self._starts[window])
            for window in chosen
        ]
        labels = self.labels[self.utterances[chosen]]
        return torch.from_numpy(np.stack(windows).astype(np.float32)), torch.from_numpy(labels)

    def epoch(self, number: int, workers: int) -> Iterator[Batch]:
        """The batches of one epoch, prepared ahead of their use by that many processes."""
        first = number * self.batches_per_epoch
        return prepared(self, range(first, first + self.batches_per_epoch), workers)

    def _new_order(self, epoch: int) -> NDArray[np.int64]:
        if self._seed is None:
            return np.arange(len(self._starts))
        return np.random.default_rng((self._seed, epoch)).permutation(len(self._starts))


def window_logits(network: nn.Module, sampler: WindowSampler, workers: int = 0, progress: Progress = silent) -> Tensor:
    """Logits `[W, 2]`, on the CPU, of a sampler without a seed, the network in eval mode meanwhile."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    logits = []
    with torch.inference_mode():
        for windows, _ in sampler.epoch(0, workers):
            logits.append(network(windows[:, None].to(device)).cpu())
            progress(len(logits), sampler.batches_per_epoch, "scoring")
    network.train(was_training)
    return torch.cat(logits)


def utterance_scores(
    network: nn.Module,
    data: UtteranceSpectrograms,
    window_frames: int,
    hop_frames: int | None,
    workers: int = 0,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Score `[U]` of every utterance: the log-odds of genuine, the mean over its windows."""
    return loss_and_scores(network, data, window_frames, hop_frames, workers, progress)[1]


def loss_and_scores(
    network: nn.Module,
    data: UtteranceSpectrograms,
    window_frames: int,
    hop_frames: int | None,
    workers: int = 0,
    progress: Progress = silent,
) -> tuple[float, NDArray[np.float64]]:
    """Mean cross-entropy over all windows, and the utterances' scores `[U]`."""
    sampler = WindowSampler(data, window_frames, hop_frames, SCORING_BATCH)
    logits = window_logits(network, sampler, workers, progress)
    labels = torch.from_numpy(sampler.labels[sampler.utterances])
    scores = mean_over_windows(log_odds(logits).numpy(), sampler.utterances, len(data))
    return float(cross_entropy(logits, labels)), scores
