"""The rankings of stored sweeps: which references fit, and what the scorer says of the results."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from earwitness.errors import EarwitnessError, InvalidArgument
from earwitness.explainer.errors import NoScorer, ResultNotDone
from earwitness.explainer.nearest import mean_places, nearest
from earwitness.explainer.real import check_nearness, check_width, columns_of
from earwitness.explainer.reference import Reference, Source
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.record import SweepRecord
from earwitness.explainer.sweep.results import Tensors
from earwitness.explainer.sweep.store import StoredResult, SweepStore
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES
from earwitness.vocabulary.score import Criterion
from earwitness.vocabulary.search import Nearness
from earwitness.vocabulary.sweep import SweepPlan, SweepRanking

Activations = Callable[[SweepRecord, FloatArray, Sequence[str]], Awaitable[Mapping[str, FloatArray]]]
"""The activations [n, units] of layers for latents [n, Z], by the model of a sweep as it was swept.

Results hold those of their objective's layer alone: what else a reference keeps is made again from their latents,
so that a sweep can be ranked against references that were built after it, and takes no room for those that never are.
"""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class How:
    """What results are ranked by, and how many of each one's rows, 0 for all of them."""

    criterion: Criterion
    keep_count: int = 0

    @classmethod
    def of(cls, plan: SweepPlan, criterion: Criterion | None = None, keep_count: int = 0) -> "How":
        """What the plan asks for; `criterion` and `keep_count` take the place of its own."""
        kept = keep_count or plan.keep_count
        return cls(criterion or plan.criterion or Criterion(), 0 if kept == plan.seed_count else kept)

    @property
    def over_layers(self) -> bool:
        """Whether the scorer needs every layer that a reference keeps."""
        return self.criterion.kind != "unit"

    @property
    def needs_model(self) -> bool:
        """Whether activations are needed that results do not hold."""
        return self.over_layers or self.keep_count > 0

    def check(self, reference: Reference, bundle: BundleMetadata | None, seed_count: int, field: str) -> None:
        """`bundle` is known where it `needs_model`.

        Raises: InvalidArgument, ReferenceUnusable where the reference at `field` does not do for it.
        """
        if bundle is not None:
            reference.require_model(bundle, field)
        criterion = self.criterion
        if criterion.kind == "distance":
            if not criterion.layers:
                raise InvalidArgument("criterion.layer_distance.layers", "got none; name one that the reference keeps")
            reference.require_layers(criterion.layers, "criterion.layer_distance.layers")
        if criterion.kind == "nearness":
            reference.require_rows(field, "a criterion of nearness")
            near = Nearness(criterion.layers, criterion.neighbour_count)
            check_nearness(reference, near, "criterion.layer_nearness")
        if self.keep_count:
            reference.require_rows(field, "keep_count")
            check_width(reference, seed_count, field)


def check_rank_size(layout: Layout, references: Mapping[int, Reference], how: How, field: str) -> None:
    """Refuse a sweep that could not be ranked when it is over; `references` are by objective, `field`, with {}, names
    each. Raises: InvalidArgument."""
    plan = layout.plan
    for index, reference in references.items():
        each = plan.objectives[index]
        own = reference.layer_columns
        units = reference.width if how.over_layers else 1 if each.unit is not None else own.stop - own.start
        settings, rows = plan.setting_count, how.keep_count or plan.seed_count
        byte_count = settings * rows * units * np.dtype(np.float32).itemsize
        if byte_count > MAX_TENSOR_BYTES:
            said = f"{rows} {'rows kept' if how.keep_count else 'seeds'}"
            raise InvalidArgument(
                field.format(index),
                f"{settings} settings × {said} × {units} units to compare are {byte_count} bytes of activations; a "
                f"ranking takes at most {MAX_TENSOR_BYTES}: take fewer seeds or settings, or compare one unit",
            )


