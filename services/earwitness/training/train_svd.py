"""Trains SVDNet, the singing-voice detector."""

import copy
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from earwitness.errors import InvalidArgument
from earwitness.training.augmentation import AugmentationConfig
from earwitness.training.averaging import average_into, kept_share
from earwitness.training.checkpoint import CheckpointMeta, save_checkpoint
from earwitness.training.corpus import LabelledSpectrograms, open_corpus
from earwitness.training.evaluate import Scored, frame_scores
from earwitness.training.fitting import Learner, Schedule, fit, mean_loss
from earwitness.training.networks import NormalisedSVDNet, SVDNet
from earwitness.training.prepared import Batch
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
from earwitness.training.segments import SegmentSampler, SegmentShape

logger = logging.getLogger(__name__)
Variant = Literal["r1", "r2"]
LABELS: dict[Variant, dict[str, tuple[str, str]]] = {
    "r1": {"0": ("vocal", "non-vocal")},
    "r2": {"0": ("non-vocal", "vocal"), "1": ("vocal", "non-vocal")},
}
"""Words for a high and a low activation of each output unit."""

ADAM_WEIGHT_DECAY = 1e-4
VALIDATION_FRAMES = 500_000
"""Most frames that every epoch is validated on: two hours, six times the clips of the synthetic corpus."""


@dataclass(frozen=True)
class SvdTrainingConfig:
    """One classifier run; equal values and data give equal weights on the CPU of one machine (see `run_folder`).

    The defaults are how svd-r1 was trained (the model cards tell all), `published()` is the published schedule. Adam
    decays the weights by ADAM_WEIGHT_DECAY and has no use for `momentum`. `batch_norm` trains through batch
    normalisation, which is folded into the weights of every checkpoint. `ema_updates` is the half-life of the averaged
    weights, the ones that are validated and saved; 0 saves the last ones. `excerpts_per_segment` above 1 trains on
    several overlapping excerpts of each of the `batch_size` segments at once; `workers` processes prepare them.
    With `precision` bfloat16 the layers compute in bfloat16, weights and updates stay in float32: 2.6 times as fast
    where the CPU has instructions for it (`avx512_bf16`, `amx_bf16`), slower elsewhere.
    `target_margin` is the distance of the two targets from 0 and 1; `validation_clips` are the most that every epoch is
    validated on (see VALIDATION_FRAMES).
    """

    corpus: Path
    run_folder: Path
    variant: Variant = "r1"
    seed: int = 0
    epochs: int = 40
    updates_per_epoch: int = 300
    batch_size: int = 16
    excerpts_per_segment: int = 6
    optimiser: Literal["adam", "nesterov"] = "adam"
    batch_norm: bool = True
    learning_rate: float = 0.001
    rate_decay: float = 0.93
    momentum: float = 0.95
    ema_updates: float = 400.0
    target_margin: float = 0.02
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    validation_clips: int = 200
    precision: Literal["float32", "bfloat16"] = "float32"
    workers: int = 1
    threads: int | None = None
    device: DeviceName = "auto"

    @classmethod
    def published(cls, corpus: Path, run_folder: Path) -> Self:
        """20 epochs of 2 000 updates of 32 excerpts, Nesterov momentum, stretch and shift up to 30 %.

        Source: Schlüter & Grill, ISMIR 2015; METHOD of arXiv:1904.09533.
        """
        return cls(
            corpus, run_folder, epochs=20, updates_per_epoch=2000, batch_size=32, excerpts_per_segment=1,
            optimiser="nesterov", batch_norm=False, ema_updates=0.0, learning_rate=0.01, rate_decay=0.85,
            augmentation=AugmentationConfig(level_db=0.0, mix_share=0.0, masked_bands=0, masked_frames=0),
        )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("epochs", "updates_per_epoch", "batch_size", "excerpts_per_segment", "validation_clips"):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, f"got {getattr(self, name)}, expected at least 1")
        if self.optimiser not in ("adam", "nesterov"):
            raise InvalidArgument("optimiser", f"got {self.optimiser!r}, expected adam or nesterov")
        if self.precision not in ("float32", "bfloat16"):
            raise InvalidArgument("precision", f"got {self.precision!r}, expected float32 or bfloat16")
        if self.variant not in LABELS:
            raise InvalidArgument("variant", f"got {self.variant!r}, expected one of {', '.join(LABELS)}")


