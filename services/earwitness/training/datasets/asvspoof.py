"""ASVspoof 2017 as it is distributed, versions 1 and 2: a label for each file, from protocols, keys and meta files.

    ASVspoof2017_{train,dev,eval}/      protocol/ASVspoof2017_train.trn.txt, _dev.trl.txt, _eval_v2.trl.txt,
                                        _eval_v2_key.trl.txt                                     version 1
    ASVspoof2017_V2_{train,dev,eval}/   protocol_V2/ASVspoof2017_V2_{train.trn,dev.trl,eval.trl}.txt   version 2

The folders may be called and nested as one likes: protocols are told by their names, audio (WAV or FLAC) by that of the
trial. All lists of a split are read together, so keys and meta files may be apart. Corpora of one's own in this form
are read the same way.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from earwitness.detection.errors import listed
from earwitness.detection.keys import Trial, add_facts, read_trials
from earwitness.errors import InvalidArgument
from earwitness.features import AUDIO_SUFFIXES, Flaw, visible_files
from earwitness.training.corpus import DatasetError
from earwitness.training.datasets.inspection import sha256_of
from earwitness.training.datasets.problems import BrokenData, Problem, Severity, count, errors_of
from earwitness.training.replay.utterances import Utterance, UtteranceSplit

SpoofingKind = Literal["asvspoof2017"]
KIND: Final = "asvspoof2017"
UTTERANCE_SPLITS: tuple[UtteranceSplit, ...] = ("train", "dev", "eval")

_PROTOCOL = re.compile(r"asvspoof_?2017.*(?<![a-z])(train|dev|eval)(?![a-z]).*\.(trn|trl|txt)$", re.IGNORECASE)
_VERSION_2 = re.compile(r"2017_v2_", re.IGNORECASE)


@dataclass(frozen=True)
class Spoken:
    """A trial with its key and its audio."""

    trial: Trial
    audio: Path
    split: UtteranceSplit


@dataclass(frozen=True)
class SpoofingCorpus:
    """What was found below `root`: the trials that can be used, in the order of the protocols, and `problems`.

    `sources` says what the recordings are: of a corpus made here, what its manifest says.
    """

    root: Path
    version: int
    sources: Sequence[str]
    spoken: tuple[Spoken, ...]
    problems: tuple[Problem, ...]

    def trials(self, split: UtteranceSplit) -> list[Trial]:
        """The trials of a split, with environment and devices where the protocols tell them."""
        return [each.trial for each in self.spoken if each.split == split]

    def utterances(self, split: UtteranceSplit) -> list[Utterance]:
        """The same trials, as training takes them; an unknown speaker is `-`."""
        return [
            Utterance(each.trial.id, each.audio, bool(each.trial.genuine), each.trial.speaker or "-")
            for each in self.spoken
            if each.split == split
        ]

    @cached_property
    def digests(self) -> Sequence[str]:
        """SHA-256 (hex) of the content of each recording, in the order of `spoken`; reads every file once."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(sha256_of, [each.audio for each in self.spoken]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of splits, keys, speakers and the content of all audio."""
        body = [
            [each.split, each.trial.id, each.trial.genuine, each.trial.speaker, digest]
            for each, digest in zip(self.spoken, self.digests, strict=True)
        ]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()

    def relative(self, path: Path) -> str:
        """A file as problems name it."""
        return path.relative_to(self.root).as_posix()


def is_spoofing_corpus(path: Path, kind: str | None) -> bool:
    """Whether a folder is to be read as such: because `kind` says so, or says nothing and there are protocols."""
    return kind == KIND or (kind is None and bool(find_protocols(path)))


def find_protocols(root: Path) -> dict[UtteranceSplit, list[Path]]:
    """Protocols, keys and meta files below `root`, of each split that has any."""
    found: dict[UtteranceSplit, list[Path]] = {}
    for path in visible_files(root, lambda _: None):  # whoever reads the audio is told
        match = _PROTOCOL.search(path.name)
        if match is not None:
            split = next(split for split in UTTERANCE_SPLITS if split == match[1].lower())
            found.setdefault(split, []).append(path)
    return found


