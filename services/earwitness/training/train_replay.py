"""Trains a detector of replayed speech, early stopped on the dev split."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from earwitness.detection.eer import equal_error_rate
from earwitness.errors import InvalidArgument
from earwitness.features import FeatureProfile, get_profile, with_excerpt_frames
from earwitness.training.checkpoint import CheckpointMeta, save_checkpoint
from earwitness.training.fitting import Learner, Schedule, fit, mean_loss
from earwitness.training.networks.replay import ACTIVATIONS, LABELS, Activation, ReplayNetwork, network_spec
from earwitness.training.prepared import Batch
from earwitness.training.replay.sampling import WindowSampler, loss_and_scores
from earwitness.training.replay.spectrograms import UtteranceSpectrograms, stored_spectrograms
from earwitness.training.replay.utterances import UtteranceCorpus, UtteranceSplit
from earwitness.training.run_folder import (
    DeviceName,
    Progress,
    RunFolder,
    best_checkpoint,
    plain,
    require_finite,
    silent,
    training_device,
    training_machine,
)

SLIDING_WINDOW_S = 1.0
"""Four seconds hold most utterances as a whole: windows of that length would hardly be more than one of each."""

VALUES_AT_ONCE = 100_000
"""Spectrogram values that go through a network at once on a CPU: what it makes of them then stays in the caches, and is
not allocated anew for every layer (the replay room's README has the times)."""


@dataclass(frozen=True)
class ReplayTrainingConfig:
    """One run; equal values and data give equal weights on the CPU of one machine (see `run_folder`).

    `features` and `activation` default to those of the network's row in the paper's table. With `more_data` windows
    slide over the whole of every utterance, `window_hop` frames apart, instead of one cut from its beginning; they are
    SLIDING_WINDOW_S long, also for a network whose one window is longer, unless `features` say another length. Training
    ends after `epochs`, or once `patience` of them went by without a lower loss on the dev split. `cache` is the folder
    of the spectrograms, which runs on the same corpus may share; it defaults to one in the run folder.

    Source: Chettri et al. 2018 (arXiv:1805.09164): Adam 1e-4, batches of 32, dropout 0.1 to 0.6, early stopping.
    """

    run_folder: Path
    network: str = "compact"
    features: str | None = None
    activation: Activation | None = None
    more_data: bool = False
    window_hop: int = 50
    seed: int = 0
    epochs: int = 100
    patience: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-4
    dropout: float = 0.5
    workers: int = 1
    threads: int | None = None
    device: DeviceName = "auto"
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.features is not None:
            get_profile(self.features)
        network_spec(self.network)
        for name in ("window_hop", "epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, f"got {getattr(self, name)}, expected at least 1")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise InvalidArgument("activation", f"got {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        if not self.learning_rate > 0:
            raise InvalidArgument("learning_rate", f"got {self.learning_rate}, expected a positive number")

    @property
    def profile(self) -> FeatureProfile:
        """The front end, whose excerpts are the windows."""
        profile = get_profile(self.features or network_spec(self.network).profile_name)
        if self.features is not None or not self.more_data:
            return profile
        return with_excerpt_frames(profile, round(SLIDING_WINDOW_S * profile.frames_per_second))

    @property
    def hop_frames(self) -> int | None:
        """Frames between windows; None for the one at the beginning."""
        return self.window_hop if self.more_data else None


def train_replay(
    config: ReplayTrainingConfig,
    corpus: UtteranceCorpus,
    progress: Progress = silent,
    stop_after_epochs: int | None = None,
) -> Path:
    """Trains, or continues, in `config.run_folder`; returns the checkpoint with the lowest loss on the dev split.

    After every epoch the state is saved: a run that was killed (or ended by `stop_after_epochs`) continues, on a CPU to
    the very weights an uninterrupted run reaches.

    Raises: InvalidArgument when the network cannot be built or a split holds one class only; AudioError naming files
    that cannot be used; CheckpointError when the folder holds another run.
    """
    profile = config.profile
    bands, frames = profile.excerpt_shape
    arguments: dict[str, Any] = {
        "network": config.network,
        "band_count": bands,
        "frame_count": frames,
        "activation": config.activation or network_spec(config.network).activation,
        "dropout": config.dropout,
    }
    network = ReplayNetwork(**arguments)  # refuses before hours are spent on spectrograms
    folder = RunFolder(config.run_folder, config, corpus.fingerprint)
    device = training_device(config.device)
    with folder.in_use(), training_machine(config.threads, config.seed):
        saved = folder.resume()
        if saved is not None and _has_ended(config, saved["epoch"], Best(**saved["best"])):
            return best_checkpoint(config.run_folder)
        train, dev = (_open(config, corpus, split, progress) for split in ("train", "dev"))
        network.standardise.set_statistics(*map(torch.from_numpy, train.band_statistics()))
        network.initialise(torch.Generator().manual_seed(config.seed))
        network.to(device)
        if device.type == "cpu":  # convolutions and poolings are faster so: tests/benchmarks/bench_replay_updates.py
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        facts = {"corpus": corpus.fingerprint, "sources": list(corpus.sources)}
        learner = _Detector(config, network, arguments, train, dev, facts, progress)
        fit(folder, learner, Schedule("epoch", config.epochs), stop_after_epochs)
    return best_checkpoint(config.run_folder)


class _Detector(Learner):
    """The network and its optimiser; the one with the lowest loss on the dev split so far is kept."""

    def __init__(
        self,
        config: ReplayTrainingConfig,
        network: ReplayNetwork,
        arguments: Mapping[str, Any],
        train: UtteranceSpectrograms,
        dev: UtteranceSpectrograms,
        corpus: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        """`arguments` rebuild the network; `corpus` is what a checkpoint's record says of the data."""
        self._config = config
        self._network = network
        self._arguments = arguments
        self._frames = config.profile.excerpt_shape[1]
        self._dev = dev
        self._corpus = corpus
        self._progress = progress
        self._optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
        self._sampler = WindowSampler(train, self._frames, config.hop_frames, config.batch_size, config.seed)
        self._best = Best()

    def train(self, first: int, last: int) -> dict[str, float]:
        """The loss of each epoch's updates, and the figures on the dev split after the last one."""
        config, network, each = self._config, self._network, self._sampler.batches_per_epoch
        began = time.monotonic()

        def update(batch: Batch, number: int) -> float:
            self._optimiser.zero_grad(set_to_none=True)
            loss = add_gradient(network, *batch)
            require_finite(loss, number + 1)
            self._optimiser.step()
            return loss.item()

        for epoch in range(first, last):
            network.train()
            batches = self._sampler.epoch(epoch, config.workers)
            loss = mean_loss(batches, update, epoch * each, config.epochs * each, self._progress)
        dev_loss, scores = loss_and_scores(network, self._dev, self._frames, config.hop_frames, config.workers)
        require_finite(torch.tensor(dev_loss), last * each)
        return {
            "loss": loss,
            "dev_loss": dev_loss,
            "dev_error": balanced_error(scores, self._dev.genuine),
            "dev_eer": equal_error_rate(scores, self._dev.genuine).convex_hull,
            "seconds": time.monotonic() - began,
        }

    def keep(self, figures: Mapping[str, float], done: int) -> None:
        config = self._config
        if not figures["dev_loss"] < self._best.dev_loss:
            return
        self._best = Best(done, figures["dev_loss"])
        record = {
            **self._corpus,
            "seed": config.seed,
            "updates": done * self._sampler.batches_per_epoch,
            **{name: figures[name] for name in ("dev_loss", "dev_error", "dev_eer")},
            "window_hop": config.hop_frames,
            "config": plain(config),
        }
        meta = CheckpointMeta("replay", self._arguments, config.profile.to_dict(), LABELS, record)
        save_checkpoint(best_checkpoint(config.run_folder), self._network, meta)

    def ended(self, done: int) -> bool:
        return _has_ended(self._config, done, self._best)

    def state(self) -> dict[str, Any]:
        return {
            "best": asdict(self._best),
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._best = Best(**state["best"])
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])


@dataclass(frozen=True)
class Best:
    """The epoch, from 1, with the lowest loss on the dev split so far; 0 before the first."""

    epoch: int = 0
    dev_loss: float = float("inf")


def replay_run_ended(config: ReplayTrainingConfig, corpus: UtteranceCorpus) -> bool:
    """Whether the run in `config.run_folder` has nothing left to do; False where there is none yet.

    Raises: CheckpointError when the folder holds a run of another configuration or corpus.
    """
    if not config.run_folder.is_dir():
        return False
    saved = RunFolder(config.run_folder, config, corpus.fingerprint).load_state()
    return saved is not None and _has_ended(config, saved["epoch"], Best(**saved["best"]))


def balanced_error(scores: NDArray[np.float64], genuine: NDArray[np.bool_]) -> float:
    """Mean of the two classes' shares of wrong decisions when a score above 0 is taken for genuine."""
    accepted = scores > 0
    return float((np.mean(~accepted[genuine]) + np.mean(accepted[~genuine])) / 2)


def _has_ended(config: ReplayTrainingConfig, epochs: int, best: Best) -> bool:
    """Whether all epochs are done, or the loss on dev has not fallen for long enough."""
    return epochs >= config.epochs or epochs - best.epoch >= config.patience


def _open(
    config: ReplayTrainingConfig, corpus: UtteranceCorpus, split: UtteranceSplit, progress: Progress
) -> UtteranceSpectrograms:
    utterances = corpus.utterances(split)
    genuine = sum(utterance.genuine for utterance in utterances)
    if genuine in (0, len(utterances)):
        raise InvalidArgument(
            "corpus",
            f"of the {len(utterances)} utterances of split {split!r} {genuine} are genuine; both classes are "
            "needed to learn and to stop",
        )
    return stored_spectrograms(
        utterances,
        config.profile,
        config.cache or config.run_folder / "spectrograms",
        kept_frames=None if config.more_data else config.profile.excerpt_shape[1],
        workers=config.workers,
        progress=progress,
    )


def add_gradient(network: ReplayNetwork, windows: Tensor, labels: Tensor) -> Tensor:
    """Adds the gradient of the mean loss of windows `[B, bands, frames]` to the network's; returns that loss.

    A GPU is given the batch at once, a CPU pieces of it one after the other (see VALUES_AT_ONCE).
    """
    device = next(network.parameters()).device
    rows = max(1, VALUES_AT_ONCE // windows[0].numel()) if device.type == "cpu" else len(windows)
    losses = list[Tensor]()
    for some, expected in zip(torch.split(windows, rows), torch.split(labels, rows), strict=True):
        logits = network(some[:, None].to(device))
        loss = cross_entropy(logits, expected.to(device), reduction="sum") / len(windows)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses).sum()