def train_svd(config: SvdTrainingConfig, progress: Progress = silent, stop_after_epochs: int | None = None) -> Path:
    """Trains, or continues, in `config.run_folder`; returns the checkpoint with the best validation AUROC.

    After every epoch the state is saved: a run that was killed (or ended by `stop_after_epochs`) continues, on a CPU to
    the very weights an uninterrupted run reaches.

    Raises: DatasetError without a complete corpus, InvalidArgument when it cannot train or validate, CheckpointError
    when the folder holds another run.
    """
    corpus = open_corpus(config.corpus)
    train, valid = corpus.open("train"), corpus.open("valid")
    bands, frames = train.profile.excerpt_shape
    # All that can be wrong is told before the run has a folder.
    if train.labels.all() or not train.labels.any():
        raise InvalidArgument(
            "corpus", f"its training clips are all {_class_of(train.labels)}, nothing can be learnt; add the other kind"
        )
    validation = spread_clips(valid, config.validation_clips)
    shape = SegmentShape(frames, config.excerpts_per_segment)
    sampler = SegmentSampler(train, shape, config.augmentation, config.batch_size, config.seed)
    device = training_device(config.device)
    folder = RunFolder(config.run_folder, config, corpus.manifest["fingerprint"])
    with folder.in_use(), training_machine(config.threads, config.seed):
        network = SVDNet(output_count=len(LABELS[config.variant]), band_count=bands, frame_count=frames)
        network.standardise.set_statistics(*map(torch.from_numpy, train.band_statistics()))
        network.initialise(torch.Generator().manual_seed(config.seed))
        facts = {"corpus": corpus.manifest["fingerprint"], "sources": list(corpus.manifest["sources"])}
        learner = _Detector(config, network, sampler, (valid, validation), facts, device, progress)
        fit(folder, learner, Schedule("epoch", config.epochs), stop_after_epochs)
    return best_checkpoint(config.run_folder)