def read_spoofing_corpus(root: Path) -> SpoofingCorpus:
    """The trials below `root`; what is wrong with some of them is told in `problems`, and no audio is decoded.

    Raises: DatasetError when there are no protocols, or those of both versions, or a manifest.json of something else.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; give the folder of the audio and the protocols")
    protocols = find_protocols(root)
    if not protocols:
        message = f"{root}: no protocols of ASVspoof 2017, such as ASVspoof2017_V2_train.trn.txt"
        if (root / "manifest.json").is_file():
            message += "; it holds a corpus of another kind, `earwitness corpus replay` makes one of replayed speech"
        raise DatasetError(message)
    versions = {
        2 if _VERSION_2.search(path.name) else 1
        for split, paths in protocols.items()
        for path in paths
        if split != "eval"  # an evaluation key of version 1 has a V2 of its own in its name
    } or {1}
    if len(versions) > 1:
        raise DatasetError(f"{root}: holds both versions of ASVspoof 2017; give the folder of one")
    return _Reading(root, protocols).corpus(versions.pop())


def open_spoofing_corpus(root: Path) -> SpoofingCorpus:
    """The corpus for training.

    Raises: BrokenData naming everything that is missing or contradicts itself; DatasetError as `read_spoofing_corpus`.
    """
    corpus = read_spoofing_corpus(root)
    if errors_of(corpus.problems):
        raise BrokenData(root, corpus.problems)
    return corpus


class _Reading:
    """One pass over protocols and audio; findings go to `problems`."""

    def __init__(self, root: Path, protocols: dict[UtteranceSplit, list[Path]]) -> None:
        self._root = root
        self._protocols = protocols
        self._problems: list[Problem] = []
        self._audio: dict[str, list[Path]] = {}
        for path in visible_files(root, self._irregular):
            if path.suffix.lower() in AUDIO_SUFFIXES:
                self._audio.setdefault(path.stem, []).append(path)

    def corpus(self, version: int) -> SpoofingCorpus:
        spoken, known = list[Spoken](), Counter[str]()
        for split in UTTERANCE_SPLITS:
            if split not in self._protocols:
                self._add("error", "missing-list", "", f"{split}: its protocol is missing")
                continue
            trials = self._trials(split)
            known.update(trial.id for trial in trials)
            for trial in self._with_key(split, trials):
                audio = self._find(trial, split)
                if audio is not None:
                    spoken.append(Spoken(trial, audio, split))
        for stem in sorted(self._audio.keys() - known.keys()):
            for path in self._audio[stem]:
                self._add("warning", "unlisted", self._relative(path), "is in no protocol, left out")
        twice = sorted(name for name, times in known.items() if times > 1)
        if twice:
            message = f"{count(len(twice), 'trial')} in more than one split: {listed(twice)}"
            self._add("warning", "in-two-splits", "", message)
        sources = _sources(self._root, version)
        return SpoofingCorpus(self._root, version, sources, tuple(spoken), tuple(self._problems))

    def _trials(self, split: UtteranceSplit) -> list[Trial]:
        """Every trial of a split, with what all its lists tell."""
        trials: dict[str, Trial] = {}
        for path in self._protocols[split]:
            file = self._relative(path)
            try:
                read, unread = read_trials(path)
            except InvalidArgument as err:
                self._add("error", "protocol-unreadable", file, err.description)
                continue
            if unread:
                self._add("error", "protocol-line", file, f"{count(len(unread), 'line')}: {listed(unread)}")
            self._doubled_lines(file, read)
            first: dict[str, Trial] = {}
            for trial in read:
                first.setdefault(trial.id, trial)
            added, differ = add_facts(list(trials.values()), list(first.values()))
            if differ:
                self._add("error", "protocol-conflict", file, f"{count(len(differ), 'conflict')}: {listed(differ)}")
            trials |= first | {trial.id: trial for trial in added}
        return list(trials.values())

    def _doubled_lines(self, file: str, trials: Sequence[Trial]) -> None:
        """A trial that stands twice in a list: a mistake, or two keys for one file."""
        lines: dict[str, set[bool | None]] = {}
        for trial in trials:
            lines.setdefault(trial.id, set()).add(trial.genuine)
        times = Counter(trial.id for trial in trials)
        contrary = [name for name, keys in lines.items() if len(keys) > 1]
        twice = [name for name, number in times.items() if number > 1 and len(lines[name]) == 1]
        if contrary:
            self._add(
                "error",
                "protocol-conflict",
                file,
                f"{count(len(contrary), 'trial')} both genuine and spoof: {listed(contrary)}",
            )
        if twice:
            self._add("warning", "listed-twice", file, f"{count(len(twice), 'trial')} twice: {listed(twice)}")

    def _with_key(self, split: UtteranceSplit, trials: Sequence[Trial]) -> list[Trial]:
        keyed = [trial for trial in trials if trial.genuine is not None]
        without = [trial.file for trial in trials if trial.genuine is None]
        if without and not keyed:
            message = f"{split}: none of {count(len(without), 'trial')} has a key; put the key file beside the protocol"
            self._add("error", "missing-key", "", message)
        elif without:
            message = f"{split}: {count(len(without), 'trial')} without a key, left out: {listed(without)}"
            self._add("warning", "missing-key", "", message)
        return keyed

    def _find(self, trial: Trial, split: UtteranceSplit) -> Path | None:
        """The audio of a trial; of several files the one in a folder of its split."""
        paths = self._audio.get(trial.id, [])
        own = [path for path in paths if re.search(rf"(?<![a-z]){split}(?![a-z])", path.parent.name, re.IGNORECASE)]
        if not paths:
            self._add("error", "missing-audio", trial.file, f"is in the protocol of {split}, but not among the audio")
        elif len(paths) > 1 and len(own) != 1:
            names = ", ".join(map(self._relative, paths))
            self._add("error", "doubled-name", trial.file, f"is there more than once: {names}")
        else:
            return own[0] if len(paths) > 1 else paths[0]
        return None

    def _irregular(self, flaw: Flaw) -> None:
        self._add("error", "unreadable", self._relative(flaw.path), flaw.message)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _add(self, severity: Severity, code: str, file: str, message: str) -> None:
        self._problems.append(Problem(severity, code, file, message))


def _sources(root: Path, version: int) -> Sequence[str]:
    manifest = root / "manifest.json"
    if not manifest.is_file():
        return [f"ASVspoof 2017, version {version}"]
    try:
        return [str(source) for source in json.loads(manifest.read_text())["sources"]]
    except (ValueError, KeyError, TypeError) as err:
        raise DatasetError(
            f"{manifest} is no corpus manifest ({err!r}): it does not say the sources; mend it, or put it elsewhere"
        ) from err