class Rankings:
    """Rankings of the sweeps in `store`, made by `scorer`; None where the explainer knows none."""

    def __init__(self, store: SweepStore, scorer: ScorerClient | None, activations: Activations) -> None:
        self._store = store
        self._scorer = scorer
        self._activations = activations

    def require_scorer(self) -> ScorerClient:
        """Who ranks. Raises: NoScorer."""
        if self._scorer is None:
            raise NoScorer()
        return self._scorer

    async def check(
        self,
        model: str,
        weights_sha256: str,
        layout: Layout,
        references: Sequence[str | None],
        how: How,
        field: str,
        bundle: BundleMetadata | None,
    ) -> Mapping[int, Reference]:
        """Refuse references, one for each objective or None, that do not fit it; `field`, with {}, names each. Those
        that do, by objective. `bundle` is the model's where `how` needs it.

        Raises: InvalidArgument, ReferenceUnusable, ScorerUnavailable.
        """
        found: dict[int, Reference] = {}
        for index, (each, name) in enumerate(zip(layout.plan.objectives, references, strict=True)):
            if name:
                path = field.format(index)
                if self._scorer is None:
                    raise InvalidArgument(path, f"is {name!r}, but {NoScorer()}")
                reference = await self._scorer.find(name, path)
                source = Source(model, weights_sha256, each.objective.layer)
                reference.require(source, each.objective, path)
                how.check(reference, bundle, layout.plan.seed_count, path)
                found[index] = reference
        check_rank_size(layout, found, how, field)
        return found

    async def real(self, layout: Layout, references: Mapping[int, Reference], field: str) -> Mapping[int, FloatArray]:
        """The activations, rising, that targets in quantiles of each objective are of, from what `check` found.

        Raises: ReferenceUnusable for a reference that keeps no rows; NotFound, ScorerUnavailable.
        """
        real = {}
        for index, reference in references.items():
            reference.require_rows(field.format(index), "a target in quantiles")
            objective = layout.plan.objectives[index].objective
            real[index] = await self.require_scorer().distribution(reference, objective)
        return real

    async def rank(self, record: SweepRecord, layout: Layout, references: Sequence[str | None], how: How) -> None:
        """Rank each objective that has a reference: all of them, or nothing that is stored changes.

        Raises: ResultNotDone; SweepNotFound; ModelChanged; InvalidArgument, NotFound, ReferenceUnusable,
        ScorerUnavailable; InferenceUnavailable.
        """
        ranked = [
            await self._ranking(record, layout, index, name, how) for index, name in enumerate(references) if name
        ]
        await asyncio.to_thread(self._store.set_rankings, record, ranked)

    async def rank_at_the_end(
        self, record: SweepRecord, layout: Layout, references: Sequence[str | None], how: How
    ) -> None:
        """Rank what can be ranked of a sweep that has come to its end; why one could not be is stored in its place,
        unless it was ranked before."""
        stored = await asyncio.to_thread(self._store.rankings, record.key)
        before = {each.objective_index for each in stored if not each.error}
        for index, name in enumerate(references):
            if not name:
                continue
            try:
                ranking = await self._ranking(record, layout, index, name, how)
            except EarwitnessError as err:
                _logger.warning("objective %d of sweeps/%s is not ranked: %s", index, record.sweep_id, err.message)
                if index in before:
                    continue
                ranking = SweepRanking(index, "", (), err.message)
            await asyncio.to_thread(self._store.set_rankings, record, [ranking])

    async def _ranking(self, record: SweepRecord, layout: Layout, index: int, name: str, how: How) -> SweepRanking:
        """One objective's ranking. Raises: as `rank`."""
        objective = layout.plan.objectives[index]
        numbers = layout.results_of(index)
        stored = await asyncio.to_thread(partial(self._store.results, record.key, numbers, tensors=True))
        source = Source(record.model, record.weights_sha256, objective.objective.layer)
        scorer = self.require_scorer()
        if not stored:
            raise ResultNotDone(
                f"no result of objective {index} of sweeps/{record.sweep_id} is done; an empty reference leaves it out"
            )
        compared, kept = dict(sorted(stored.items())), {}
        batches: dict[int, FloatArray] = {}
        if how.needs_model:
            reference = await scorer.find(name, f"references[{index}]")
            name = reference.version.name  # one version for what is near and for the distance
            for number, each in compared.items():
                batches[number], rows = await self._chosen(record, each, reference, how)
                if how.keep_count:
                    kept[number] = rows
            if not how.over_layers:
                columns = reference.layer_columns
                batches = {number: _compared(each[:, columns], objective.unit) for number, each in batches.items()}
        else:
            for number, each in compared.items():
                batches[number] = _compared(Tensors.decode(each.tensors).layer_activations, objective.unit)
        version, ranked = await scorer.rank(name, source, objective.unit, batches, how.criterion)
        found = [(int(each.id), each) for each in ranked]
        placed = [replace(each, id=str(number), kept_rows=tuple(kept.get(number, ()))) for number, each in found]
        return SweepRanking(index, version, tuple(placed), "", how.criterion)

    async def _chosen(
        self, record: SweepRecord, stored: StoredResult, reference: Reference, how: How
    ) -> tuple[FloatArray, list[int]]:
        """A result's activations [kept, width] of all that the reference keeps, and which rows are kept."""
        tensors = Tensors.decode(stored.tensors)
        own = {reference.source.layer: tensors.layer_activations}
        others = [each.name for each in reference.layers if each.name not in own]
        made = await self._activations(record, tensors.latents, others) if others else {}
        rows = list(range(len(tensors.latents)))
        columns = columns_of(reference, {**made, **own}, rows)
        if how.keep_count:
            distances = await self.require_scorer().nearness(reference, columns, (), 0)
            rows = nearest(mean_places(distances), how.keep_count)
        return columns[rows], rows


def _compared(rows: FloatArray, unit: int | None) -> FloatArray:
    """What the scorer needs of a layer's activations [S, units]."""
    return rows if unit is None else rows[:, unit : unit + 1]
