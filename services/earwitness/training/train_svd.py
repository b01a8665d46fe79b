"""Trains SVDNet, the singing-voice detector."""

import copy
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

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
from earwitness.training.networks import NormalisedSVDNet, SVDNet
from earwitness.training.prepared import Batch
from earwitness.training.run_folder import (
    DeviceName,
    Progress,
    RunFolder,
    best_checkpoint,
    plain,
    random_state,
    require_finite,
    restore_random_state,
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
        learner = (NormalisedSVDNet(network) if config.batch_norm else network).to(device)
        optimiser = _optimiser(config, learner)
        average = copy.deepcopy(learner).requires_grad_(False) if config.ema_updates else None
        first_epoch, curves, best = 0, list[dict[str, float]](), 0.0
        saved = folder.resume()
        if saved is not None:
            first_epoch, curves, best = saved["epoch"], saved["curves"], saved["best"]
            learner.load_state_dict(saved["learner"])
            if average is not None:
                average.load_state_dict(saved["average"])
            optimiser.load_state_dict(saved["optimiser"])
            restore_random_state(saved["random"])
            logger.info("continuing at epoch %d of %d", first_epoch, config.epochs)
        last_epoch = min(config.epochs, first_epoch + (stop_after_epochs or config.epochs))
        for epoch in range(first_epoch, last_epoch):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * config.rate_decay**epoch
            began = time.monotonic()
            first = epoch * config.updates_per_epoch
            batches = sampler.batches(first, first + config.updates_per_epoch, config.workers)
            loss = _train_epoch(learner, optimiser, average, config, batches, first, progress)
            seconds = time.monotonic() - began
            trained = _plain_network(copy.deepcopy(learner if average is None else average).cpu())
            auc = validation_auc(trained, valid, validation)
            curves.append({"epoch": epoch + 1.0, "loss": loss, "valid_auc": auc, "seconds": seconds})
            logger.info("epoch %d: loss %.4f, validation AUROC %.4f, %.0f s", epoch + 1, loss, auc, seconds)
            if auc > best:
                best = auc
                record = {
                    "corpus": corpus.manifest["fingerprint"],
                    "sources": list(corpus.manifest["sources"]),
                    "seed": config.seed,
                    "updates": (epoch + 1) * config.updates_per_epoch,
                    "valid_auc": auc,
                    "config": plain(config),
                }
                meta = CheckpointMeta(
                    "svdnet",
                    {"output_count": network.output_count, "band_count": bands, "frame_count": frames},
                    train.profile.to_dict(),
                    LABELS[config.variant],
                    record,
                )
                save_checkpoint(best_checkpoint(config.run_folder), trained, meta)
            folder.write_curves(curves)
            folder.save_state(
                {
                    "epoch": epoch + 1,
                    "curves": curves,
                    "best": best,
                    "learner": learner.state_dict(),
                    "average": average.state_dict() if average is not None else {},
                    "optimiser": optimiser.state_dict(),
                    "random": random_state(),
                }
            )
    return best_checkpoint(config.run_folder)


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


def _plain_network(learner: nn.Module) -> SVDNet:
    if isinstance(learner, NormalisedSVDNet):
        return learner.folded()
    assert isinstance(learner, SVDNet)
    return learner


def _train_epoch(
    learner: SVDNet | NormalisedSVDNet,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
    config: SvdTrainingConfig,
    batches: Iterable[Batch],
    first: int,
    progress: Progress,
) -> float:
    """One pass over `batches`; the mean loss."""
    learner.train()
    device = next(learner.parameters()).device
    total = config.epochs * config.updates_per_epoch
    short = config.precision == "bfloat16"
    # bfloat16 convolutions are fast with the channels last only.
    layout = torch.channels_last if short else torch.contiguous_format
    learner.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    losses: list[float] = []
    for segments, labels in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=short):
            logits = learner.segment_logits(segments[:, None].to(device, memory_format=layout)).float()
        loss = loss_of(logits.flatten(0, 1), labels.flatten().to(device), config.target_margin)
        optimiser.zero_grad(set_to_none=True)
        require_finite(loss, first + len(losses) + 1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if average is not None:
            kept = kept_share(first + len(losses), config.ema_updates)
            average_into(average.state_dict().values(), learner.state_dict().values(), kept)
        losses.append(loss.item())
        done = first + len(losses)
        progress(done, total, f"loss {np.mean(losses[-50:]):.3f}")
        if done % 200 == 0:
            logger.info("update %d: loss %.4f", done, float(np.mean(losses[-200:])))
    return float(np.mean(losses))
