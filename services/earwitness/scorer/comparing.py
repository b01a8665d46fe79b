"""Batches compared with a version of a reference: scored, ranked, and measured for how near they are.

In steps, each in a thread: others have their turn between them, and a call that is cancelled begins no further one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.rpc.validate import require_range
from earwitness.scorer.cache import LruCache
from earwitness.scorer.collect import Frozen
from earwitness.scorer.criteria import Measures, median_measures
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.errors import KeepsNoRows
from earwitness.scorer.frechet import MIN_ROWS
from earwitness.scorer.layers import Layout
from earwitness.scorer.loading import Loading
from earwitness.scorer.nearness import neighbours
from earwitness.scorer.ranking import Candidate, Yardstick, distance_measures, rank
from earwitness.scorer.references import LARGEST, Reference, Source, Version, VersionKey
from earwitness.scorer.score import score_batch
from earwitness.scorer.statistics import Rows
from earwitness.scorer.store import ReferenceStore
from earwitness.scorer.threads import Threads
from earwitness.scorer.uncertainty import NoiseFloor, noise_floor
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES
from earwitness.vocabulary.score import Criterion, RankedBatch, Score

_NOISE_FLOORS = 4096
_KINDS = {"distance": "layer_distance", "nearness": "layer_nearness"}


@dataclass(frozen=True)
class Batch:
    """Activations to be scored: `rows` [M, D] of `source`; `unit` compares that unit of the reference's layer alone.

    D is the units of the layer, or of all layers that the reference keeps, or 1: the compared unit's column.
    """

    source: Source
    rows: Rows
    unit: int | None
    seed: int


@dataclass(frozen=True)
class Batches:
    """To be ranked: `rows` [M, D] of each batch under its id, all of one `source`; `unit` as for one batch."""

    source: Source
    rows: Mapping[str, Rows]
    unit: int | None
    seed: int
    criterion: Criterion


@dataclass(frozen=True)
class NearRows:
    """To be measured: `rows` [M, D] of all layers that the reference keeps; in which of its `layers` (none: all), and
    to how many of its rows (0: the default)."""

    model: str
    weights_sha256: str
    rows: Rows
    layers: tuple[str, ...]
    neighbour_count: int


class Comparing:
    """The comparisons of one scorer."""

    def __init__(self, store: ReferenceStore, threads: Threads, cache_bytes: int) -> None:
        self._threads = threads
        self._loading = Loading(store, threads, cache_bytes)
        self._floors: LruCache[tuple[VersionKey, int | None, int, int], NoiseFloor] = LruCache(
            _NOISE_FLOORS, lambda _: 1
        )

    async def score(self, reference: Reference, version: Version, batch: Batch) -> Score:
        """The score of a batch that fits the reference."""
        frozen, data_range = await self._compared(reference, version, batch.unit)
        floor = await self._floor(reference, version, frozen, batch.unit, len(batch.rows), batch.seed)
        rows = _compared_columns(batch.rows, batch.unit, reference.content.layout)
        return await self._threads.compute(lambda: score_batch(rows, frozen, floor, batch.seed, data_range))

    async def rank(self, reference: Reference, version: Version, batches: Batches) -> tuple[RankedBatch, ...]:
        """Batches that fit the reference, best first by their criterion.

        Raises: InvalidArgument for a criterion that the reference, or what the batches hold, does not allow;
        KeepsNoRows.
        """
        layout, criterion = reference.content.layout, batches.criterion
        layers = _criterion_layers(reference, version, batches)
        frozen, data_range = await self._compared(reference, version, batches.unit)
        row_count = len(next(iter(batches.rows.values())))
        floor = await self._floor(reference, version, frozen, batches.unit, row_count, batches.seed)
        yardstick = Yardstick(frozen, data_range, floor, batches.seed, len(batches.rows))
        candidates: list[Candidate] = []
        for batch_id, rows in batches.rows.items():
            compared = _compared_columns(rows, batches.unit, layout)
            candidate = await self._threads.compute(partial(yardstick.measure, batch_id, compared))
            if criterion.kind != "unit":
                measures = await self._measures(reference, version, rows, layers, batches)
                candidate = Candidate(batch_id, candidate.score, measures)
            candidates.append(candidate)
        return await self._threads.compute(lambda: rank(candidates, criterion))

    async def nearness(self, reference: Reference, version: Version, near: NearRows) -> NDArray[np.float64]:
        """[M, layers]: how near rows that fit the reference are to those of a version.

        Raises: InvalidArgument for layers or neighbours that it has not; KeepsNoRows.
        """
        layers = reference.content.layout.places(near.layers, "layers")
        answer_bytes = len(near.rows) * len(layers) * np.dtype(np.float64).itemsize
        if answer_bytes > MAX_TENSOR_BYTES:
            raise InvalidArgument(
                "activations.shape",
                f"has {len(near.rows)} rows, whose distances in {len(layers)} layers are {answer_bytes} bytes; at most "
                f"{MAX_TENSOR_BYTES}: measure fewer rows at once",
            )
        _require_kept_rows(reference, version, near.neighbour_count, "neighbour_count")
        return await self._nearness(reference, version, near.rows, layers, near.neighbour_count)

    async def _nearness(
        self, reference: Reference, version: Version, rows: Rows, layers: tuple[int, ...], neighbour_count: int
    ) -> NDArray[np.float64]:
        kept = await self._loading.kept_rows(reference, version)
        count = neighbours(neighbour_count, kept.row_count)
        found = [
            await self._threads.compute(partial(kept.distances, rows[block], layers, count))
            for block in kept.blocks(len(rows))
        ]
        return np.concatenate(found)

    async def _measures(
        self, reference: Reference, version: Version, rows: Rows, layers: tuple[int, ...], batches: Batches
    ) -> Measures:
        """What a criterion over layers sees of one of the batches."""
        seed, batch_count = batches.seed, len(batches.rows)
        if batches.criterion.kind == "nearness":
            distances = await self._nearness(reference, version, rows, layers, batches.criterion.neighbour_count)
            return await self._threads.compute(lambda: median_measures(distances, seed, batch_count))
        found = []
        for layer in layers:
            frozen = await self._loading.frozen(reference, version, layer)
            of_layer = _layer_columns(rows, reference.content.layout, layer)
            work = partial(distance_measures, of_layer, frozen, seed, batch_count)
            found.append(await self._threads.compute(work))
        return Measures.joined(found)

    async def _compared(self, reference: Reference, version: Version, unit: int | None) -> tuple[Frozen, DataRange]:
        """What a batch is compared with: all of the layer, or one unit."""
        layer = await self._loading.frozen(reference, version, reference.content.layout.own)
        data_range = DataRange.of(layer, reference.content.selection)
        return (layer, data_range) if unit is None else (layer.unit(unit), data_range.unit(unit))

    async def _floor(
        self, reference: Reference, version: Version, frozen: Frozen, unit: int | None, row_count: int, seed: int
    ) -> NoiseFloor:
        key = (reference.version_key(version), unit, row_count, seed)
        return await self._threads.compute(
            lambda: self._floors.get(key, lambda: noise_floor(frozen.gaussian, row_count, seed))
        )


def require_rows(rows: Rows, field: str, at_least: int = MIN_ROWS) -> None:
    """Raises: InvalidArgument for too few, and for numbers beyond FP32's range."""
    if len(rows) < at_least:
        raise InvalidArgument(f"{field}.shape", f"has {len(rows)} row; a covariance needs at least {at_least}")
    largest = float(np.abs(rows).max())
    if largest > LARGEST:
        raise InvalidArgument(f"{field}.data", f"reaches {largest:g}; at most {LARGEST:g}, FP32's largest value")