class _Detector(Learner):
    """The network that is trained, its average and its optimiser; the one with the best AUROC so far is kept."""

    def __init__(
        self,
        config: SvdTrainingConfig,
        network: SVDNet,
        sampler: SegmentSampler,
        validation: tuple[LabelledSpectrograms, Sequence[int]],
        corpus: Mapping[str, Any],
        device: torch.device,
        progress: Progress,
    ) -> None:
        """`validation` is a split and its clips; `corpus` what a checkpoint's record says of the data."""
        self._config = config
        self._sampler = sampler
        self._validation = validation
        self._corpus = corpus
        self._progress = progress
        self._arguments = {
            "output_count": network.output_count,
            **dict(zip(("band_count", "frame_count"), validation[0].profile.excerpt_shape, strict=True)),
        }
        self._learner: SVDNet | NormalisedSVDNet = NormalisedSVDNet(network) if config.batch_norm else network
        self._learner.to(device)
        self._optimiser = _optimiser(config, self._learner)
        self._average = copy.deepcopy(self._learner).requires_grad_(False) if config.ema_updates else None
        self._trained = network
        """As it was validated last."""
        self._best = 0.0

    def train(self, first: int, last: int) -> dict[str, float]:
        """The loss of each epoch's updates, and the AUROC over the validation clips after the last one."""
        config = self._config
        began = time.monotonic()
        for epoch in range(first, last):
            for group in self._optimiser.param_groups:
                group["lr"] = config.learning_rate * config.rate_decay**epoch
            loss = self._train_epoch(epoch)
        seconds = time.monotonic() - began
        self._trained = self._plain_network()
        auc = validation_auc(self._trained, *self._validation)
        return {"loss": loss, "valid_auc": auc, "seconds": seconds}

    def keep(self, figures: Mapping[str, float], done: int) -> None:
        auc = figures["valid_auc"]
        if not auc > self._best:
            return
        self._best = auc
        record = {
            **self._corpus,
            "seed": self._config.seed,
            "updates": done * self._config.updates_per_epoch,
            "valid_auc": auc,
            "config": plain(self._config),
        }
        profile = self._validation[0].profile
        meta = CheckpointMeta("svdnet", self._arguments, profile.to_dict(), LABELS[self._config.variant], record)
        save_checkpoint(best_checkpoint(self._config.run_folder), self._trained, meta)

    def state(self) -> dict[str, Any]:
        return {
            "best": self._best,
            "learner": self._learner.state_dict(),
            "average": self._average.state_dict() if self._average is not None else {},
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._best = state["best"]
        self._learner.load_state_dict(state["learner"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _train_epoch(self, epoch: int) -> float:
        """The mean loss."""
        config, learner = self._config, self._learner
        learner.train()
        device = next(learner.parameters()).device
        short = config.precision == "bfloat16"
        # bfloat16 convolutions are fast with the channels last only.
        layout = torch.channels_last if short else torch.contiguous_format
        learner.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it

        def update(batch: Batch, number: int) -> float:
            segments, labels = batch
            with torch.autocast(device.type, torch.bfloat16, enabled=short):
                logits = learner.segment_logits(segments[:, None].to(device, memory_format=layout)).float()
            loss = loss_of(logits.flatten(0, 1), labels.flatten().to(device), config.target_margin)
            self._optimiser.zero_grad(set_to_none=True)
            require_finite(loss, number + 1)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            if self._average is not None:
                kept = kept_share(number, config.ema_updates)
                average_into(self._average.state_dict().values(), learner.state_dict().values(), kept)
            return loss.item()

        first = epoch * config.updates_per_epoch
        batches = self._sampler.batches(first, first + config.updates_per_epoch, config.workers)
        return mean_loss(batches, update, first, config.epochs * config.updates_per_epoch, self._progress)

    def _plain_network(self) -> SVDNet:
        """What is validated and saved: the average where there is one, on the CPU, without batch normalisation."""
        learner = copy.deepcopy(self._learner if self._average is None else self._average).cpu()
        if isinstance(learner, NormalisedSVDNet):
            return learner.folded()
        assert isinstance(learner, SVDNet)
        return learner


def loss_of(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Cross-entropy of logits `[N, outputs]` against labels `[N]` (0 or 1) pulled in by `margin`."""
    targets = labels * (1.0 - 2.0 * margin) + margin
    if logits.shape[1] == 1:
        return binary_cross_entropy_with_logits(logits[:, 0], targets)
    return cross_entropy(logits, torch.stack([1.0 - targets, targets], dim=1))


def spread_clips(data: LabelledSpectrograms, count: int) -> list[int]:
    """At most `count` clips, and VALIDATION_FRAMES, of a split, spread evenly over it; one at least.

    Raises: InvalidArgument when one is shorter than an excerpt, or their labels hold one class only, which no AUROC can
    rank.
    """
    for number in range(min(count, len(data.clips)), 0, -1):
        clips = np.linspace(0, len(data.clips) - 1, number).round().astype(int).tolist()
        if sum(data.clips[clip].frame_count for clip in clips) <= VALIDATION_FRAMES:
            break
    _, length = data.profile.excerpt_shape
    shortest = min(data.clips[clip].frame_count for clip in clips)
    if shortest < length:
        raise InvalidArgument(
            "corpus",
            f"a validation clip has {shortest} frames, an excerpt {length}; leave short clips out of the corpus",
        )
    centres = slice(length // 2, length // 2 - length + 1)
    labels = np.concatenate([data.clip_labels(clip)[centres] for clip in clips])
    if labels.all() or not labels.any():
        raise InvalidArgument(
            "corpus",
            f"the {len(clips)} validation clips are all {_class_of(labels)}; give a corpus with more "
            "validation clips of the other kind",
        )
    return [int(clip) for clip in clips]


def _class_of(labels: NDArray[np.bool_]) -> str:
    """The one class of labels that hold no other."""
    return "vocal" if labels.all() else "non-vocal"


def validation_auc(network: SVDNet, data: LabelledSpectrograms, clips: Iterable[int]) -> float:
    """AUROC over all frames of the `clips` of the split."""
    return Scored.joined([frame_scores(network, data, clip) for clip in clips]).auroc()


def _optimiser(config: SvdTrainingConfig, learner: nn.Module) -> torch.optim.Optimizer:
    parameters = [each for each in learner.parameters() if each.requires_grad]
    if config.optimiser == "adam":
        return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=ADAM_WEIGHT_DECAY)
    return torch.optim.SGD(parameters, config.learning_rate, config.momentum, nesterov=True)
