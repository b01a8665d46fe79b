"""An atlas as it is written, of any number of units, with figures as long as they get."""

from pathlib import Path

import numpy as np

from earwitness.atlas.media import medium_of
from earwitness.atlas.page import write_pages
from earwitness.atlas.values import Atlas, Request, SideReport, Sound, UnitKey, UnitReport
from earwitness.client.values import Layer, Sense, Settings
from tests.unit.client.runs import MODEL, WAV, WEIGHTS, score

LONG = "a-recording-with-a-very-long-name-without-any-blank-in-it-as-they-come-from-archives.flac"
MEDIA_COUNT = 6


def atlas(unit_count: int) -> Atlas:
    """Of units of two layers: the fourth is dead, the fifth a duplicate of the first; ten in a cluster; the scores
    fall, the selectivities rise."""
    layers = (Layer("conv5", "conv", unit_count, 0), Layer("fc9", "output", 2, unit_count))
    keys = [UnitKey("conv5", unit) for unit in range(unit_count)] + [UnitKey("fc9", unit) for unit in range(2)]

    def side(index: int, sense: Sense) -> SideReport:
        sounds = tuple(Sound(f"m{(index + at) % MEDIA_COUNT}", f"explanation {at + 1}", -12345.678) for at in range(3))
        excerpts = tuple(Sound(each.media, f"{LONG}, 1234.5 s", 0.000123) for each in sounds[:2])
        dead = index == 3
        return SideReport(
            sense=sense,
            meaning="vocal" if keys[index].layer == "fc9" else None,
            settings=Settings("draws", draws=4000),
            explanations=sounds,
            excerpts=excerpts,
            score=None if dead else score(1234.5678),
            relative=None if dead else float(len(keys) - index),
            origins=((LONG, 40), ("b.wav", 10)),
        )

    units = tuple(
        UnitReport(
            key=key,
            place=(index * 7) % len(keys) if len(keys) % 7 else index,
            cluster=0 if index == 3 else 1 + index // 10,
            selectivity=index / len(keys),
            lowest=-0.000123,
            highest=12345.6,
            dead=index == 3,
            silent_draws=False,
            duplicate_of=keys[0] if index == 4 else None,
            sides=(side(index, "maximise"), side(index, "minimise")),
        )
        for index, key in enumerate(keys)
    )
    return Atlas("svd-<r1>", WEIGHTS, 8000, layers, Request(), (LONG, "b.wav"), 1.6, 12345, units, "mp3")


def write_example(folder: Path, unit_count: int = 25) -> None:
    """The folder with sounds and pictures."""
    (folder / "media").mkdir(parents=True)
    for index in range(MEDIA_COUNT):
        made = medium_of(WAV, np.random.default_rng(index).standard_normal((80, 115)).astype(np.float32))
        (folder / f"media/m{index}.mp3").write_bytes(made.sound)
        (folder / f"media/m{index}.png").write_bytes(made.picture)
    write_pages(atlas(unit_count), MODEL, folder)
