"""What a search takes from real audio, by way of the scorer: targets in quantiles, and which rows come back."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.explainer.diversity import keep_diverse, scaled
from earwitness.explainer.errors import NoScorer, ScorerUnavailable
from earwitness.explainer.nearest import mean_places, nearest
from earwitness.explainer.plan import Plan, PlannedRow, by_objective
from earwitness.explainer.reference import Reference, Source
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.search import Budget
from earwitness.explainer.ways import aimed_activation
from earwitness.inference.backend import FloatArray
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.reference import KeptLayer
from earwitness.vocabulary.search import Nearness, Search

PATIENCE_S = 20.0
"""For a scorer that gives no answer once the search is over: it may be restarting."""
PAUSE_S = 0.5
MEMORY = 0.5
"""Weight of the past in the expected seconds of a measurement."""
DEFAULT_NEIGHBOURS = 5
"""Of a nearness that names none, as scorer.proto says."""


@dataclass(frozen=True, eq=False)
class Kept:
    """The rows of a search that come back, in their order, and the mean place of each by nearness."""

    rows: tuple[int, ...]
    places: tuple[float, ...]


class RealAudio:
    """References of one scorer; None where the explainer knows none."""

    def __init__(self, scorer: ScorerClient | None) -> None:
        self._scorer = scorer
        self._measuring_s = 0.1

    @property
    def expected_s(self) -> float:
        """Seconds that choosing rows is expected to take, going by those before."""
        return self._measuring_s

    async def find(self, search: Search, plan: Plan) -> Mapping[Objective, Reference]:
        """The references of the plan's objectives that have one, each with the version that is used throughout.

        Raises: InvalidArgument, ReferenceUnusable naming the field of the search; ScorerUnavailable.
        """
        found: dict[Objective, Reference] = {}
        for objective, rows in by_objective(plan.rows).items():
            first = plan.rows[rows[0]]
            if not first.reference:
                continue
            own = search.rows[rows[0]].reference
            field = f"search.rows[{rows[0]}].reference" if own else "search.reference"
            if self._scorer is None:
                raise InvalidArgument(field, f"is {first.reference!r}, but {NoScorer()}")
            reference = await self._scorer.find(first.reference, field)
            bundle = plan.bundle
            reference.require(Source(bundle.name, bundle.weights_sha256, objective.layer), objective, field)
            if any(_by_quantile(plan.rows[row]) for row in rows):
                reference.require_rows(field, "a target in quantiles")
            if search.keep_count:
                reference.require_rows(field, "keep_count")
                reference.require_model(bundle, field)
                check_nearness(reference, search.nearness, "search.nearness")
                check_width(reference, len(rows), field)
            found[objective] = reference
        return found

    async def aim(self, plan: Plan, references: Mapping[Objective, Reference]) -> Plan:
        """The plan, each row's target in quantiles resolved to an activation.

        Raises: NotFound for a reference that is gone; ReferenceUnusable, ScorerUnavailable.
        """
        rows = list(plan.rows)
        for index, row in enumerate(rows):
            if _by_quantile(row) and self._scorer is not None:
                reference = references[row.objective]
                real = await self._scorer.distribution(reference, row.objective)
                assert row.settings.target is not None
                rows[index] = replace(row, target=aimed_activation(row.settings.target, row.seed, real))
        return replace(plan, rows=tuple(rows))

    async def nearest(
        self,
        plan: Plan,
        references: Mapping[Objective, Reference],
        activations: Mapping[str, FloatArray],
        search: Search,
        budget: Budget,
    ) -> Kept:
        """Of each objective's rows the `keep_count` nearest; `activations` [B, units] are of every layer that some
        reference keeps. A scorer that gives no answer is asked again for a while, as the search is done by now.

        Raises: NotFound for a reference that is gone; ReferenceUnusable; ScorerUnavailable; TimeoutError.
        """
        assert self._scorer is not None  # `find` saw to it
        groups = by_objective(plan.rows)
        places = np.zeros(len(plan.rows))
        kept: list[int] = []
        begun = time.monotonic()
        for objective, rows in groups.items():
            reference = references[objective]
            columns = columns_of(reference, activations, rows)
            distances = await self._patiently(reference, columns, search.nearness, len(plan.rows), budget)
            places[rows] = mean_places(distances)
            kept += [rows[each] for each in kept_among(columns, reference.layers, places[rows], search)]
        self._measuring_s = MEMORY * self._measuring_s + (1 - MEMORY) * (time.monotonic() - begun)
        kept.sort()
        return Kept(tuple(kept), tuple(places[kept].tolist()))

    async def _patiently(
        self, reference: Reference, columns: FloatArray, how: Nearness, searched: int, budget: Budget
    ) -> NDArray[np.float64]:
        assert self._scorer is not None
        end_s = min(time.monotonic() + PATIENCE_S, budget.end_s)
        while True:
            try:
                async with asyncio.timeout(budget.left_s()):
                    return await self._scorer.nearness(reference, columns, how.layers, how.neighbour_count)
            except ScorerUnavailable as err:
                if time.monotonic() + PAUSE_S > end_s:
                    raise ScorerUnavailable(
                        f"{err.message}; the {searched} rows were searched and none could be chosen: the same search "
                        "finds the same rows, without keep_count all of them come back"
                    ) from err
                await asyncio.sleep(PAUSE_S)


def kept_among(
    columns: FloatArray, layers: Sequence[KeptLayer], places: NDArray[np.float64], search: Search
) -> list[int]:
    """Of the rows of one objective, [n, width] over `layers` and with their `places` [n], those that come back."""
    if not search.nearness.diversity:
        return nearest(places, search.keep_count)
    alike = scaled(columns, [each.unit_count for each in layers])
    diversity = float(np.float32(search.nearness.diversity))  # as it is sent
    return [int(row) for row in keep_diverse(alike, places, search.keep_count, diversity)]


def columns_of(reference: Reference, activations: Mapping[str, FloatArray], rows: Sequence[int]) -> FloatArray:
    """What a reference's rows would hold of some rows [n, width], from the activations [B, units] by layer."""
    return np.concatenate([activations[each.name][list(rows)] for each in reference.layers], axis=1)


def check_nearness(reference: Reference, how: Nearness, field: str) -> None:
    """Raises: InvalidArgument for layers that the reference does not keep, or more neighbours than it has rows."""
    reference.require_layers(how.layers, f"{field}.layers")
    reference.require_neighbours(how.neighbour_count, f"{field}.neighbour_count")


def check_width(reference: Reference, rows: int, field: str) -> None:
    """Raises: InvalidArgument for more activations of one objective than the scorer takes at once."""
    byte_count = rows * reference.width * np.dtype(np.float32).itemsize
    if byte_count > MAX_TENSOR_BYTES:
        raise InvalidArgument(
            field,
            f"{rows} rows × {reference.width} units that {reference.name} keeps are {byte_count} bytes of activations; "
            f"nearness is measured over at most {MAX_TENSOR_BYTES}: search fewer rows",
        )


def _by_quantile(row: PlannedRow) -> bool:
    return row.settings.target is not None and row.settings.target.quantile
