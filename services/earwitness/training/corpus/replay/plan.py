"""What is recorded: the rooms and devices of each split, and its trials, drawn from the seed before any audio."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.random import Generator

from earwitness.training.corpus.replay.codecs import CODECS
from earwitness.training.corpus.replay.config import REPLAY_SPLITS, ReplayConfig, ReplaySplit
from earwitness.training.corpus.replay.devices import Loudspeaker, Microphone
from earwitness.training.corpus.replay.rooms import Room
from earwitness.training.corpus.replay.talkers import Talker

T = TypeVar("T")
Range = tuple[float, float]

_USUAL = {"phone": 0.30, "laptop": 0.25, "portable": 0.25, "hifi": 0.20}
LOUDSPEAKER_SHARES: Mapping[ReplaySplit, Mapping[str, float]] = {
    # As in ASVspoof 2017, the evaluation meets more attackers with good equipment.
    "train": _USUAL,
    "dev": _USUAL,
    "eval": {"phone": 0.15, "laptop": 0.20, "portable": 0.30, "hifi": 0.35},
}
MICROPHONE_SHARES = {"phone": 0.4, "laptop": 0.25, "headset": 0.2, "studio": 0.15}
ROOM_SHARES = {"home": 0.35, "office": 0.3, "meeting": 0.2, "booth": 0.15}
CODEC_SHARES: Mapping[ReplaySplit, Mapping[str, float]] = {
    # "" is no codec. Each split adds one that the others before it lack.
    "train": {"": 0.6, "mp3": 0.2, "opus": 0.15, "g711": 0.05},
    "dev": {"": 0.6, "mp3": 0.13, "opus": 0.12, "g711": 0.05, "g721": 0.1},
    "eval": {"": 0.6, "mp3": 0.08, "opus": 0.08, "g711": 0.03, "g721": 0.03, "vorbis": 0.13, "gsm": 0.05},
}
FILE_PREFIXES: Mapping[ReplaySplit, str] = {"train": "T", "dev": "D", "eval": "E"}

STEALING: Mapping[ReplaySplit, tuple[Range, Range]] = {
    # Attackers of the evaluation also get closer, and record with less noise.
    "train": ((0.15, 1.0), (25.0, 45.0)),
    "dev": ((0.15, 1.0), (25.0, 45.0)),
    "eval": ((0.08, 0.6), (30.0, 50.0)),
}
"""How far from the talker an attacker records, in metres, and the noise below it, in decibels."""
TALKING_M = (0.08, 0.5)
PLAYING_M = (0.08, 0.6)
SNR_DB = (25.0, 45.0)
LEVEL_DB = (-36.0, -22.0)
SILENCE_S = (0.1, 0.5)
"""Before and after the speech."""


@dataclass(frozen=True)
class Pool:
    """Rooms and devices that one split alone has."""

    rooms: tuple[Room, ...]
    microphones: tuple[Microphone, ...]
    loudspeakers: tuple[Loudspeaker, ...]


@dataclass(frozen=True)
class Catalogue:
    """Every room and device of a corpus, by split and by name."""

    pools: Mapping[ReplaySplit, Pool]

    @classmethod
    def draw(cls, config: ReplayConfig) -> Self:
        """Those of `config.seed`: another seed has other rooms and devices."""
        return cls({split: _pool(config, split) for split in REPLAY_SPLITS})

    @cached_property
    def rooms(self) -> Mapping[str, Room]:
        return {each.name: each for pool in self.pools.values() for each in pool.rooms}

    @cached_property
    def microphones(self) -> Mapping[str, Microphone]:
        return {each.name: each for pool in self.pools.values() for each in pool.microphones}

    @cached_property
    def loudspeakers(self) -> Mapping[str, Loudspeaker]:
        return {each.name: each for pool in self.pools.values() for each in pool.loudspeakers}

    def to_dict(self) -> dict[str, Any]:
        return {
            "splits": {split: asdict(pool) for split, pool in self.pools.items()},
            "codecs": {name: asdict(codec) for name, codec in CODECS.items()},
        }


@dataclass(frozen=True)
class Capture:
    """A recording: room, microphone, how far the sound comes, and how far the noise lies below it."""

    room: str
    microphone: str
    distance_m: float
    snr_db: float


@dataclass(frozen=True)
class Attack:
    """What comes first in a replayed trial: the attacker's recording, its codec ("" for none), a loudspeaker."""

    capture: Capture
    codec: str
    loudspeaker: str


@dataclass(frozen=True)
class Trial:
    """One file: who says what, how it reaches the verifier's microphone, and how the file is cut and levelled."""

    file: str
    speaker: str
    phrase: int
    capture: Capture
    attack: Attack | None
    level_db: float
    before_s: float
    after_s: float
    seed: tuple[int, int, int]

    def generator(self) -> Generator:
        """The trial's own stream of random numbers: positions in the rooms, and noise."""
        return _generator(*self.seed)

    @property
    def line(self) -> str:
        """Its line of the protocol: FILE KEY SPEAKER PHRASE ENVIRONMENT PLAYBACK RECORDING."""
        if self.attack is None:
            key, configuration = "genuine", ("-", "-", "-")
        else:
            key, configuration = "spoof", (self.capture.room, self.attack.loudspeaker, self.capture.microphone)
        return " ".join((self.file, key, self.speaker, f"S{self.phrase + 1:02d}", *configuration))


