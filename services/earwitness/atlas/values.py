"""What an atlas is asked for, and what it holds: frozen values, no transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earwitness.client.aiming import ROWS
from earwitness.client.values import Layer, Optimiser, Score, Sense, Settings
from earwitness.errors import InvalidArgument

MAX_DRAWS = 100_000
"""What an explainer takes as well."""
FORMAT = 1
"""Of what is kept between runs: another number makes all of it anew."""


@dataclass(frozen=True, order=True)
class UnitKey:
    """A unit of a layer."""

    layer: str
    unit: int

    def __str__(self) -> str:
        return f"{self.layer}[{self.unit}]"

    @property
    def file_name(self) -> str:
        """What its page is called, without ending."""
        return f"{self.layer.replace('/', '_')}-{self.unit:04d}"


@dataclass(frozen=True)
class Request:
    """How an atlas is made: `count` explanations and `excerpt_count` real excerpts for each unit and sense.

    Of `count` × `oversampling` candidates those are kept that are nearest to the real excerpts. `way` None: what the
    model recommends for a unit, and draws for the others. Draws are the latents of the seeds from `seed` on.
    """

    count: int = 4
    excerpt_count: int = 4
    senses: tuple[Sense, ...] = ("maximise", "minimise")
    way: Optimiser | None = None
    draws: int = 4000
    oversampling: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: InvalidArgument for what cannot be made."""
        if not 2 <= self.count <= 64:
            raise InvalidArgument("count", f"got {self.count}; give 2 to 64: one alone has no spread to score")
        if not 1 <= self.excerpt_count <= 64:
            raise InvalidArgument("excerpts", f"got {self.excerpt_count}; give 1 to 64")
        if not 1 <= self.oversampling <= 16:
            raise InvalidArgument("oversample", f"got {self.oversampling}; give 1 to 16")
        least = self.count * self.oversampling
        if least > ROWS:
            raise InvalidArgument(
                "oversample", f"got {self.oversampling} × {self.count} explanations; {ROWS} rows at most"
            )
        if not least <= self.draws <= MAX_DRAWS:
            raise InvalidArgument(
                "draws", f"got {self.draws}; give {least} (count × oversample) to {MAX_DRAWS} latents to choose among"
            )


@dataclass(frozen=True)
class Sound:
    """What a card plays: `media` is the name of its files, `caption` where it is from."""

    media: str
    caption: str
    activation: float


@dataclass(frozen=True)
class SideReport:
    """A unit in one sense. `relative` is the score's distance over the unit's variance among all real excerpts, by
    which units can be compared; None where the unit never varies there, `score` too.

    `origins` says from which recordings the real excerpts that do most come, and how many from each.
    """

    sense: Sense
    meaning: str | None
    settings: Settings
    explanations: tuple[Sound, ...]
    excerpts: tuple[Sound, ...]
    score: Score | None
    relative: float | None
    origins: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class UnitReport:
    """A unit: `dead` on the recordings, `duplicate_of` an earlier one, in `cluster` (0: none), at `place` among all
    in the order of likeness; its `selectivity` is 0 (alike for all excerpts) to 1 (for one alone)."""

    key: UnitKey
    place: int
    cluster: int
    selectivity: float
    lowest: float
    highest: float
    dead: bool
    silent_draws: bool
    """Whether it did not vary over the draws from the prior either."""
    duplicate_of: UnitKey | None
    sides: tuple[SideReport, ...]


@dataclass(frozen=True)
class Atlas:
    """All of it, in the order of the units."""

    model: str
    weights_sha256: str
    sample_rate_hz: int
    layers: tuple[Layer, ...]
    request: Request
    recordings: tuple[str, ...]
    excerpt_seconds: float
    excerpt_count: int
    units: tuple[UnitReport, ...]
    sound_suffix: str


def chosen_units(layers: Sequence[Layer], names: Sequence[str], ranges: Sequence[range]) -> tuple[UnitKey, ...]:
    """The units of the layers `names` within `ranges` (none: all), in the model's order, each once.

    Raises: InvalidArgument naming the layers, or the highest unit, there is.
    """
    held: Mapping[str, Layer] = {layer.name: layer for layer in layers}
    for name in names:
        if name not in held:
            raise InvalidArgument("layer", f"got {name!r}; there are {', '.join(held)}, and 'all' for all of them")
        for each in ranges:
            if each.stop > held[name].unit_count:
                raise InvalidArgument("unit", f"got {each.stop - 1}; layer {name} has 0 to {held[name].unit_count - 1}")
    return tuple(
        UnitKey(layer.name, unit)
        for layer in layers
        if layer.name in names
        for unit in range(layer.unit_count)
        if not ranges or any(unit in each for each in ranges)
    )
