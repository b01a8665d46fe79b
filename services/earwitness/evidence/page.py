"""The page of evidence: one file that holds its pictures and sounds."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.client.output.media import dark_picture, levelled
from earwitness.client.output.page import Card, gain_words, render
from earwitness.client.output.report import Examples, RealExcerpt
from earwitness.client.output.words import settings_line
from earwitness.client.values import Explanation
from earwitness.evidence.distances import NEAR
from earwitness.evidence.values import REAL, Evidence, ObjectiveEvidence


@dataclass(frozen=True)
class Column:
    """A column of sounds: explanations of one setting, or real excerpts."""

    name: str
    words: str
    cards: list[Card]


@dataclass(frozen=True)
class Section:
    """What the page shows of one objective."""

    evidence: ObjectiveEvidence
    tone: str
    grid_svg: str
    columns: list[Column]


def write_evidence_page(evidence: Evidence, path: Path, example_count: int) -> None:
    """Write the page, with `example_count` sounds of each setting and of real audio."""
    names = list(dict.fromkeys(each.gathered.model.name for each in evidence.objectives))
    render(
        "evidence.html.j2",
        path,
        {
            "title": f"Evidence: {', '.join(names)}",
            "evidence": evidence,
            "sections": [_section(each, index, example_count) for index, each in enumerate(evidence.objectives)],
            "judges": evidence.judges,
            "real": REAL,
            "near": NEAR,
        },
    )


def _section(evidence: ObjectiveEvidence, index: int, example_count: int) -> Section:
    from earwitness.client.output.grid import Grid, grid_svg

    gathered = evidence.gathered
    grid = Grid.of(sorted(gathered.outcomes, key=lambda each: each.ranked.rank if each.ranked else 0))
    columns = [_explained(index, each, example_count) for each in gathered.judged]
    columns.append(_real(index, gathered.excerpts[:example_count]))
    return Section(
        evidence=evidence,
        tone=gathered.objective.sense,
        grid_svg=grid_svg(grid, f"grid{_letters(index)}", gathered.title),
        columns=columns,
    )


def _explained(index: int, examples: Examples, count: int) -> Column:
    cards = [_card(f"{index}-{examples.name}", each) for each in examples.explanations[:count]]
    return Column(examples.name, settings_line(examples.outcome.settings), cards)


def _card(anchor: str, explanation: Explanation) -> Card:
    return Card(
        f"sound-{anchor}-{explanation.row_index}",
        f"the explanation of seed {explanation.seed}",
        explanation.activation,
        *_media(explanation.picture_png, explanation.audio_wav),
        (f"seed {explanation.seed}", *gain_words(explanation.audio_wav)),
    )


def _real(index: int, excerpts: Sequence[RealExcerpt]) -> Column:
    cards = [
        Card(
            f"sound-{index}-real-{place}",
            f"real excerpt {each.source}",
            each.activation,
            *_media(each.picture_png, each.audio_wav),
            (each.source, *gain_words(each.audio_wav)),
        )
        for place, each in enumerate(excerpts)
    ]
    return Column(REAL, "excerpts of recordings", cards)


def _media(picture_png: bytes | None, audio_wav: bytes | None) -> tuple[str | None, str | None, str | None]:
    """A picture, the same for a dark page, and a sound as the page shows them."""
    return (
        _embedded("image/png", picture_png),
        _embedded("image/png", picture_png and dark_picture(picture_png)),
        _embedded("audio/wav", audio_wav and levelled(audio_wav).wav),
    )


def _embedded(kind: str, content: bytes | None) -> str | None:
    return None if content is None else f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _letters(index: int) -> str:
    """A number in letters, for ids that may hold nothing else."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(index))
