"""Turns recordings with labels into a corpus that training reads, or into labelled spectrograms in memory."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earwitness.features import FeatureProfile, LogMelProfile
from earwitness.training.corpus import SPLITS, Clip, Corpus, LabelledSpectrograms, Quantisation
from earwitness.training.corpus.parallel import Progress, silent
from earwitness.training.corpus.storage import BUILD_PREFIX, complete_corpus, finished_corpus, replace_corpus
from earwitness.training.datasets.check import listen
from earwitness.training.datasets.inspection import kept_frames, kept_path
from earwitness.training.datasets.judgement import OF_SPLITS, Sound
from earwitness.training.datasets.layout import Kind
from earwitness.training.datasets.problems import BrokenData, errors_of
from earwitness.training.datasets.report import DataReport, SplitSummary
from earwitness.training.datasets.survey import DataConfig, Survey, survey

IMPORT_VERSION = 2
"""Raised with every change that alters frames or labels of the same files; part of the fingerprint."""

KEPT = f"{BUILD_PREFIX}recordings"
"""Frames of the recordings read so far, by content: a refused import, once corrected, decodes only what is new."""

SOURCES: Mapping[Kind, str] = {
    "jamendo": "the Jamendo singing-voice data set (M. Ramona)",
    "jamendolyrics": "songs with word timings in the form of JamendoLyrics",
    "folder": "recordings with label files",
}


@dataclass(frozen=True)
class Imported:
    """A corpus of recordings, and the report on them; no report when the corpus was there already."""

    corpus: Corpus
    report: DataReport[SplitSummary] | None


def import_data(
    path: Path,
    out: Path,
    profile: FeatureProfile,
    config: DataConfig,
    workers: int = 1,
    progress: Progress = silent,
    *,
    source: str = "",
    force: bool = False,
) -> Imported:
    """Reads the recordings of `path` into a corpus in `out`, or returns it when these very files are there already.

    Every recording is decoded once; an interrupted import, or one that was refused, goes on where it was. `source`
    says what the recordings are, for the model card. With `force` a corpus of other data is replaced, once the new one
    is ready.

    Raises: BrokenData naming every file that cannot be used (with `leave_out_broken`: what is wrong with the rest);
    DatasetError when `path` is no folder, or when `out` holds other data or something else.
    """
    surveyed = survey(path, profile, config, workers, progress)
    described = source or f"{SOURCES[surveyed.kind]}, {len(surveyed.sources)} recordings"
    fingerprint = _fingerprint(surveyed, described)
    there = finished_corpus(out, fingerprint, force=force)
    if there is not None:
        return Imported(there, None)
    kept = out / KEPT
    kept.mkdir(parents=True, exist_ok=True)
    report, sound = listen(surveyed, kept, workers, progress)
    errors = errors_of(report.problems)
    if any(not config.leave_out_broken or not problem.file for problem in errors):
        raise BrokenData(path, report.problems)
    replace_corpus(out)
    for done, split in enumerate(SPLITS):
        progress("writing", done, len(SPLITS))
        chosen = [each for each in sound if each.source.recording.split == split]
        _assemble(chosen, kept, surveyed.profile).save(out / split)
    manifest = {
        "fingerprint": fingerprint,
        "config": {**asdict(config), "kind": surveyed.kind},
        "features": surveyed.profile.to_dict(),
        "sources": [described],
        "splits": {
            split: {"clips": each.files, "hours": each.hours, "vocal_fraction": each.vocal_fraction}
            for split, each in report.splits.items()
        },
        "left_out": sorted({problem.file for problem in errors}),
    }
    return Imported(complete_corpus(out, manifest), report)


def load_recordings(
    path: Path, profile: FeatureProfile, config: DataConfig | None = None, workers: int = 1, progress: Progress = silent
) -> LabelledSpectrograms:
    """All recordings of a folder in memory, whatever their split, in the order of their names.

    Raises: BrokenData naming every file that cannot be used; DatasetError when `path` is no folder; InvalidArgument
    when the profile is no log-mel profile.
    """
    surveyed = survey(path, profile, config or DataConfig(), workers, progress)
    with tempfile.TemporaryDirectory() as folder:
        report, sound = listen(surveyed, Path(folder), workers, progress)
        if not sound or any(problem.code not in OF_SPLITS for problem in errors_of(report.problems)):
            raise BrokenData(path, report.problems)
        return _assemble(sound, Path(folder), surveyed.profile)


def _fingerprint(surveyed: Survey, described: str) -> str:
    """SHA-256 (hex) of what decides the corpus: the content of all files, their splits, how they are read."""
    body = {
        "import_version": IMPORT_VERSION,
        "kind": surveyed.kind,
        "config": asdict(surveyed.config),
        "source": described,
        "features": surveyed.profile.to_dict(),
        "recordings": [
            [each.recording.name, each.recording.split, each.audio_sha256, each.label_sha256]
            for each in surveyed.sources
        ],
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _assemble(sound: Sequence[Sound], kept: Path, profile: LogMelProfile) -> LabelledSpectrograms:
    """Kept frames and labels of recordings, one clip each, as one data set."""
    counts = [each.facts.frame_count for each in sound]
    firsts = np.cumsum([0, *counts])
    frames = np.empty((firsts[-1], profile.band_count), np.uint8)
    labels = np.empty(firsts[-1], bool)
    clips = []
    for first, count, each in zip(firsts[:-1].tolist(), counts, sound, strict=True):
        frames[first : first + count] = kept_frames(kept_path(kept, each.source.audio_sha256, profile))
        labels[first : first + count] = each.labels(count, profile)
        facts = {"name": each.source.recording.name, "vocal": bool(labels[first : first + count].any())}
        clips.append(Clip(first, count, facts))
    return LabelledSpectrograms(profile, Quantisation.of_profile(profile), frames, labels, tuple(clips))
