"""Evaluates a singing-voice detector frame by frame, as the method does: smoothing, threshold from validation, figures.

Predictions exist for frames that have a whole excerpt around them; the others are left out.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.metrics import roc_auc_score

from earwitness.features import profile_from_dict
from earwitness.files import whole_file
from earwitness.training.checkpoint import load_checkpoint, other_corpus, require_features
from earwitness.training.corpus import Clip, DatasetError, LabelledSpectrograms, open_corpus
from earwitness.training.corpus.config import IMITATING
from earwitness.training.datasets import load_recordings
from earwitness.training.intervals import Intervals, bootstrap
from earwitness.training.networks import SVDNet
from earwitness.training.networks.svd import probabilities
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
        return Scored(self._smooth_scores, self.labels)

    @cached_property
    def _smooth_scores(self) -> NDArray[np.float32]:
        return np.asarray(median_filter(self.scores, SMOOTHING_FRAMES, mode="nearest"))

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
class FileFigures:
    """Figures of one clip or song of a part: "validation", "test" or "songs"."""

    part: str
    name: str
    figures: Figures


@dataclass(frozen=True)
class ClassifierReport:
    """Figures of the test split, of each engine (its clips beside all clips without voice), of each song and of all.

    `kinds` are those of each kind of voice beside all clips without voice, where the test split has several, and under
    IMITATING those of the instruments that imitate voices, beside all clips with a voice.
    `intervals` are those of the parts "validation", "test" and "songs"; `files` has every file of them. `warnings` are
    what makes the figures less than they seem.
    """

    threshold: float
    validation: Figures
    test: Figures
    engines: Mapping[str, Figures]
    songs: Mapping[str, Figures]
    all_songs: Figures | None
    intervals: Mapping[str, Intervals] = field(default_factory=dict)
    files: tuple[FileFigures, ...] = ()
    warnings: tuple[str, ...] = ()
    kinds: Mapping[str, Figures] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def write_files(self, path: Path) -> None:
        """Writes the figures of every file as CSV; all or nothing."""
        columns = ["part", "file", *(each.name for each in fields(Figures))]
        with whole_file(path) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([each.part, each.name, *astuple(each.figures)] for each in self.files)


def evaluate_classifier(
    checkpoint: Path, corpus: Path, songs: Path | None = None, progress: Progress = silent
) -> ClassifierReport:
    """Figures of a trained SVDNet on a corpus and, apart, on real songs (see `datasets.load_recordings`).

    Raises: CheckpointError or DatasetError when an input cannot be used; DatasetError when the validation split holds
    one class only, which no threshold can part.
    """
    module, meta = load_checkpoint(checkpoint, "svdnet")
    keep_freed_memory()
    network = cast(SVDNet, module)
    opened = open_corpus(corpus)
    data = {"validation": opened.open("valid"), "test": opened.open("test")}
    for each in data.values():
        require_features(checkpoint, meta, each.profile, str(corpus))
    if songs is not None:
        data["songs"] = load_recordings(
            songs, profile_from_dict(meta.features), progress=lambda stage, done, total: progress(done, total, stage)
        )
    scored = {part: score_clips(network, each, progress, part) for part, each in data.items()}
    smoothed = {part: [each.smoothed() for each in clips] for part, clips in scored.items()}
    validation = Scored.joined(smoothed["validation"])
    if validation.labels.all() or not validation.labels.any():
        raise DatasetError(f"{corpus}: its validation split holds one class only; no threshold can be chosen on it")
    threshold = best_threshold(validation)
    files = tuple(
        FileFigures(part, _name(clip, number), figures([each], threshold))
        for part, clips in scored.items()
        for number, (clip, each) in enumerate(zip(data[part].clips, clips, strict=True))
    )
    return ClassifierReport(
        threshold=threshold,
        validation=figures(scored["validation"], threshold),
        test=figures(scored["test"], threshold),
        engines=_by_engine(data["test"], scored["test"], threshold),
        songs={each.name: each.figures for each in files if each.part == "songs"},
        all_songs=figures(scored["songs"], threshold) if songs is not None else None,
        intervals={part: bootstrap(clips, threshold) for part, clips in smoothed.items()},
        files=files,
        warnings=tuple(other_corpus("detector", meta.training.get("corpus"), opened.manifest["fingerprint"])),
        kinds=_by_kind(data["test"], scored["test"], threshold),
    )


def _by_engine(data: LabelledSpectrograms, scored: Sequence[Scored], threshold: float) -> dict[str, Figures]:
    """Figures of each synthetic singer's clips beside all clips without voice; none for recordings."""
    clips = [(clip.facts.get("engine"), each) for clip, each in zip(data.clips, scored, strict=True)]
    voiceless = [each for clip, each in zip(data.clips, scored, strict=True) if not clip.facts.get("vocal")]
    return {
        engine: figures(voiceless + [each for own, each in clips if own == engine], threshold)
        for engine in sorted({str(own) for own, _ in clips if own})
    }


def _by_kind(data: LabelledSpectrograms, scored: Sequence[Scored], threshold: float) -> dict[str, Figures]:
    """Figures of each kind of voice, and of imitations; none where all voices are of one kind and nothing imitates."""
    of_class: dict[bool, dict[str, list[Scored]]] = {True: {}, False: {}}
    for clip, each in zip(data.clips, scored, strict=True):
        of_class[bool(clip.facts.get("vocal"))].setdefault(str(clip.facts.get("kind", "")), []).append(each)
    voices, others = of_class[True], of_class[False]
    voiceless, vocal = (list(chain.from_iterable(parts.values())) for parts in (others, voices))
    found = {}
    if len(voices) > 1:
        found = {kind: figures(own + voiceless, threshold) for kind, own in sorted(voices.items()) if kind}
    if vocal and IMITATING in others:
        found[IMITATING] = figures(vocal + others[IMITATING], threshold)
    return found


def _name(clip: Clip, number: int) -> str:
    return str(clip.facts.get("name", f"clip {number:05d}"))


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

    Raises: InvalidArgument when the clip is shorter than an excerpt.
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
