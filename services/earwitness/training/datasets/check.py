"""Checks data before hours are spent on them: every finding by name, and a table of the splits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from earwitness.features import FeatureProfile, LogMelProfile
from earwitness.training.corpus import SPLITS, open_corpus
from earwitness.training.corpus.parallel import Progress, run_all, silent
from earwitness.training.datasets.asvspoof import is_spoofing_corpus
from earwitness.training.datasets.inspection import InspectionTask, inspect, kept_path
from earwitness.training.datasets.judgement import Sound, class_name, judge_rates, judge_recording, judge_splits
from earwitness.training.datasets.problems import Problem, errors_of
from earwitness.training.datasets.report import DataReport, SplitSummary, UtteranceSummary
from earwitness.training.datasets.survey import DataConfig, Survey, recording_pool, survey
from earwitness.training.datasets.utterances import check_utterances


def check_data(
    path: Path,
    profile: FeatureProfile,
    config: DataConfig,
    workers: int = 1,
    progress: Progress = silent,
    segment_frames: int | None = None,
) -> DataReport[SplitSummary] | DataReport[UtteranceSummary]:
    """Checks recordings with labels, be it of their frames or of the whole, or a corpus that is built already.

    `segment_frames` is what training draws at once: shorter recordings of its split are warned of.

    Raises: DatasetError when `path` is no folder.
    """
    if is_spoofing_corpus(path, config.kind):
        return check_utterances(path, config.tolerance_s, workers, progress)
    if (path / "manifest.json").is_file():
        return _check_corpus(path)
    surveyed = survey(path, profile, config, workers, progress)
    report, _ = listen(surveyed, None, workers, progress, segment_frames)
    return report


def listen(
    surveyed: Survey, kept: Path | None, workers: int, progress: Progress, segment_frames: int | None = None
) -> tuple[DataReport[SplitSummary], list[Sound]]:
    """Decodes every recording once: the report, and what is sound. With `kept` the frames are saved there.

    `segment_frames` is as in `check_data`.
    """
    profile = surveyed.profile
    tasks = [
        InspectionTask(source.recording.audio, profile, kept and kept_path(kept, source.audio_sha256, profile))
        for source in surveyed.sources
    ]
    with recording_pool(workers) as pool:
        inspections = run_all(pool, inspect, tasks, "recordings", progress)
    problems, sound = list(surveyed.problems), list[Sound]()
    for source, inspection in zip(surveyed.sources, inspections, strict=True):
        found = judge_recording(source, inspection, surveyed)
        if inspection.facts is not None and source.labelling is not None and not errors_of(found):
            sound.append(Sound(source, inspection.facts))
        problems += found
    rates = Counter(each.facts.sample_rate_hz for each in inspections if each.facts is not None)
    problems += judge_rates(surveyed, inspections, rates)
    problems += judge_splits(surveyed, sound, segment_frames)
    splits: dict[str, SplitSummary] = {
        split: _summary([each for each in sound if each.source.recording.split == split], profile) for split in SPLITS
    }
    return DataReport(surveyed.root, surveyed.kind, splits, dict(rates.most_common()), tuple(problems)), sound


def _summary(sound: Sequence[Sound], profile: LogMelProfile) -> SplitSummary:
    frames = sum(each.facts.frame_count for each in sound)
    vocal = sum(int(each.labels(each.facts.frame_count, profile).sum()) for each in sound)
    hours = sum(each.facts.seconds for each in sound) / 3600
    return SplitSummary(len(sound), round(hours, 4), round(vocal / frames, 4) if frames else float("nan"))


def _check_corpus(path: Path) -> DataReport[SplitSummary]:
    """A built corpus: are its splits there, long enough and of both classes?"""
    corpus = open_corpus(path)
    splits, problems = dict[str, SplitSummary](), list[Problem]()
    for split in SPLITS:
        data = corpus.open(split)
        fraction = round(data.label_share, 4)
        splits[split] = SplitSummary(
            len(data.clips), round(len(data.frames) / data.profile.frames_per_second / 3600, 4), fraction
        )
        if data.labels.all() or not data.labels.any():
            problems.append(
                Problem("error", "one-class", "", f"{split}: all of it is {class_name({bool(data.labels[0])})}")
            )
        _, length = data.profile.excerpt_shape
        short = sum(clip.frame_count < length for clip in data.clips)
        if short:
            problems.append(Problem("error", "too-short", "", f"{split}: {short} clips are shorter than one excerpt"))
    return DataReport(path, "corpus", splits, {}, tuple(problems))
