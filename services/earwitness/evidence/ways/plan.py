"""The ways that are set against each other, the two objectives that they search, and which recordings teach, which
judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.client.values import Model, Objective, Settings, Target
from earwitness.detection.tables import GENUINE_WORDS
from earwitness.errors import InvalidArgument

VOCAL = "vocal"
PUBLISHED = "published rule"
DRAWS = 4000
OVERSAMPLED = 3
MOST_ACTIVATING = 96 / 50
"""Of the draws, for each explanation that is kept: those that activate most, of which the nearest are kept."""
MAX_ROWS = 256
"""Of one search, by the explainer's default."""


@dataclass(frozen=True)
class Way:
    """A way to search: `row_count` rows, of which the nearest to real excerpts are kept."""

    name: str
    words: str
    settings: Settings
    row_count: int


def ways(keep_count: int, *, has_gradient: bool) -> tuple[Way, ...]:
    """All that a model can be explained by, each leaving `keep_count` explanations; without gradient two.

    Raises: InvalidArgument for more than fit into one search.
    """
    most = MAX_ROWS // OVERSAMPLED
    if not 2 <= keep_count <= most:
        raise InvalidArgument(
            "count", f"got {keep_count}; it must be 2 to {most}: ways search {OVERSAMPLED} times that"
        )
    towards = Target(0.0, 1.0, quantile=True)
    searched, activating = OVERSAMPLED * keep_count, round(MOST_ACTIVATING * keep_count)
    normalised = Settings("normalised", target=towards, start_draws=8)
    found = [
        Way(
            "prior sampling",
            f"{DRAWS} draws, the {activating} most activating, of these the {keep_count} nearest",
            Settings("draws", draws=DRAWS),
            activating,
        ),
        Way(
            "walk",
            f"{searched} walks to targets, the {keep_count} nearest",
            Settings("walk", target=towards),
            searched,
        ),
    ]
    if has_gradient:
        words = "from the best of 8 draws by normalised steps to targets"
        found[1:1] = [
            Way(
                "normalised steps, nearest", f"{searched} rows {words}, the {keep_count} nearest", normalised, searched
            ),
            Way("normalised steps", f"{keep_count} rows {words}", normalised, keep_count),
        ]
    return tuple(found)


def opposite_objectives(model: Model, unit: int) -> tuple[Objective, Objective]:
    """Two objectives of the output that should sound opposite: both units of two, maximised, else `unit` both ways.

    The first is that of which judges should hear more, where the model's words say so.

    Raises: InvalidArgument for a unit that is not there.
    """
    layer = model.unit_in(model.output_layer.name, unit)
    if layer.unit_count == 2:
        pair = (Objective(layer.name, unit), Objective(layer.name, 1 - unit))
    else:
        pair = (Objective(layer.name, unit), Objective(layer.name, unit, "minimise"))
    return pair if not heard_more(model, pair[1]) else (pair[1], pair[0])


def heard_more(model: Model, objective: Objective) -> bool:
    """Whether it means what judges listen for: a voice, or speech that is not replayed."""
    meaning = (model.meaning(objective) or "").lower()
    return meaning == VOCAL or meaning in GENUINE_WORDS


@dataclass(frozen=True)
class Split:
    """Recordings that references learn from, and others that explanations are compared with."""

    learned: tuple[Path, ...]
    judging: tuple[Path, ...]


def splits(recordings: Sequence[Path], count: int) -> tuple[Split, ...]:
    """`count` splits, in each of which two recordings of five judge; which ones goes round, so that all come to judge
    before one does again.

    Raises: InvalidArgument for recordings that are too few to be split, or for more splits than there are recordings.
    """
    if not count:
        return ()
    if len(recordings) < 2:
        raise InvalidArgument("splits", f"{len(recordings)} recording cannot be split; give two or more")
    if not 0 <= count <= len(recordings):
        raise InvalidArgument("splits", f"got {count}; there are {len(recordings)} recordings, and one split for each")
    size = max(1, round(0.4 * len(recordings)))
    found = []
    for index in range(count):
        judging = {(index * size + offset) % len(recordings) for offset in range(size)}
        found.append(
            Split(
                tuple(each for place, each in enumerate(recordings) if place not in judging),
                tuple(each for place, each in enumerate(recordings) if place in judging),
            )
        )
    return tuple(found)
