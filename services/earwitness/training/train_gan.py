"""Trains the generator: a GAN with gradient penalty on excerpts of the classifier's data."""

import copy
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.features import get_profile
from earwitness.training.averaging import average_into, kept_share
from earwitness.training.checkpoint import DETECTORS, CheckpointMeta, file_sha256, load_checkpoint, save_checkpoint
from earwitness.training.excerpts import ExcerptCorpus, ExcerptSource, open_excerpts
from earwitness.training.fitting import Learner, Schedule, fit
from earwitness.training.gan_losses import Labelled, Loss, gradient_penalty, loss_of_critic, loss_of_generator
from earwitness.training.networks import Arch, Critic, Detector, make_generator
from earwitness.training.run_folder import (
    DeviceName,
    Diverged,
    Progress,
    RunFolder,
    plain,
    silent,
    training_device,
    training_machine,
)

logger = logging.getLogger(__name__)
LEAST_GRADIENT = 1e-30
"""Of the critic's loss with respect to a realness: eight orders above what float32 can hold. A critic beside itself has
been seen to say -92, and exp(92) is no number."""
STATISTICS = 256
"""Excerpts that the scale of the detector's layers is taken from."""


@dataclass(frozen=True)
class GanTrainingConfig:
    """One GAN run; equal values and data give equal weights on the CPU of one machine (see `run_folder`).

    `features` name the front end of a corpus of recordings, that of the detector to be explained; a corpus of
    spectrograms has its own. `cache` is the folder where recordings' spectrograms are kept, which runs may share; it
    defaults to one in the run folder.

    The critic knows the label of every real excerpt, and the first value of a latent says which label is asked of the
    generator (`_Gan.labels_of`): it must make both kinds, and not what lies between them.

    `arch` is the generator's layout (see `networks.generator`). `init` is a generator's checkpoint to begin with, of
    the same layout or of the published one. `detector` is a trained classifier's: its layers are shown to the critic
    beside the pixels. Take another than the one to be explained, trained from another seed: a generator that was made
    to please a network cannot be measured by it.

    `loss`: "wasserstein" penalises the critic's gradient between real and generated excerpts (‖∇‖ → 1); "logistic"
    penalises it at real excerpts (R1), "relativistic" at real and generated ones (R1 + R2), both towards zero. The
    penalty is computed every `penalty_interval` updates with `penalty_interval` times the weight. `ema_updates` is the
    half-life of the averaged generator, the one that is saved; `checkpoint_interval` is in updates.
    """

    corpus: Path
    run_folder: Path
    features: str | None = None
    arch: Arch = "paper"
    seed: int = 0
    init: Path | None = None
    detector: Path | None = None
    updates: int = 10_000
    batch_size: int = 32
    loss: Loss = "logistic"
    penalty: float = 0.2
    penalty_interval: int = 8
    learning_rate: float = 4e-4
    final_rate: float = 0.25
    """Share of the learning rate left at the last update; it falls linearly over the second half."""
    ema_updates: float = 500.0
    latent_size: int = 128
    generator_channels: int = 128
    critic_channels: int = 16
    checkpoint_interval: int = 250
    threads: int | None = None
    device: DeviceName = "auto"
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.features is not None:
            get_profile(self.features)
        for name in ("updates", "batch_size", "penalty_interval", "checkpoint_interval"):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, f"got {getattr(self, name)}, expected at least 1")
        if self.penalty <= 0:
            raise InvalidArgument(
                "penalty", f"got {self.penalty}, expected above 0; the critic needs a gradient penalty"
            )
        if self.detector is not None and self.loss == "wasserstein":
            raise InvalidArgument(
                "loss", "got wasserstein, whose penalty knows pixels only; use logistic with a detector"
            )


