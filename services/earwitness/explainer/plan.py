"""The plan that a search becomes once every field of it is known to be right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.explainer.objective import activations, unit_weights, words
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.recommended import recommended
from earwitness.explainer.ways import DEFAULTS, Resolved, resolve
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata, Layer
from earwitness.vocabulary.limits import MAX_SEED
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Search

PNG_BYTES_MAX = 130_000
"""No picture of the shipped models is larger: of noise, the worst there is, it takes nearly this."""
MESSAGE_OVERHEAD_BYTES = 512
"""Field tags, settings, and a WAV header of one explanation."""
DIRECTION_UNIT_BYTES = 10
"""Number and weight of one unit of a direction, which each explanation repeats."""
ITERATE_BYTES = 12
"""One iterate of a trajectory."""
AUDIO_TAIL_S = 0.25
"""A sound is longer than its frames by at most one analysis window."""


class Artefact(Enum):
    """What an explanation may hold besides latent, spectrogram and activations."""

    AUDIO = "audio"
    PICTURE = "picture"
    TRAJECTORY = "trajectory"


@dataclass(frozen=True)
class RowBytes:
    """What one explanation takes at most: without any artefact, and each of those asked for."""

    tensors: int
    artefacts: Mapping[Artefact, int]

    @property
    def most(self) -> int:
        """All together."""
        return self.tensors + sum(self.artefacts.values())


@dataclass(frozen=True)
class Limits:
    """The most a search may ask for."""

    max_rows: int
    max_steps: int
    max_draws: int


@dataclass(frozen=True)
class PlannedRow:
    """One row, nothing left out.

    `stops` are the steps, rising to the settings' own, at which the best iterate so far is kept: a run of Adam has
    those of fewer steps as its prefixes. Empty: only the last.
    """

    seed: int
    objective: Objective
    settings: Resolved
    stops: tuple[int, ...] = ()
    reference: str = ""
    target: float | None = None
    """The activation at which it stops; None where there is none, or as long as it is known as a quantile only."""

    def reached_by(self, activation: float) -> bool:
        """Whether an activation, as the model gives it, is at the target or beyond; False without a target."""
        if self.target is None:
            return False
        sign = self.objective.sign
        return bool(np.float32(sign * activation) >= np.float32(sign * self.target))


@dataclass(frozen=True, eq=False)
class Plan:
    """A search that can run: B rows on one bundle with latents of Z values and U units.

    `first_latents` [B, Z], `unit_weights` [B, U] (negated where a row minimises), `prior_weights` [B, 1] are float32;
    `steps` [B] integers.
    """

    bundle: BundleMetadata
    rows: tuple[PlannedRow, ...]
    first_latents: FloatArray
    unit_weights: FloatArray
    prior_weights: FloatArray
    steps: NDArray[np.int64]

    @property
    def step_count(self) -> int:
        """Steps of the row that has the most."""
        return int(self.steps.max())

    @property
    def targets(self) -> FloatArray:
        """The target of each row, turned so that all rows ascend: float32 [B], infinity where there is none."""
        return np.array(
            [np.inf if row.target is None else row.objective.sign * row.target for row in self.rows], np.float32
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that some objective names, in the bundle's order."""
        return self.layers_of(range(len(self.rows)))

    def layers_of(self, rows: Iterable[int]) -> tuple[Layer, ...]:
        """The layers that the objectives of some rows name, in the bundle's order."""
        named = {self.rows[row].objective.layer for row in rows}
        return tuple(layer for layer in self.bundle.layers if layer.name in named)

    def activations(self, rows: NDArray[np.intp], units: Mapping[str, FloatArray]) -> FloatArray:
        """What n latents activate by the objectives of `rows` [n], turned so that all rows ascend: float32 [n], from
        the activations [n, units] of the rows' layers."""
        found = np.empty(len(rows), np.float32)
        places: dict[Objective, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(self.rows[row].objective, []).append(place)
        for objective, mine in places.items():
            found[mine] = objective.sign * activations(objective, units[objective.layer][mine])
        return found

    def row_bytes(self, artefacts: frozenset[Artefact], frames_per_second: float) -> list[RowBytes]:
        """What the explanation of each row takes with `artefacts`, estimated from the shapes alone."""
        bands, frames = self.bundle.spectrogram_shape
        values = self.bundle.latent_size + bands * frames
        units = {layer.name: layer.unit_count for layer in self.layers}
        shared: dict[Artefact, int] = {}
        if Artefact.AUDIO in artefacts:
            seconds = frames / frames_per_second + AUDIO_TAIL_S
            shared[Artefact.AUDIO] = round(2 * seconds * self.bundle.sample_rate_hz)
        if Artefact.PICTURE in artefacts:
            shared[Artefact.PICTURE] = PNG_BYTES_MAX
        found = []
        for row, steps in zip(self.rows, self.steps.tolist(), strict=True):
            own = {Artefact.TRAJECTORY: ITERATE_BYTES * (steps + 1)} if Artefact.TRAJECTORY in artefacts else {}
            tensors = MESSAGE_OVERHEAD_BYTES + 4 * (values + units[row.objective.layer])
            if row.objective.direction is not None:
                tensors += DIRECTION_UNIT_BYTES * len(row.objective.direction)
            found.append(RowBytes(tensors, shared | own))
        return found


def check_limits(search: Search, limits: Limits) -> None:
    """Refuse what no model could do.

    Raises: InvalidArgument naming the field, what was got, and the limit.
    """
    if not 1 <= len(search.rows) <= limits.max_rows:
        raise InvalidArgument("search.rows", f"got {len(search.rows)} rows; a search has 1 to {limits.max_rows}")
    for index, row in enumerate(search.rows):
        field = f"search.rows[{index}]"
        if row.objective is None and search.objective is None:
            raise InvalidArgument(
                f"{field}.objective", "neither the row nor the search has an objective; give search.objective"
            )


def plan_search(search: Search, bundle: BundleMetadata, limits: Limits) -> Plan:
    """The plan of a search on `bundle`, once `check_limits` has passed it.

    Raises: InvalidArgument naming the part of an objective that the bundle does not have, or settings out of range.
    """
    shared = None if search.objective is None else unit_weights(search.objective, bundle, "search.objective")
    weights: list[FloatArray] = []
    rows: list[PlannedRow] = []
    for index, row in enumerate(search.rows):
        if row.objective is not None:
            weights.append(unit_weights(row.objective, bundle, f"search.rows[{index}].objective"))
        elif shared is not None:
            weights.append(shared)
        objective = row.objective or search.objective
        assert objective is not None  # check_limits saw to it
        reference = row.reference or search.reference or ""
        own = row.settings is not None
        given = row.settings if own else search.settings
        default = recommended(bundle, objective)
        if default is None and not bundle.has_gradient:
            default = DEFAULTS["draws"]
        settings = resolve(given, default, has_reference=bool(reference))
        field = f"search.rows[{index}].settings" if own else "search.settings"
        require_gradient(settings, bundle, f"{field}.optimiser")
        settings.check(field, limits.max_steps, limits.max_draws)
        if settings.target is not None and settings.target.quantile and not reference:
            raise InvalidArgument(
                f"{field}.target.quantile", "is of what a reference keeps; give search.reference, or an activation"
            )
        rows.append(PlannedRow(row.seed, objective, settings, reference=reference, target=settings.aim(row.seed)))
    _check_draws(search, rows)
    _check_kept(search, rows)
    return plan_rows(rows, weights, bundle)


def by_objective(rows: Sequence[PlannedRow]) -> dict[Objective, list[int]]:
    """The places of the rows of each objective."""
    found: dict[Objective, list[int]] = {}
    for index, row in enumerate(rows):
        found.setdefault(row.objective, []).append(index)
    return found


def drawn_rows(rows: Sequence[PlannedRow]) -> dict[tuple[Objective, int], list[int]]:
    """The places of the rows that are chosen among draws, by objective and number of draws."""
    found: dict[tuple[Objective, int], list[int]] = {}
    for index, row in enumerate(rows):
        if row.settings.optimiser == "draws":
            found.setdefault((row.objective, row.settings.draws), []).append(index)
    return found


def _check_draws(search: Search, rows: Sequence[PlannedRow]) -> None:
    """Raises: InvalidArgument for fewer draws than rows, or draws beyond the last seed."""
    groups = drawn_rows(rows)
    for (objective, draws), of in groups.items():
        if draws < len(of):
            field = f"search.rows[{of[0]}].settings" if search.rows[of[0]].settings is not None else "search.settings"
            raise InvalidArgument(
                f"{field}.draws", f"got {draws} for the {len(of)} rows of {words(objective)}; draw at least as many"
            )
    if groups:
        first = min((row for of in groups.values() for row in of), key=lambda row: rows[row].seed)
        most = max(draws for _, draws in groups)
        if rows[first].seed > MAX_SEED - (most - 1):
            raise InvalidArgument(
                f"search.rows[{first}].seed",
                f"got {rows[first].seed}, the first of {most} draws; the last is 2^63 - 1 at most",
            )


def _check_kept(search: Search, rows: Sequence[PlannedRow]) -> None:
    """Raises: InvalidArgument for different references of one objective, or rows to keep that there are not."""
    for field, got in {
        "search.keep_count": search.keep_count,
        "search.nearness.neighbour_count": search.nearness.neighbour_count,
    }.items():
        if got < 0:
            raise InvalidArgument(field, f"got {got}; it must be at least 1, or 0 for the default")
    if not 0 <= search.nearness.diversity <= 1:
        raise InvalidArgument("search.nearness.diversity", f"got {search.nearness.diversity:g}; it must be 0 to 1")
    for objective, of in by_objective(rows).items():
        first = rows[of[0]].reference
        for index in of:
            if rows[index].reference != first:
                raise InvalidArgument(
                    f"search.rows[{index}].reference",
                    f"is {rows[index].reference!r}, that of row {of[0]} is {first!r}: the rows of one objective have "
                    "one reference together",
                )
        if search.keep_count and not first:
            raise InvalidArgument(
                "search.keep_count",
                f"got {search.keep_count}, but {words(objective)} has no reference whose excerpts rows could be near "
                "to; give search.reference, of its top or bottom rows",
            )
        if search.keep_count > len(of):
            raise InvalidArgument(
                "search.keep_count",
                f"got {search.keep_count} of the {len(of)} rows of {words(objective)}; search more rows, or keep fewer",
            )


def require_gradient(settings: Resolved, bundle: BundleMetadata, field: str) -> None:
    """Raises: InvalidArgument where the way at `field` needs a gradient that the bundle does not have."""
    if settings.needs_gradient and not bundle.has_gradient:
        raise InvalidArgument(
            field,
            f"got {settings.optimiser}; models/{bundle.name} has no search graph and so no gradient: take "
            "OPTIMISER_WALK or OPTIMISER_DRAWS",
        )


def plan_rows(rows: Sequence[PlannedRow], weights: Sequence[FloatArray], bundle: BundleMetadata) -> Plan:
    """The plan of rows that are known to be right, with the unit weights [U] of each."""
    return Plan(
        bundle=bundle,
        rows=tuple(rows),
        first_latents=np.stack([first_latent(row.seed, bundle.latent_size) for row in rows]),
        unit_weights=np.stack(weights),
        prior_weights=np.array([[row.settings.prior_weight] for row in rows], np.float32),
        steps=np.array([row.settings.steps for row in rows], np.int64),
    )