def plan_trials(
    config: ReplayConfig, catalogue: Catalogue, split: ReplaySplit, talkers: Sequence[Talker]
) -> list[Trial]:
    """All trials of a split, classes mixed; rooms and devices occur equally often within each class."""
    size, place = config.size(split), REPLAY_SPLITS.index(split)
    rng = _generator(config.seed, place, 0)
    said = [(talker.name, phrase) for talker in talkers for phrase in range(talker.phrases)]
    own, borrowed = catalogue.pools[split], catalogue.pools["train"]
    drafts: list[tuple[str, int, Capture, Attack | None]] = []
    for spoof, times in ((False, size.genuine), (True, size.spoof)):
        jobs = _shuffled(said * times, rng)
        cut = round(size.borrowed_share * len(jobs))
        for pool, part in ((borrowed, jobs[:cut]), (own, jobs[cut:])):
            captures = _captures(pool, len(part), PLAYING_M if spoof else TALKING_M, SNR_DB, rng)
            attacks = _attacks(pool, len(part), split, rng) if spoof else [None] * len(part)
            drafts += [(*job, *way) for job, way in zip(part, zip(captures, attacks, strict=True), strict=True)]
    return [
        Trial(
            f"{FILE_PREFIXES[split]}_{1_000_001 + number}.flac", *draft, rng.uniform(*LEVEL_DB),
            rng.uniform(*SILENCE_S), rng.uniform(*SILENCE_S), (config.seed, place, 1 + number),
        )
        for number, draft in enumerate(_shuffled(drafts, rng))
    ]  # fmt: skip


def _pool(config: ReplayConfig, split: ReplaySplit) -> Pool:
    place, size = REPLAY_SPLITS.index(split), config.size(split)
    before = [config.size(each) for each in REPLAY_SPLITS[:place]]

    def named(letter: str, shares: Mapping[str, float], count: int, first: int) -> list[tuple[str, str, Generator]]:
        """Name, kind and source of randomness of each, numbered on from `first`."""
        return [
            (f"{letter}{first + number:02d}-{kind}", kind, _generator(config.seed, place, ord(letter), number))
            for number, kind in enumerate(_spread(shares, count))
        ]

    rooms = named("E", ROOM_SHARES, size.rooms, 1 + sum(each.rooms for each in before))
    microphones = named("R", MICROPHONE_SHARES, size.microphones, 1 + sum(each.microphones for each in before))
    loudspeakers = named(
        "P", LOUDSPEAKER_SHARES[split], size.loudspeakers, 1 + sum(each.loudspeakers for each in before)
    )
    return Pool(
        tuple(Room.draw(*each) for each in rooms),
        tuple(Microphone.draw(*each) for each in microphones),
        tuple(Loudspeaker.draw(*each) for each in loudspeakers),
    )


def _captures(pool: Pool, count: int, distance_m: Range, snr_db: Range, rng: Generator) -> list[Capture]:
    return [
        Capture(room.name, microphone.name, rng.uniform(*distance_m), rng.uniform(*snr_db))
        for room, microphone in zip(_deal(pool.rooms, count, rng), _deal(pool.microphones, count, rng), strict=True)
    ]


def _attacks(pool: Pool, count: int, split: ReplaySplit, rng: Generator) -> list[Attack]:
    captures = _captures(pool, count, *STEALING[split], rng)
    codecs = _shuffled(_spread(CODEC_SHARES[split], count), rng)
    loudspeakers = _deal(pool.loudspeakers, count, rng)
    return [
        Attack(capture, codec, loudspeaker.name)
        for capture, codec, loudspeaker in zip(captures, codecs, loudspeakers, strict=True)
    ]


def _deal(items: Sequence[T], count: int, rng: Generator) -> list[T]:
    """`count` of the items, each as often as the others or once more, in random order."""
    rounds = [_shuffled(items, rng) for _ in range(-(-count // len(items)))]
    return [item for each in rounds for item in each][:count]


def _shuffled(items: Sequence[T], rng: Generator) -> list[T]:
    return [items[int(place)] for place in rng.permutation(len(items))]


def _spread(shares: Mapping[str, float], count: int) -> list[str]:
    """`count` keys; after each of them every key has had its share as nearly as can be."""
    given = dict.fromkeys(shares, 0)
    order = []
    for number in range(1, count + 1):
        due = max(shares, key=lambda key: shares[key] * number - given[key])
        given[due] += 1
        order.append(due)
    return order


def _generator(seed: int, *key: int) -> Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
