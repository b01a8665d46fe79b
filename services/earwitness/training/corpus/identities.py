"""Who sings and what plays, divided between the splits.

No singer, backing track or song occurs in two splits. An instrument of the SoundFont may: it plays other music there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.training.corpus.config import SPLITS, Split

T = TypeVar("T")

PARTITION_SEED = 2_019
"""Fixed apart from a corpus's own seed: corpora of different seeds stay disjoint across splits as well."""

SPLIT_SHARES: Mapping[Split, float] = {"train": 0.64, "valid": 0.16, "test": 0.20}

LANGUAGES = (
    "af", "an", "az", "ca", "cs", "cy", "da", "de", "en-029", "en", "en-GB-scotland", "en-US", "eo", "es", "es-419",
    "et", "eu", "fi", "fr-BE", "fr", "ga", "gd", "hr", "ht", "hu", "ia", "id", "io", "is", "it", "jbo", "la", "lfn",
    "lt", "lv", "mi", "ms", "mt", "nb", "nl", "om", "pap", "pl", "pt", "pt-BR", "ro", "sk", "sl", "sq", "sv", "sw",
    "tk", "tn", "tr", "uz", "vi",
)  # fmt: skip
"""espeak-ng languages that read Latin letters."""

UNVOICED_OR_EFFECT_VARIANTS = frozenset(
    {"announcer", "caleb", "klatt", "klatt2", "whisper", "whisperf", "Demonic", "UniRobot", "robosoft", "anikaRobot"}
)
"""Variants left out: whispers have no pitch to sing with, the others are echo and ring effects."""

LEADS: tuple[tuple[int, ...], ...] = (
    # General MIDI programs by family; none of the choir and voice presets (52-54, 85, 91).
    (40, 41, 110, 42, 48),  # violin, viola, fiddle, cello, string section
    (56, 59, 57, 60, 61),  # trumpet, muted trumpet, trombone, French horn, brass section
    (65, 66, 64, 67),  # saxophones
    (68, 71, 69, 70, 111),  # oboe, clarinet, English horn, bassoon, shanai
    (73, 75, 74, 72, 79, 78, 77),  # flute, pan flute, recorder, piccolo, ocarina, whistle, shakuhachi
    (29, 24, 27, 30, 25, 26),  # guitars
    (80, 81, 87, 82, 84, 86),  # synthesiser leads
    (22, 21, 109, 16, 18, 23),  # harmonica, accordion, bagpipe, organs, tango accordion
    (0, 11, 4, 12, 104, 5, 9),  # piano, vibraphone, electric pianos, marimba, sitar, glockenspiel
)
CHORD_INSTRUMENTS: tuple[tuple[int, ...], ...] = (
    (0, 1, 4, 5, 3, 2, 6, 7),
    (24, 25, 27, 26, 28),
    (29, 30, 28),
    (16, 18, 17, 19, 21),
    (48, 50, 49, 51, 44),
    (88, 89, 90, 92, 94, 95),
    (11, 46, 12, 45, 104, 105),
    (61, 62, 63),
)


def divide(items: Sequence[T], split: Split, salt: str) -> list[T]:
    """The share of `items` that belongs to `split`; the three shares are disjoint, in a shuffled order.

    Every split gets at least one item when there are three or more.
    """
    rng = np.random.default_rng([PARTITION_SEED, *salt.encode()])
    order = rng.permutation(len(items))
    spare = max(0, len(items) - len(SPLITS))
    valid = 1 + round(spare * SPLIT_SHARES["valid"])
    test = 1 + round(spare * SPLIT_SHARES["test"])
    cut = {"valid": order[:valid], "test": order[valid : valid + test], "train": order[valid + test :]}
    return [items[int(place)] for place in cut[split]]


def programs(families: Sequence[Sequence[int]], split: Split) -> list[int]:
    """MIDI programs of `split`: every family gives some to each split, so that they differ in instruments, not kind."""
    cut = {"valid": slice(-1, None), "test": slice(-2, -1), "train": slice(None, -2)}[split]
    return sorted({program for family in families for program in family[cut]})


def speakers(split: Split, count: int) -> list[str]:
    """`count` espeak-ng voices `language+variant`; no language and no variant occurs in two splits."""
    variants = divide(sorted(_variants()), split, "variants")
    languages = divide(LANGUAGES, split, "languages")
    pairs = [f"{language}+{variant}" for language in languages for variant in variants]
    if count > len(pairs):
        raise InvalidArgument(f"{split}_speakers", f"is {count}; espeak-ng gives this split {len(pairs)}")
    rng = np.random.default_rng([PARTITION_SEED, SPLITS.index(split)])
    return [pairs[int(place)] for place in rng.permutation(len(pairs))[:count]]


def _variants() -> set[str]:
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return {path.name for path in folder.iterdir() if " " not in path.name} - UNVOICED_OR_EFFECT_VARIANTS
