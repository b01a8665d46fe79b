"""Checks recordings that have one label each, genuine or spoof: every finding by name, and a table of the splits."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from earwitness.detection.errors import listed
from earwitness.training.corpus.parallel import Progress, run_all, silent
from earwitness.training.datasets.asvspoof import KIND, UTTERANCE_SPLITS, Spoken, read_spoofing_corpus
from earwitness.training.datasets.inspection import AudioFacts, Inspection, InspectionTask, inspect, sha256_of
from earwitness.training.datasets.judgement import judge_audio
from earwitness.training.datasets.problems import Problem, count, errors_of
from earwitness.training.datasets.report import DataReport, UtteranceSummary
from earwitness.training.datasets.survey import recording_pool

SAMPLE_RATE_HZ = 16_000
SHORTEST_S = 0.1
"""No phrase is shorter."""


def check_utterances(
    path: Path, tolerance_s: float, workers: int = 1, progress: Progress = silent
) -> DataReport[UtteranceSummary]:
    """Decodes every recording once, and looks at the splits beside each other.

    `tolerance_s` is how much less than its header tells a recording may last.

    Raises: DatasetError as `read_spoofing_corpus`.
    """
    corpus = read_spoofing_corpus(path)
    audio = [each.audio for each in corpus.spoken]
    with recording_pool(workers) as pool:
        digests = run_all(pool, sha256_of, audio, "files", progress)
        inspections = run_all(pool, inspect, [InspectionTask(each) for each in audio], "recordings", progress)
    problems, sound = list(corpus.problems), list[tuple[Spoken, AudioFacts]]()
    for each, inspection in zip(corpus.spoken, inspections, strict=True):
        found = _judge(corpus.relative(each.audio), inspection, tolerance_s)
        if inspection.facts is not None and not errors_of(found):
            sound.append((each, inspection.facts))
        problems += found
    problems += [*same_audio(corpus.spoken, digests), *_judge_splits([each for each, _ in sound])]
    rates = Counter(each.facts.sample_rate_hz for each in inspections if each.facts is not None)
    splits: dict[str, UtteranceSummary] = {}
    for split in UTTERANCE_SPLITS:
        own = [(each.trial, facts) for each, facts in sound if each.split == split]
        genuine = sum(bool(trial.genuine) for trial, _ in own)
        hours = round(sum(facts.seconds for _, facts in own) / 3600, 4)
        speakers = {trial.speaker for trial, _ in own if trial.speaker is not None}
        splits[split] = UtteranceSummary(len(own), hours, genuine, len(own) - genuine, len(speakers))
    return DataReport(path, f"{KIND}, version {corpus.version}", splits, dict(rates.most_common()), tuple(problems))


def _judge(file: str, inspection: Inspection, tolerance_s: float) -> list[Problem]:
    """What is wrong with one recording."""
    found, facts = judge_audio(file, inspection, tolerance_s), inspection.facts
    if facts is None:
        return found
    if facts.seconds < SHORTEST_S:
        samples = count(round(facts.seconds * facts.sample_rate_hz), "sample")
        found.append(Problem("error", "too-short", file, f"lasts {samples}; no phrase is shorter than {SHORTEST_S} s"))
    if facts.channel_count > 1:
        message = f"{facts.channel_count} channels, their mean is used; the set is mono"
        found.append(Problem("warning", "channels", file, message))
    if facts.sample_rate_hz != SAMPLE_RATE_HZ:
        message = (
            f"{facts.sample_rate_hz} Hz, the set has {SAMPLE_RATE_HZ} Hz; it is resampled, and a detector may learn "
            "that instead of the replay"
        )
        found.append(Problem("warning", "sample-rate", file, message))
    return found


def same_audio(spoken: Sequence[Spoken], digests: Sequence[str]) -> list[Problem]:
    """The same content in more than one split, or twice in one: counted, the first told."""
    pairs = sorted(
        ((digest, each) for each, digest in zip(spoken, digests, strict=True) if digest),
        key=lambda pair: (pair[0], UTTERANCE_SPLITS.index(pair[1].split)),
    )
    across, within = list[str](), list[str]()
    for _, group in groupby(pairs, key=lambda pair: pair[0]):
        same = [each for _, each in group]
        if len(same) > 1:
            names = " = ".join(f"{each.trial.id} ({each.split})" for each in same)
            (across if len({each.split for each in same}) > 1 else within).append(names)
    found = []
    if across:
        message = f"{count(len(across), 'recording')} in more than one split, by content: {listed(across)}"
        found.append(Problem("warning", "in-two-splits", "", message))
    if within:
        message = f"{count(len(within), 'recording')} under several names in one split: {listed(within)}"
        found.append(Problem("warning", "same-audio", "", message))
    return found


def _judge_splits(spoken: Sequence[Spoken]) -> list[Problem]:
    """Splits without recordings or with one class, and speakers of more than one split."""
    found, places = list[Problem](), dict[str, list[str]]()
    for split in UTTERANCE_SPLITS:
        own = [each.trial for each in spoken if each.split == split]
        for speaker in sorted({trial.speaker for trial in own if trial.speaker is not None}):
            places.setdefault(speaker, []).append(split)
        classes = {bool(trial.genuine) for trial in own}
        if not own:
            found.append(Problem("error", "empty-split", "", f"{split}: no usable recording; three splits are needed"))
        elif len(classes) == 1:
            said = "genuine" if True in classes else "spoofs"
            message = f"{split}: all {len(own)} recordings are {said}; an equal error rate is not defined on them"
            found.append(Problem("error", "one-class", "", message))
    shared = [f"{speaker} ({', '.join(splits)})" for speaker, splits in sorted(places.items()) if len(splits) > 1]
    if shared:
        message = f"{count(len(shared), 'speaker')} in more than one split: {listed(shared)}"
        found.append(Problem("note", "shared-speakers", "", message))
    return found
