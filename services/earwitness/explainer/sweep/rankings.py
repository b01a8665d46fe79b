"""The rankings of stored sweeps: which references fit, and what the scorer says of the results."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from earwitness.errors import EarwitnessError, InvalidArgument
from earwitness.explainer.errors import NoScorer, ResultNotDone
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.ranking import MAX_RANK_BYTES, Ranker, Source
from earwitness.explainer.sweep.record import SweepRecord
from earwitness.explainer.sweep.results import Tensors
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.metadata import BundleMetadata

_logger = logging.getLogger(__name__)


def check_rank_size(layout: Layout, bundle: BundleMetadata) -> None:
    """Refuse a sweep that could not be ranked when it is over. Raises: InvalidArgument."""
    request = layout.request
    widths = {layer.name: layer.unit_count for layer in bundle.layers}
    for index, each in enumerate(request.objectives):
        units = 1 if each.unit is not None else widths[each.objective.layer]
        settings = len(request.settings)
        byte_count = settings * request.seed_count * units * np.dtype(np.float32).itemsize
        if each.reference and byte_count > MAX_RANK_BYTES:
            raise InvalidArgument(
                f"sweep.objectives[{index}].reference",
                f"{settings} settings × {request.seed_count} seeds × {units} units to compare are {byte_count} bytes "
                f"of activations; a ranking takes at most {MAX_RANK_BYTES}: take fewer seeds or settings, or compare "
                "one unit",
            )


class Rankings:
    """Rankings of the sweeps in `store`, made by `ranker`; None where the explainer knows no scorer."""

    def __init__(self, store: SweepStore, ranker: Ranker | None) -> None:
        self._store = store
        self._ranker = ranker

    def require_scorer(self) -> Ranker:
        """Who ranks. Raises: NoScorer."""
        if self._ranker is None:
            raise NoScorer()
        return self._ranker

    async def close(self) -> None:
        """Release connections."""
        if self._ranker is not None:
            await self._ranker.close()

    async def check(
        self, model: str, weights_sha256: str, layout: Layout, references: Sequence[str], field: str
    ) -> None:
        """Refuse references, one for each objective or "", that do not fit it; `field`, with {}, names each.

        Raises: InvalidArgument; as `Ranker.check`.
        """
        for index, (each, name) in enumerate(zip(layout.request.objectives, references, strict=True)):
            if name:
                path = field.format(index)
                if self._ranker is None:
                    raise InvalidArgument(path, f"is {name!r}, but {NoScorer()}")
                source = Source(model, weights_sha256, each.objective.layer)
                await self._ranker.check(name, source, each.objective, path)

    async def rank(self, record: SweepRecord, layout: Layout, references: Sequence[str]) -> None:
        """Rank each objective that has a reference: all of them, or nothing that is stored changes.

        Raises: ResultNotDone; SweepNotFound; as `Ranker.rank`.
        """
        ranked = {
            index: await self._ranking(record, layout, index, name) for index, name in enumerate(references) if name
        }
        await self._store_rankings(record, ranked)

    async def rank_at_the_end(self, record: SweepRecord, layout: Layout, references: Sequence[str]) -> None:
        """Rank what can be ranked of a sweep that has come to its end; why one could not be is stored in its place,
        unless it was ranked before."""
        stored = [
            pb.SweepRanking.FromString(body) for body in await asyncio.to_thread(self._store.rankings, record.key)
        ]
        before = {each.objective_index for each in stored if not each.error}
        for index, name in enumerate(references):
            if not name:
                continue
            try:
                ranking = await self._ranking(record, layout, index, name)
            except EarwitnessError as err:
                _logger.warning("objective %d of sweeps/%s is not ranked: %s", index, record.sweep_id, err.message)
                if index in before:
                    continue
                ranking = pb.SweepRanking(objective_index=index, error=err.message)
            await self._store_rankings(record, {index: ranking})

    async def _ranking(self, record: SweepRecord, layout: Layout, index: int, reference: str) -> pb.SweepRanking:
        """One objective's ranking. Raises: NoScorer, ResultNotDone; as `Ranker.rank`."""
        objective = layout.request.objectives[index]
        numbers = layout.results_of(index)
        stored = await asyncio.to_thread(partial(self._store.results, record.key, numbers, tensors=True))
        batches = {number: Tensors.decode(each.tensors).layer_activations for number, each in stored.items()}
        source = Source(record.model, record.weights_sha256, objective.objective.layer)
        ranker = self.require_scorer()
        if not batches:
            raise ResultNotDone(
                f"no result of objective {index} of sweeps/{record.sweep_id} is done; an empty reference leaves it out"
            )
        version, ranked = await ranker.rank(reference, source, objective.unit, dict(sorted(batches.items())))
        return pb.SweepRanking(objective_index=index, reference_version=version, results=ranked)

    async def _store_rankings(self, record: SweepRecord, rankings: Mapping[int, pb.SweepRanking]) -> None:
        bodies = {index: ranking.SerializeToString() for index, ranking in rankings.items()}
        await asyncio.to_thread(self._store.set_rankings, record, bodies)
