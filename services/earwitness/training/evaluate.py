"""Evaluates a singing-voice detector frame by frame, as the method does: smoothing, threshold from validation, figures.

Predictions exist for frames that have a whole excerpt around them; the others are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.metrics import roc_auc_score

from earwitness.features import profile_from_dict
from earwitness.training.checkpoint import load_checkpoint
from earwitness.training.corpus import LabelledSpectrograms, open_corpus
from earwitness.training.networks import SVDNet
from earwitness.training.networks.svd import probabilities
from earwitness.training.real_songs import load_songs
from earwitness.training.run_folder import Progress, keep_freed_memory, silent

SMOOTHING_FRAMES = 56
"""Median filter over the predictions, 0.8 s. Source: Schlüter & Grill, ISMIR 2015."""

BLOCK_FRAMES = 4096
"""Predictions made at once: bounds the memory of a long song."""


@dataclass(frozen=True)
class Scored:
    """Probability of "vocal" and truth of the frames of one clip or song, both `[frames]`."""

    scores: NDArray[np.float32]
    labels: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence["Scored"]) -> "Scored":
        return cls(np.concatenate([part.scores for part in parts]), np.concatenate([part.labels for part in parts]))

    def smoothed(self) -> "Scored":
        """Scores median-filtered over SMOOTHING_FRAMES; for one clip, before joining."""
        return Scored(median_filter(self.scores, SMOOTHING_FRAMES, mode="nearest"), self.labels)

    def auroc(self) -> float:
        """Area under the ROC curve; NaN when only one class is present."""
        if self.labels.all() or not self.labels.any():
            return float("nan")
        return float(roc_auc_score(self.labels, self.scores))


@dataclass(frozen=True)
class Figures:
    """What a threshold makes of scored frames; all but `frames` are shares. `auroc_raw` is without smoothing."""

    frames: int
    error: float
    precision: float
    recall: float
    specificity: float
    f1: float
    auroc: float
    auroc_raw: float


@dataclass(frozen=True)
class ClassifierReport:
    """Figures of the test split, of each engine (its clips beside all clips without voice), of each song and of all."""

    threshold: float
    validation: Figures
    test: Figures
    engines: Mapping[str, Figures]
    songs: Mapping[str, Figures]
    all_songs: Figures | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_classifier(
    checkpoint: Path, corpus: Path, songs: Path | None = None, progress: Progress = silent
) -> ClassifierReport:
    """Figures of a trained SVDNet on a corpus and, apart, on real songs (see `real_songs.load_songs`).

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used.
    """
    module, meta = load_checkpoint(checkpoint, "svdnet")
    keep_freed_memory()
    network = cast(SVDNet, module)
    opened = open_corpus(corpus)
    valid, test = opened.open("valid"), opened.open("test")
    validation = score_clips(network, valid, progress, "validation")
    threshold = best_threshold(Scored.joined([part.smoothed() for part in validation]))
    scored = score_clips(network, test, progress, "test")
    voiceless = [part for part, clip in zip(scored, test.clips, strict=True) if not clip.facts["vocal"]]
    engines = {
        engine: figures(
            voiceless + [part for part, clip in zip(scored, test.clips, strict=True) if clip.facts["engine"] == engine],
            threshold,
        )
        for engine in sorted({str(clip.facts["engine"]) for clip in test.clips if clip.facts["vocal"]})
    }
    per_song, all_songs = {}, None
    if songs is not None:
        data = load_songs(songs, profile_from_dict(meta.features))
        parts = score_clips(network, data, progress, "songs")
        per_song = {
            str(clip.facts["name"]): figures([part], threshold) for clip, part in zip(data.clips, parts, strict=True)
        }
        all_songs = figures(parts, threshold)
    return ClassifierReport(
        threshold, figures(validation, threshold), figures(scored, threshold), engines, per_song, all_songs
    )


def score_clips(
    network: SVDNet, data: LabelledSpectrograms, progress: Progress = silent, what: str = ""
) -> list[Scored]:
    """Every clip of `data`, in order; `progress` is told of each, as clips of `what`."""
    parts = []
    for clip in range(len(data.clips)):
        parts.append(frame_scores(network, data, clip))
        progress(clip + 1, len(data.clips), what)
    return parts


def frame_scores(network: SVDNet, data: LabelledSpectrograms, clip: int) -> Scored:
    """Scores and labels of the T − 114 frames of a clip of T frames that have a whole excerpt around them.

    The network is left in eval mode.

    Raises: ValueError when the clip is shorter than an excerpt.
    """
    network.eval()
    length = network.frame_count
    spectrogram = torch.from_numpy(data.spectrogram(clip).T)
    count = spectrogram.shape[1] - length + 1
    with torch.inference_mode():
        logits = torch.cat(
            [
                network.frame_logits(spectrogram[:, start : start + BLOCK_FRAMES + length - 1])
                for start in range(0, max(count, 1), BLOCK_FRAMES)
            ]
        )
    labels = data.clip_labels(clip)[length // 2 :][:count]
    return Scored(probabilities(logits)[:, -1].numpy(), labels)


def best_threshold(scored: Scored) -> float:
    """The threshold (vocal when score ≥ threshold) of the highest accuracy, halfway between neighbouring scores."""
    order = np.argsort(scored.scores, kind="stable")
    scores, labels = scored.scores[order].astype(np.float64), scored.labels[order]
    # Cutting before position k calls the k lowest scores non-vocal.
    right = np.concatenate([[0], np.cumsum(~labels)]) + labels.sum() - np.concatenate([[0], np.cumsum(labels)])
    edges = np.concatenate([[scores[0] - 1e-6], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1e-6]])
    possible = np.concatenate([[True], scores[1:] > scores[:-1], [True]])
    return float(edges[np.argmax(np.where(possible, right, -1))])


def figures(parts: Sequence[Scored], threshold: float) -> Figures:
    """Figures of clips taken together, each smoothed on its own; NaN where a share has nothing to divide by."""
    joined, raw = Scored.joined([part.smoothed() for part in parts]), Scored.joined(parts)
    called = joined.scores >= threshold
    hits, false_alarms = int((called & joined.labels).sum()), int((called & ~joined.labels).sum())
    misses, rejections = int((~called & joined.labels).sum()), int((~called & ~joined.labels).sum())
    return Figures(
        frames=len(called),
        error=(false_alarms + misses) / len(called),
        precision=_share(hits, hits + false_alarms),
        recall=_share(hits, hits + misses),
        specificity=_share(rejections, rejections + false_alarms),
        f1=_share(2 * hits, 2 * hits + false_alarms + misses),
        auroc=joined.auroc(),
        auroc_raw=raw.auroc(),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