def _criterion_layers(reference: Reference, version: Version, batches: Batches) -> tuple[int, ...]:
    """Places of the layers that the criterion is over; none for the distance of the score.

    Raises: InvalidArgument; KeepsNoRows.
    """
    criterion, layout = batches.criterion, reference.content.layout
    if criterion.kind == "unit":
        return ()
    field = f"criterion.{_KINDS[criterion.kind]}"
    layers = layout.places(criterion.layers, f"{field}.layers")
    if criterion.kind == "nearness":
        _require_kept_rows(reference, version, criterion.neighbour_count, f"{field}.neighbour_count")
    given, own = batches.source.unit_count, layout.layers[layout.own].unit_count
    enough = criterion.kind == "distance" and layers == (layout.own,) and given == own
    if given != layout.width and not enough:
        names = ", ".join(layout.names)
        raise InvalidArgument(
            "batches[0].activations.shape",
            f"has {given} units; this criterion needs the {layout.width} of all layers that the reference keeps "
            f"({names})",
        )
    return layers


def _require_kept_rows(reference: Reference, version: Version, neighbour_count: int, field: str) -> None:
    """Raises: KeepsNoRows; InvalidArgument for more neighbours than there are rows."""
    if reference.content.selection.kind == "all":
        raise KeepsNoRows(reference.reference_id)
    require_range(neighbour_count, field, at_least=0, at_most=version.selected_count)


def _compared_columns(rows: Rows, unit: int | None, layout: Layout) -> Rows:
    """What is compared of a batch: the layer's columns, or that of one unit."""
    of_layer = _layer_columns(rows, layout, layout.own)
    return of_layer if unit is None or of_layer.shape[1] == 1 else of_layer[:, unit : unit + 1]


def _layer_columns(rows: Rows, layout: Layout, layer: int) -> Rows:
    """A layer's columns, of whole rows laid out as if they were all."""
    whole = rows.shape[1] == layout.width and len(layout.layers) > 1
    return np.ascontiguousarray(rows[:, layout.columns(layer)]) if whole else rows