class _Gan:
    """Both networks, their optimisers and the averaged generator; one `update` is one step of each."""

    def __init__(
        self,
        config: GanTrainingConfig,
        start: "_Start",
        mean: Tensor,
        std: Tensor,
        size: tuple[int, int],
        log_floor: float,
        label_share: float,
    ) -> None:
        self.threshold = NormalDist().inv_cdf(1.0 - min(max(label_share, 1e-6), 1.0 - 1e-6))
        self.config = config
        self.device = training_device(config.device)
        init = torch.Generator().manual_seed(config.seed)
        bands, frames = size
        self.generator = make_generator(
            config.arch, latent_size=config.latent_size, channels=config.generator_channels, log_floor=log_floor,
            band_count=bands, frame_count=frames,
        )  # fmt: skip
        self.critic = Critic(config.critic_channels, start.detector, size)
        for network, standardise in (
            (self.generator, self.generator.standardise),
            (self.critic, self.critic.pixels.standardise),
        ):
            standardise.set_statistics(mean, std)
            network.initialise(init)
            # Small channel counts run about a fifth faster this way on a CPU.
            network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start.weights is not None:
            # What a layout has beside the one it begins from keeps its own first weights.
            self.generator.load_state_dict({**self.generator.state_dict(), **start.weights})
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator_optimiser = self._adam(self.generator)
        self.critic_optimiser = self._adam(self.critic)

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        parameters = [each for each in network.parameters() if each.requires_grad]
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.0, 0.99), eps=1e-8)

    def set_rate(self, update: int) -> None:
        """Constant, then linear over the second half down to `final_rate`."""
        late = max(0.0, 2.0 * update / self.config.updates - 1.0)
        rate = self.config.learning_rate * (1.0 - late * (1.0 - self.config.final_rate))
        for optimiser in (self.generator_optimiser, self.critic_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def labels_of(self, latents: Tensor) -> Tensor:
        """What latents `[B, Z]` are asked to become, −1 or 1 `[B]`: above a threshold of the first value lies 1.

        The threshold leaves as large a share of N(0, 1) above it as label 1 has of the data.
        """
        return torch.where(latents[:, 0] > self.threshold, 1.0, -1.0)

    def update(self, real: Tensor, labels: Tensor, penalise: bool) -> tuple[float, float, float]:
        """One step of both players on the same examples; (critic's loss, generator's loss, penalty).

        The critic is gone through once: at each generated example the gradients of both losses with respect to its
        pixels are multiples of the gradient of its realness, so the generator's is the critic's, rescaled.
        """
        config = self.config
        # Drawn on the CPU: the same latents on every device.
        latents = torch.randn(len(real), config.latent_size).to(self.device)
        fake, fake_labels = self.generator(latents), self.labels_of(latents)
        real, labels = real.to(self.device), labels.to(self.device)
        shown = fake.detach().requires_grad_(True)
        # Two calls, so that the critic's spread over a group is never taken over real and generated examples together.
        of_real, of_fake = self.critic(real, labels), self.critic(shown, fake_labels)
        critic_loss = loss_of_critic(config.loss, of_real, of_fake)
        generator_loss = loss_of_generator(config.loss, of_real, of_fake)
        of_generator, of_critic = (
            torch.autograd.grad(each, of_fake, retain_graph=True)[0] for each in (generator_loss, critic_loss)
        )
        # Where the critic is so sure that its own gradient is all but nothing, there is nothing to rescale.
        rescale = torch.where(of_critic.abs() > LEAST_GRADIENT, of_generator / of_critic, 0.0)
        penalty = torch.zeros((), device=self.device)
        if penalise:
            penalty = gradient_penalty(config.loss, self.critic, (real, labels), (fake.detach(), fake_labels))
        self.critic_optimiser.zero_grad(set_to_none=True)
        self.generator_optimiser.zero_grad(set_to_none=True)
        total = critic_loss + config.penalty * config.penalty_interval * penalty
        total.backward()  # type: ignore[no-untyped-call]
        assert shown.grad is not None
        fake.backward(shown.grad * rescale[:, None, None, None])
        self.critic_optimiser.step()
        self.generator_optimiser.step()
        return critic_loss.item(), generator_loss.item(), penalty.item()

    def update_average(self, update: int) -> None:
        kept = kept_share(update, self.config.ema_updates)
        average_into(self.average.parameters(), self.generator.parameters(), kept)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in self._stateful}

    def load_state(self, state: Mapping[str, Any]) -> None:
        for name in self._stateful:
            getattr(self, name).load_state_dict(state[name])

    _stateful = ("generator", "critic", "average", "generator_optimiser", "critic_optimiser")


