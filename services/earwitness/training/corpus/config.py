"""What a corpus is made of: sizes, shares, and the identities each split may use."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

from earwitness.errors import InvalidArgument
from earwitness.features import LogMelProfile, get_profile

RECIPE_VERSION = 2
"""Raised with every change that alters the audio or the labels; part of the fingerprint, so caches never go stale."""

KINDS_VERSION = 1
"""The same of what a corpus of sung voices alone does not have: other kinds of voice, imitations, beats. Apart from the
other, so that such a corpus keeps its fingerprint while these change."""

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

ENGINE_SHARES: Mapping[Split, Mapping[str, float]] = {
    # Of all singing 30 % hibari, 15 % sinsy, 55 % WORLD; sinsy is kept for the test so that it hears a new engine, and
    # hibari, which has a single speaker, for training.
    "train": {"hibari": 0.35, "world": 0.65},
    "valid": {"world": 1.0},
    "test": {"sinsy": 0.6, "world": 0.4},
}
"""Share of each singing engine among the vocal clips of a split."""

VOICE_KINDS = ("sung", "rapped", "spoken", "chopped", "layered")
IMITATING = "imitating"
"""The kind of clips where an instrument does what one of those voices does."""
KIND_SHARES = ("rapped_share", "spoken_share", "chopped_share", "layered_share", "imitation_share", "beat_share")


@dataclass(frozen=True)
class CorpusConfig:
    """A corpus: equal configurations give equal bytes, whatever the number of workers."""

    seed: int = 0
    train_clips: int = 9_000
    valid_clips: int = 450
    test_clips: int = 600
    clip_seconds: float = 6.0
    profile_name: str = "log-mel-80@1"
    vocal_share: float = 0.58
    """Share of clips that sing: rests leave about 47 % of all frames vocal."""
    lead_share: float = 0.5
    """Share of the other clips where an instrument plays what a voice would sing."""
    rapped_share: float = 0.0
    """Share of the vocal clips that rap: syllables on the grid of the beat, doubles, ad-libs."""
    spoken_share: float = 0.0
    """The same of those that speak, in a time of their own."""
    chopped_share: float = 0.0
    """The same of those that slice a sung take and play the slices again, as a sampler does."""
    layered_share: float = 0.0
    """The same of those of several takes at once: doubles, harmonies, choirs, tuned hard at times."""
    imitation_share: float = 0.0
    """Share of the lead instruments that do what those voices do."""
    beat_share: float = 0.0
    """Share of all clips, of either class, over a beat of hip hop in place of another backing."""
    train_speakers: int = 720
    valid_speakers: int = 50
    test_speakers: int = 70
    shard_clips: int = 25
    """Clips a worker renders before it saves them: what an interruption can cost."""

    def __post_init__(self) -> None:
        for name in ("vocal_share", "lead_share", *KIND_SHARES):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidArgument(name, f"is {getattr(self, name)}; give a share from 0 to 1")
        if self.voice_shares["sung"] < -1e-9:
            raise InvalidArgument(
                "shares",
                f"rapped, spoken, chopped and layered shares add up to {1 - self.voice_shares['sung']:.3g}; give at "
                "most 1 in all, the other clips with a voice are sung",
            )
        for split in SPLITS:
            for name in (f"{split}_clips", f"{split}_speakers"):
                if getattr(self, name) < 1:
                    raise InvalidArgument(name, f"is {getattr(self, name)}; give at least 1")
        if self.clip_seconds < self.profile.excerpt_seconds:
            raise InvalidArgument(
                "clip_seconds",
                f"is {self.clip_seconds}; one excerpt of {self.profile_name} takes "
                f"{self.profile.excerpt_seconds:.2f} s, give at least that",
            )

    @classmethod
    def with_kinds(cls) -> Self:
        """The recipe with rapped, spoken, chopped and layered voices, instruments that imitate them, and beats."""
        return cls(
            rapped_share=0.2, spoken_share=0.1, chopped_share=0.1, layered_share=0.15, imitation_share=0.5,
            beat_share=0.25,
        )  # fmt: skip

    @classmethod
    def small(cls, seed: int = 0) -> Self:
        """A handful of clips with every engine in it, for tests."""
        return cls(
            seed=seed, train_clips=6, valid_clips=2, test_clips=4, train_speakers=2, valid_speakers=1, test_speakers=1,
            shard_clips=2,
        )  # fmt: skip

    def scaled(self, clips: int) -> Self:
        """The same recipe with `clips` clips in all, the splits in the same proportion."""
        total = sum(self.clip_count(split) for split in SPLITS)
        valid, test = (max(1, round(clips * self.clip_count(split) / total)) for split in ("valid", "test"))
        return replace(self, train_clips=max(1, clips - valid - test), valid_clips=valid, test_clips=test)

    @cached_property
    def profile(self) -> LogMelProfile:
        profile = get_profile(self.profile_name)
        if not isinstance(profile, LogMelProfile):
            raise InvalidArgument("profile_name", f"is {self.profile_name!r}; the singing corpus is stored as log-mel")
        return profile

    @property
    def voice_shares(self) -> dict[str, float]:
        """Share of each of VOICE_KINDS among the vocal clips."""
        others = {kind: float(getattr(self, f"{kind}_share")) for kind in VOICE_KINDS[1:]}
        return {"sung": 1.0 - sum(others.values()), **others}

    @property
    def clip_samples(self) -> int:
        return round(self.clip_seconds * self.profile.sample_rate_hz)

    @property
    def clip_frames(self) -> int:
        return self.profile.frame_count(self.clip_samples)

    def clip_count(self, split: Split) -> int:
        return {"train": self.train_clips, "valid": self.valid_clips, "test": self.test_clips}[split]

    def speaker_count(self, split: Split) -> int:
        """How many speakers the WORLD engine has in this split."""
        return {"train": self.train_speakers, "valid": self.valid_speakers, "test": self.test_speakers}[split]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that decides the corpus: the recipe's versions, this value, the features."""
        config = self.to_dict()
        body = {"recipe_version": RECIPE_VERSION, "config": config, "features": self.profile.to_dict()}
        if any(config[name] for name in KIND_SHARES):
            body["kinds_version"] = KINDS_VERSION
        else:
            # Corpora of sung voices alone have the fingerprint that they had before there were other kinds.
            body["config"] = {name: value for name, value in config.items() if name not in KIND_SHARES}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
