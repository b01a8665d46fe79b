"""What a replay corpus is made of: how many speakers, rooms, devices and recordings each split has."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import ceil, sqrt
from typing import Any, Literal, Self

from earwitness.errors import InvalidArgument

RECIPE_VERSION = 2
"""Raised with every change that alters a sample or a name; part of the fingerprint, so caches never go stale."""

SAMPLE_RATE_HZ = 16_000

ReplaySplit = Literal["train", "dev", "eval"]
REPLAY_SPLITS: tuple[ReplaySplit, ...] = ("train", "dev", "eval")

PHRASE_COUNT = 10
"""Pass-phrases that every speaker of a full corpus says, the same in all splits, as in ASVspoof 2017."""


@dataclass(frozen=True)
class SplitSize:
    """One split: what each of its speakers says is recorded `genuine` times, and replayed `spoof` times.

    `borrowed_share` of the trials are recorded in the rooms and with the devices of the training split, the others in
    rooms and with devices that occur in this split alone.
    """

    speakers: int
    rooms: int
    microphones: int
    loudspeakers: int
    genuine: int = 2
    spoof: int = 2
    borrowed_share: float = 0.0

    def scaled(self, factor: float) -> Self:
        """Speakers by `factor`; rooms and devices by its square root, four of each at least."""
        devices = {
            name: max(4, round(getattr(self, name) * sqrt(factor))) for name in ("rooms", "microphones", "loudspeakers")
        }
        return replace(self, speakers=round(self.speakers * factor), **devices)


@dataclass(frozen=True)
class ReplayConfig:
    """A corpus: equal configurations give equal bytes, whatever the number of workers."""

    seed: int = 0
    phrases: int = PHRASE_COUNT
    train: SplitSize = field(default=SplitSize(speakers=60, rooms=24, microphones=24, loudspeakers=32))
    dev: SplitSize = field(
        default=SplitSize(speakers=25, rooms=12, microphones=12, loudspeakers=16, borrowed_share=0.5)
    )
    eval: SplitSize = field(default=SplitSize(speakers=40, rooms=40, microphones=32, loudspeakers=48, spoof=4))

    def __post_init__(self) -> None:
        if not 1 <= self.phrases <= PHRASE_COUNT:
            raise InvalidArgument("phrases", f"is {self.phrases}; give 1 to {PHRASE_COUNT}")
        for split in REPLAY_SPLITS:
            for name, value in asdict(self.size(split)).items():
                if name == "borrowed_share":
                    if not 0 <= value <= 1:
                        raise InvalidArgument(f"{split}.{name}", f"is {value}; give a share from 0 to 1")
                elif value < 1:
                    raise InvalidArgument(f"{split}.{name}", f"is {value}; give at least 1")
        if self.train.borrowed_share:
            raise InvalidArgument("train.borrowed_share", "must be 0: the others borrow from it")

    @classmethod
    def of_size(cls, size: str, seed: int = 0) -> Self:
        """By the name of its size: "small", "full", or about how many trials.

        Raises: InvalidArgument for any other word, and for too few trials.
        """
        if size == "small":
            return cls.small(seed)
        if size == "full":
            return cls(seed)
        if not size.isdecimal():
            raise InvalidArgument("size", f"is {size!r}; give small, full, or a number of trials")
        return cls(seed).scaled(int(size))

    @classmethod
    def small(cls, seed: int = 0) -> Self:
        """A few dozen trials with every kind of loudspeaker in each split, for tests."""
        return cls(
            seed=seed,
            phrases=2,
            train=SplitSize(speakers=2, rooms=3, microphones=4, loudspeakers=4),
            dev=SplitSize(speakers=2, rooms=2, microphones=2, loudspeakers=4, borrowed_share=0.5),
            eval=SplitSize(speakers=2, rooms=3, microphones=3, loudspeakers=4, spoof=4),
        )

    def scaled(self, trials: int) -> Self:
        """The same recipe with about `trials` trials: other numbers of speakers, rooms and devices, the same phrases.

        Raises: InvalidArgument when that leaves a split fewer than two speakers.
        """
        sizes = {split: self.size(split) for split in REPLAY_SPLITS}
        total = sum(map(self.trial_count, REPLAY_SPLITS))
        least = ceil(2 * total / min(size.speakers for size in sizes.values()))
        if trials < least:
            raise InvalidArgument(
                "size", f"{trials} trials are too few: give at least {least}, so that each split has two speakers"
            )
        scaled = {split: size.scaled(trials / total) for split, size in sizes.items()}
        return replace(self, train=scaled["train"], dev=scaled["dev"], eval=scaled["eval"])

    def size(self, split: ReplaySplit) -> SplitSize:
        return {"train": self.train, "dev": self.dev, "eval": self.eval}[split]

    def trial_count(self, split: ReplaySplit) -> int:
        size = self.size(split)
        return size.speakers * self.phrases * (size.genuine + size.spoof)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self, catalogue: Mapping[str, Any], recordings: str = "") -> str:
        """SHA-256 (hex) of everything that decides the corpus: recipe, this value, its rooms and devices, recordings.

        `recordings` is a digest of one's own, where they are what is said.
        """
        body = {"recipe_version": RECIPE_VERSION, "config": self.to_dict(), "catalogue": catalogue}
        if recordings:
            body["recordings"] = recordings
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