@dataclass(frozen=True)
class _Start:
    """What a run begins from besides its data; `record` tells the files' SHA-256 and origin."""

    detector: Detector | None
    weights: Mapping[str, Tensor] | None
    record: Mapping[str, Any]

    @classmethod
    def load(cls, config: GanTrainingConfig, features: Mapping[str, Any]) -> Self:
        """Raises: CheckpointError when a file cannot be used; InvalidArgument when it does not fit this run."""
        for field, path in (("detector", config.detector), ("init", config.init)):
            if path is not None and path.resolve().is_relative_to(config.run_folder.resolve()):
                raise InvalidArgument(
                    field, f"{path} lies in the run's own folder; give another folder, or move it out"
                )
        detector, weights, record = None, None, dict[str, Any]()
        if config.detector is not None:
            network, meta = load_checkpoint(config.detector, *DETECTORS)
            _require_same(config.detector, "detector", dict(meta.features), dict(features))
            detector = cast(Detector, network)
            record["detector"] = {"sha256": file_sha256(config.detector), "training": dict(meta.training)}
        if config.init is not None:
            network, meta = load_checkpoint(config.init, "generator")
            own = {"latent_size": config.latent_size, "channels": config.generator_channels}
            _require_same(config.init, "init", {name: meta.arguments[name] for name in own}, own)
            arch = meta.arguments.get("arch", "paper")
            if arch not in ("paper", config.arch):
                raise InvalidArgument(
                    "init", f"{config.init} has the layout {arch}, this run {config.arch}; give another"
                )
            _require_same(config.init, "init", dict(meta.features), dict(features))
            weights = network.state_dict()
            record["init"] = {"sha256": file_sha256(config.init), "training": dict(meta.training)}
        return cls(detector, weights, record)


