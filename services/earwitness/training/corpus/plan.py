"""What each clip of the corpus is, before any audio: planned from the seed alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earwitness.training.corpus import hibari, recordings, sinsy, soundfont
from earwitness.training.corpus.config import ENGINE_SHARES, IMITATING, SPLITS, CorpusConfig, Split
from earwitness.training.corpus.identities import speakers

GOLDEN_RATIO = (5**0.5 - 1) / 2
SILVER_RATIO = 2**0.5 - 1
"""Kinds of voice follow another irrational step than engines do, so that every engine comes in every kind."""
BACKING_SHARES = {"recording": 0.5, "band": 0.36, "percussion": 0.04, "solo": 0.06, "none": 0.04}
SPEAKING_KINDS = frozenset({"rapped", "spoken"})
"""Kinds of syllables too short for sinsy."""
COMPANY = 4
"""Other speakers that a layered or rapped clip may call in."""


@dataclass(frozen=True)
class ClipPlan:
    """What a clip is, before any audio: identities and a private seed.

    `kind` is one of VOICE_KINDS where there is a voice, IMITATING where an instrument does what such a voice does, and
    empty otherwise. `company` are further speakers of the same split.
    """

    split: Split
    index: int
    seed: tuple[int, int, int]
    vocal: bool
    engine: str
    speaker: str
    backing: str
    backing_id: str
    lead_program: int | None
    kind: str = ""
    company: tuple[str, ...] = ()

    def generator(self) -> np.random.Generator:
        """The clip's own stream of random numbers, independent of every other clip's."""
        root, *key = self.seed
        return np.random.default_rng(np.random.SeedSequence(root, spawn_key=key))

    @property
    def espeak_speakers(self) -> tuple[str, ...]:
        """The speakers whose analysis the WORLD engine needs for this clip."""
        return (self.speaker, *self.company) if self.engine == "world" else ()


def plan_clips(config: CorpusConfig, split: Split) -> list[ClipPlan]:
    """All clips of a split; shares are met evenly along the list, so that a small corpus has some of everything."""
    singers = speakers(split, config.speaker_count(split))
    tracks = [track.name for track in recordings.split_tracks(split)]
    plans = []
    vocal_so_far = 0
    for index in range(config.clip_count(split)):
        seed = (config.seed, SPLITS.index(split), index)
        rng, kinds_rng = (
            np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(*seed[1:], stream)))
            for stream in (0, 1)
        )
        vocal = int((index + 1) * config.vocal_share) > int(index * config.vocal_share)
        engine = _pick(ENGINE_SHARES[split], vocal_so_far * GOLDEN_RATIO % 1.0) if vocal else ""
        singer = {"world": str(rng.choice(singers)), "hibari": hibari.SPEAKER, "sinsy": sinsy.SPEAKER, "": ""}[engine]
        backing = _pick(BACKING_SHARES, rng.random())
        lead = not vocal and (backing == "none" or rng.random() < config.lead_share)
        backing_id = str(rng.choice(tracks)) if backing == "recording" else f"{split}-song-{config.seed}-{index}"
        lead_program = soundfont.draw_lead(split, rng) if lead else None
        # All that follows draws from a stream of its own: a corpus of sung voices alone stays what it was.
        kind = _pick(config.voice_shares, vocal_so_far * SILVER_RATIO % 1.0) if vocal else ""
        if lead and kinds_rng.random() < config.imitation_share:
            kind = IMITATING
        if kind in SPEAKING_KINDS and engine == "sinsy":
            engine, singer = "world", str(kinds_rng.choice(singers))
        if kinds_rng.random() < config.beat_share:
            backing, backing_id = "beat", str(kinds_rng.choice(tracks))
        company: tuple[str, ...] = ()
        if engine == "world" and kind in {"rapped", "layered"}:
            company = tuple(str(each) for each in kinds_rng.choice(singers, COMPANY))
        plans.append(
            ClipPlan(
                split=split, index=index, seed=seed, vocal=vocal, engine=engine, speaker=singer, backing=backing,
                backing_id=backing_id, lead_program=lead_program, kind=kind, company=company,
            )
        )  # fmt: skip
        vocal_so_far += vocal
    return plans


def _pick(shares: Mapping[str, float], place: float) -> str:
    """The key in whose share of [0, 1) `place` falls."""
    bounds = np.cumsum(list(shares.values()))
    return str(list(shares)[min(int(np.searchsorted(bounds, place, side="right")), len(shares) - 1)])
