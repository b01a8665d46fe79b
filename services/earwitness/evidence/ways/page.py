"""The page of ways: their tables, and sounds of each beside real audio's."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.client.output.media import levelled
from earwitness.client.output.page import render
from earwitness.evidence.ways.detectors import Sound
from earwitness.evidence.ways.values import Batch, WaysEvidence

if TYPE_CHECKING:
    from earwitness.evidence.ways.report import Table


@dataclass(frozen=True)
class Player:
    """One sound: what it is, and its WAV file as the page holds it."""

    words: str
    sound: str


@dataclass(frozen=True)
class Sounds:
    """Those of one way: what should be heard more, and less."""

    name: str
    words: str
    high: list[Player]
    low: list[Player]


def write_ways_page(evidence: WaysEvidence, tables: "list[Table]", path: Path, example_count: int) -> None:
    """Write the page, with `example_count` sounds of each objective of each way."""
    render(
        "ways.html.j2",
        path,
        {
            "title": f"Ways to search: {evidence.model.name}",
            "evidence": evidence,
            "tables": tables,
            "groups": [
                Sounds(each.name, each.words, _players(each.high, example_count), _players(each.low, example_count))
                for each in evidence.groups
            ],
        },
    )


def _players(batch: Batch, count: int) -> list[Player]:
    shown = zip(batch.labels[:count], batch.sounds[:count], strict=True)
    return [Player(label, _embedded(sound)) for label, sound in shown]


def _embedded(sound: Sound) -> str:
    import soundfile

    waveform, rate_hz = sound
    file = io.BytesIO()
    soundfile.write(file, waveform, rate_hz, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(levelled(file.getvalue()).wav).decode()}"