def _require_same(path: Path, field: str, got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name in expected:
        if got.get(name) != expected[name]:
            raise InvalidArgument(field, f"{path} has {name} {got.get(name)}, this run {expected[name]}; give another")


def open_training_corpus(config: GanTrainingConfig, progress: Progress = silent) -> ExcerptCorpus:
    """The corpus of a run, as excerpts.

    Raises: as `open_excerpts`.
    """
    profile = get_profile(config.features) if config.features is not None else None
    return open_excerpts(config.corpus, profile, config.cache or spectrograms_of(config.run_folder), progress)


def train_gan(config: GanTrainingConfig, progress: Progress = silent, corpus: ExcerptCorpus | None = None) -> Path:
    """Trains, or continues, on the train split of `config.corpus`; returns the last checkpoint (see `train_on_source`).

    `corpus` is what `open_training_corpus` gave, where it was asked before.

    Raises: DatasetError, BrokenData or AudioError without a usable corpus; InvalidArgument when its features are
    others; CheckpointError or InvalidArgument when a file to begin from cannot be used, CheckpointError when the folder
    holds another run.
    """
    corpus = corpus or open_training_corpus(config, progress)
    train = corpus.open("train")
    if config.features not in (None, train.profile.name):
        raise InvalidArgument(
            "features", f"got {config.features}, but {config.corpus} has {train.profile.name}; leave it out"
        )
    record = {"corpus": corpus.fingerprint, "sources": list(corpus.sources)}
    return train_on_source(train, record, config, progress)


def real_batch(source: ExcerptSource, config: GanTrainingConfig, draw: int) -> Labelled:
    """The `draw`-th batch of real excerpts, a function of seed and number alone."""
    rng = np.random.default_rng((config.seed, draw))
    excerpts, labels = source.random_excerpts(rng, config.batch_size)
    batch = torch.from_numpy(excerpts)[:, None].contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(2.0 * labels - 1.0)


def train_on_source(
    source: ExcerptSource,
    data_record: Mapping[str, Any],
    config: GanTrainingConfig,
    progress: Progress = silent,
    stop_after: int | None = None,
) -> Path:
    """Trains, or continues, in `config.run_folder`; returns the last checkpoint of the averaged generator.

    A run ended early by `stop_after` updates (or by a kill) continues from its last checkpoint, on a CPU to the very
    weights an uninterrupted run reaches.
    """
    profile = source.profile
    start_from = _Start.load(config, profile.to_dict())
    sources = [str(data_record["corpus"]), *(f"{name} {of['sha256']}" for name, of in start_from.record.items())]
    folder = RunFolder(config.run_folder, config, " ".join(sources))
    with folder.in_use(), training_machine(config.threads, config.seed):
        mean, std = map(torch.from_numpy, source.band_statistics())
        gan = _Gan(config, start_from, mean, std, profile.excerpt_shape, profile.floor_value, source.label_share)
        learner = _Players(gan, source, folder.path, {**data_record, **start_from.record}, progress)
        fit(folder, learner, Schedule("update", config.updates, config.checkpoint_interval), stop_after)
    return checkpoints(config.run_folder)[-1]


class _Players(Learner):
    """Both networks and their data; every checkpoint of the averaged generator is kept."""

    def __init__(
        self, gan: _Gan, source: ExcerptSource, folder: Path, record: Mapping[str, Any], progress: Progress
    ) -> None:
        """`record` is what a checkpoint says of the data, and of what the run began from."""
        self._gan = gan
        self._source = source
        self._folder = folder
        self._record = record
        self._progress = progress

    def begin(self) -> None:
        """Takes the scale of the detector's layers, where there is one, from real excerpts."""
        gan, config = self._gan, self._gan.config
        if gan.critic.layers is not None:
            excerpts, _ = self._source.random_excerpts(np.random.default_rng((config.seed, config.updates)), STATISTICS)
            gan.critic.layers.set_statistics(torch.from_numpy(excerpts)[:, None].to(gan.device))

    def train(self, first: int, last: int) -> dict[str, float]:
        gan, config = self._gan, self._gan.config
        began = time.monotonic()
        losses: list[tuple[float, float, float]] = []
        for update in range(first, last):
            gan.set_rate(update)
            penalise = update % config.penalty_interval == 0
            critic_loss, generator_loss, penalty = gan.update(*real_batch(self._source, config, update), penalise)
            if not np.isfinite((critic_loss, generator_loss, penalty)).all():
                raise Diverged(
                    f"update {update + 1}: the losses are {critic_loss}, {generator_loss} and {penalty}; the last "
                    "checkpoint is kept, lower the learning rate or raise the penalty"
                )
            gan.update_average(update)
            losses.append((critic_loss, generator_loss, penalty * config.penalty_interval))
            self._progress(update + 1, config.updates, f"critic {critic_loss:.3f} generator {generator_loss:.3f}")
        logger.info("%.2f updates/s", (last - first) / (time.monotonic() - began))
        return dict(zip(("critic_loss", "generator_loss", "penalty"), map(float, np.mean(losses, axis=0)), strict=True))

    def keep(self, figures: Mapping[str, float], done: int) -> None:
        gan, config = self._gan, self._gan.config
        record = {**self._record, "seed": config.seed, "updates": done, "config": plain(config)}
        arguments = {
            "arch": config.arch,
            "latent_size": config.latent_size,
            "channels": config.generator_channels,
            "log_floor": gan.average.log_floor,
            **dict(zip(("band_count", "frame_count"), gan.average.size, strict=True)),
        }
        meta = CheckpointMeta("generator", arguments, self._source.profile.to_dict(), training=record)
        save_checkpoint(self._folder / "checkpoints" / f"generator-{done:07d}.pt", gan.average, meta)

    def state(self) -> dict[str, Any]:
        return {"gan": self._gan.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._gan.load_state(state["gan"])


def spectrograms_of(run_folder: Path) -> Path:
    """Where a run keeps the spectrograms of a corpus of recordings, unless it is told another folder."""
    return run_folder / "spectrograms"


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint of a generator lies in."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def checkpoints(run_folder: Path) -> list[Path]:
    """All saved averaged generators of a run, oldest first."""
    return sorted((run_folder / "checkpoints").glob("generator-*.pt"))
