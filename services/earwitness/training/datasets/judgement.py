"""What is wrong with decoded recordings: each by itself, beside its labels, and beside the others."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.features import LogMelProfile
from earwitness.training.corpus import SPLITS, Split
from earwitness.training.datasets.inspection import AudioFacts, Inspection
from earwitness.training.datasets.problems import Problem, count
from earwitness.training.datasets.survey import Source, Survey

SILENCE_PEAK = 1e-3
"""A recording that never exceeds this share of full scale (-60 dB) is silent."""

OF_SPLITS = frozenset({"one-class", "empty-split", "in-two-splits"})
"""Codes of what is wrong with the splits alone: it is no matter to who reads all recordings as one set."""


@dataclass(frozen=True)
class Sound:
    """A recording without errors."""

    source: Source
    facts: AudioFacts

    def labels(self, frame_count: int, profile: LogMelProfile) -> NDArray[np.bool_]:
        """Its frame labels `[frame_count]`: whether the middle of each frame is sung."""
        assert self.source.labelling is not None
        return self.source.labelling.frames(profile.frame_centres(frame_count) / profile.sample_rate_hz)


def judge_audio(file: str, inspection: Inspection, tolerance_s: float) -> list[Problem]:
    """What is wrong with a recording whatever it is for: it cannot be decoded, breaks off, holds NaN or nothing.

    `tolerance_s` is how much less than its header tells it may last and still be used, with a warning.
    """
    facts = inspection.facts
    if facts is None:
        return [Problem("error", "undecodable", file, inspection.failure)]
    found = list[Problem]()
    if facts.breaks_off:
        missing_s = np.inf if facts.promised_seconds is None else facts.promised_seconds - facts.seconds
        found.append(Problem("error" if missing_s > tolerance_s else "warning", "cut-off", file, facts.breaks_off))
    found += [Problem("warning", "odd-audio", file, each) for each in facts.remarks]
    if facts.non_finite_count:
        message = f"holds NaN or infinity in {count(facts.non_finite_count, 'sample')}"
        found.append(Problem("error", "not-finite", file, message))
    elif facts.peak < SILENCE_PEAK:
        message = f"is silent: its highest peak is {facts.peak:.1g} of full scale"
        found.append(Problem("error", "silent", file, message))
    return found


def judge_recording(source: Source, inspection: Inspection, surveyed: Survey) -> list[Problem]:
    """What is wrong with a recording's audio, and between it and its labels."""
    audio, label = surveyed.relative(source.recording.audio), surveyed.relative(source.recording.label)
    facts, labelling, profile = inspection.facts, source.labelling, surveyed.profile
    tolerance_s = surveyed.config.tolerance_s
    found = judge_audio(audio, inspection, tolerance_s)
    if facts is None:
        return found
    if facts.frame_count < profile.excerpt_frames:
        found.append(
            Problem(
                "error",
                "too-short",
                audio,
                f"lasts {facts.seconds:.2f} s; one excerpt takes {profile.excerpt_seconds:.2f} s",
            )
        )
    if labelling is not None:
        beyond_s = labelling.end_s - facts.seconds
        if beyond_s > tolerance_s or (labelling.complete and -beyond_s > tolerance_s):
            found.append(
                Problem(
                    "error",
                    "label-end",
                    label,
                    f"ends at {labelling.end_s:.1f} s, its audio at {facts.seconds:.1f} s (tolerance "
                    f"{tolerance_s:g} s): another recording's labels?",
                )
            )
    return found


def judge_rates(surveyed: Survey, inspections: Sequence[Inspection], rates: Counter[int]) -> list[Problem]:
    """Sample rates other than most recordings have, and those that leave bands empty."""
    if not rates:
        return []
    profile = surveyed.profile
    usual = rates.most_common(1)[0][0]
    found = []
    for source, inspection in zip(surveyed.sources, inspections, strict=True):
        if inspection.facts is None:
            continue
        rate = inspection.facts.sample_rate_hz
        file = surveyed.relative(source.recording.audio)
        if rate < 2 * profile.high_hz:
            message = f"{rate} Hz: holds nothing above {rate // 2} Hz, the bands reach {profile.high_hz:g} Hz"
            found.append(Problem("warning", "low-sample-rate", file, message))
        elif rate != usual:
            message = f"{rate} Hz, unlike most ({usual} Hz); it is resampled"
            found.append(Problem("note", "sample-rate", file, message))
    return found


def judge_splits(surveyed: Survey, sound: Sequence[Sound], segment_frames: int | None) -> list[Problem]:
    """Splits without recordings or with one class, and recordings that training cannot draw from."""
    profile, found = surveyed.profile, list[Problem]()
    classes: dict[Split, set[bool]] = {split: set() for split in SPLITS}
    files = Counter(each.source.recording.split for each in sound)
    margin = profile.excerpt_frames // 2
    for each in sound:
        # Only frames with a whole excerpt around them are ever looked at.
        central = each.labels(each.facts.frame_count, profile)[margin : each.facts.frame_count - margin]
        classes[each.source.recording.split] |= set(map(bool, np.unique(central)))
    seen = set[bool]().union(*classes.values())
    if len(seen) == 1:
        found.append(
            Problem("error", "one-class", "", f"all of the data are {class_name(seen)}: nothing can be learnt")
        )
    for split in SPLITS:
        if not files[split]:
            found.append(Problem("error", "empty-split", "", f"{split}: no usable recording; three splits are needed"))
        elif len(classes[split]) == 1 and len(seen) > 1:
            found.append(Problem("error", "one-class", "", f"{split}: all of it is {class_name(classes[split])}"))
        if files[split] == 1:
            message = f"{split}: a single recording; figures on it have no interval, and tell of this one only"
            found.append(Problem("warning", "few-files", "", message))
    if segment_frames is not None:
        needed_s = math.ceil(100 * profile.sample_count(segment_frames) / profile.sample_rate_hz) / 100
        found += [
            Problem(
                "warning",
                "short-for-training",
                surveyed.relative(each.source.recording.audio),
                f"lasts {each.facts.seconds:.2f} s; training by default takes {needed_s:.2f} s, never from here",
            )
            for each in sound
            if each.source.recording.split == "train" and each.facts.frame_count < segment_frames
        ]
    return found


def class_name(classes: set[bool]) -> str:
    return "vocal" if True in classes else "non-vocal"
