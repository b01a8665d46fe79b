"""Which way to search suits a unit: a few ways tried, and compared against real audio."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from earwitness.client.criteria import default_criterion
from earwitness.client.explainer import ExplainerClient
from earwitness.client.references import bundle_of, layers_activations
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import (
    Criterion,
    FloatArray,
    Model,
    Objective,
    Progress,
    RankedBatch,
    Recommendation,
    Reference,
    Search,
    SearchResult,
    Settings,
    Target,
)
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.recommendation import Recommendation as StoredRecommendation
from earwitness.vocabulary.names import short

WHOLE = Target(0.0, 1.0, quantile=True)
STORED_QUANTILES = (0.05, 0.95)
"""Ends of a target that is stored in activations. Rows are spread evenly between them, while real activations are dense
at one end and thin out at the other: from the very lowest to the very highest the rows' mean would lie too far out."""


@dataclass(frozen=True)
class Way:
    """Settings to try, with the rows to search for each that is kept."""

    name: str
    settings: Settings
    oversampling: int = 1


PUBLISHED = Way("published", Settings("adam", 0.01, 0.001, 100))
"""What the paper's selection chose for "vocal" (arXiv:1904.09533)."""
_NORMALISED = Settings("normalised", 0.2, steps=100, target=WHOLE, start_draws=8)
_WALK = Settings("walk", 0.3, steps=200, target=WHOLE)
_DRAWS = Settings("draws", draws=4000)
WAYS = (
    PUBLISHED,
    Way("normalised", _NORMALISED),
    Way("walk", _WALK),
    Way("draws", _DRAWS),
    Way("normalised ×3", _NORMALISED, 3),
    Way("walk ×3", _WALK, 3),
    Way("draws ×2", _DRAWS, 2),
)


@dataclass(frozen=True, eq=False)
class Tried:
    """What a way found, and what that is worth: its place by the unit's distance, its Fréchet distance over each layer
    that the reference keeps, and the mean of its places by these."""

    way: Way
    result: SearchResult
    by_unit: RankedBatch
    layer_distances: Mapping[str, float]
    mean_place: float

    @property
    def cost(self) -> float:
        """Evaluations for each explanation."""
        return self.result.summary.evaluation_count / len(self.result.explanations)

    @property
    def seconds(self) -> float:
        """Seconds of search for each explanation."""
        return self.result.summary.search_duration_s / len(self.result.explanations)


def objective_of(model: Model, reference: Reference, layer: str | None, unit: int | None) -> Objective:
    """What a reference of top or bottom rows is a measure of.

    Raises: InvalidArgument for one of all rows, of another model or weights, or of another layer or unit than asked.
    """
    identity, selection = reference.identity, reference.selection
    if selection.kind == "all" or selection.unit is None:
        raise InvalidArgument(
            "reference",
            f"{reference.name} holds all excerpts; ways are compared against those where the unit is highest or "
            "lowest: build one with --top or --bottom (`earwitness reference build`)",
        )
    if (identity.model, identity.weights_sha256) != (model.name, model.weights_sha256):
        raise InvalidArgument(
            "reference",
            f"{reference.name} is of {identity.model} (weights {identity.weights_sha256[:12]}), not of {model.name} "
            f"(weights {model.weights_sha256[:12]}); `earwitness reference list` shows the others",
        )
    if layer not in (None, identity.layer):
        raise InvalidArgument("layer", f"got {layer}; {reference.name} is of {identity.layer}")
    if unit not in (None, selection.unit):
        raise InvalidArgument("unit", f"got {unit}; {reference.name} holds the {selection}")
    return Objective(identity.layer, selection.unit, "maximise" if selection.kind == "top" else "minimise")


def ways_for(model: Model, reference: Reference) -> tuple[Way, ...]:
    """Those of WAYS that the model can be searched by, and that the reference can choose rows for."""
    several = len(reference.layers) > 1
    return tuple(
        way
        for way in WAYS
        if (model.has_gradient or way.settings.optimiser in ("walk", "draws")) and (several or way.oversampling == 1)
    )


async def try_ways(
    explainer: ExplainerClient,
    scorer: ScorerClient,
    backend: InferenceBackend,
    model: Model,
    objective: Objective,
    reference: Reference,
    *,
    row_count: int = 50,
    seed: int = 0,
    on_progress: Callable[[str, Progress], None] = lambda way, progress: None,
) -> list[Tried]:
    """`row_count` explanations by each way, in the order of WAYS, compared against the newest version of `reference`.

    `backend` runs the classifier, for the activations of every layer that the reference keeps.

    Raises: FailedPrecondition for a reference without a version; RpcFailure; InferenceUnavailable.
    """
    if not reference.versions:
        raise FailedPrecondition(f"reference {reference.name} has no version yet; build it to the end first")
    version = short(reference.versions[-1].name)
    bundle = await bundle_of(backend, model.name)
    found: dict[str, tuple[Way, SearchResult]] = {}
    batches: dict[str, FloatArray] = {}
    for index, way in enumerate(ways_for(model, reference)):
        search = Search.of(
            model.name, objective, row_count=row_count * way.oversampling, seed=seed, settings=way.settings
        )
        keep_count = row_count if way.oversampling > 1 else 0
        search = replace(search, reference=version if _goes_by(way) else None, keep_count=keep_count)
        result = await explainer.explain(search, on_progress=lambda event, way=way: on_progress(way.name, event))  # type: ignore[misc]
        spectrograms = np.stack([each.spectrogram for each in result.explanations])
        kept = [each.name for each in reference.layers]
        found[str(index)] = (way, result)
        batches[str(index)] = await layers_activations(backend, bundle, kept, spectrograms)

    async def ranked(criterion: Criterion | None) -> dict[str, RankedBatch]:
        own = {key: result.layer_activations() for key, (_, result) in found.items()}
        ranking = await scorer.rank(
            batches if criterion else own,
            reference=version,
            model=model.name,
            weights_sha256=model.weights_sha256,
            layer=objective.layer,
            unit=objective.unit,
            criterion=criterion,
        )
        return {each.id: each for each in ranking.batches}

    by_unit = await ranked(None)
    by_layer = {each.name: await ranked(Criterion("distance", (each.name,))) for each in reference.layers}
    judging = [name for name in default_criterion(model.layers).layers if name in by_layer] or list(by_layer)
    return [
        Tried(
            way,
            result,
            by_unit[key],
            {layer: places[key].criterion_value for layer, places in by_layer.items()},
            float(np.mean([_place(by_layer[name], key) for name in judging])),
        )
        for key, (way, result) in found.items()
    ]


def _goes_by(way: Way) -> bool:
    """Whether it has a use for a reference."""
    return way.settings.target is not None or way.oversampling > 1


def best_of(tried: Sequence[Tried]) -> Tried:
    """The way to recommend: within the real range rather than out of it, then by the mean place over the layers of the
    default criterion; the cheaper of equal ones."""
    return min(tried, key=lambda each: (each.by_unit.leaves_range, each.mean_place, each.cost))


def _place(places: Mapping[str, RankedBatch], key: str) -> int:
    """1 for the lowest value; equal ones share a place."""
    return 1 + sum(each.criterion_value < places[key].criterion_value for each in places.values())


async def recommendation_of(
    tried: Tried, objective: Objective, reference: Reference, scorer: ScorerClient
) -> Recommendation:
    """What a bundle is to recommend: the way's settings, its target as activations, so that it needs no reference.

    Raises: RpcFailure.
    """
    settings = tried.way.settings
    if settings.target is not None and settings.target.quantile:
        low, high = np.quantile(await _activations(scorer, reference, objective), STORED_QUANTILES)
        settings = replace(settings, target=Target(_rounded(low), _rounded(high)))
    layers = ", ".join(each.name for each in reference.layers)
    about = f": {reference.description}" if reference.description else ""
    return Recommendation(
        objective=objective,
        settings=settings,
        oversampling=tried.way.oversampling,
        reference=f"{reference.name}, {reference.selection} among {reference.row_count} excerpts, {layers}{about}",
        distance=tried.by_unit.score.distance,
        row_count=tried.by_unit.score.row_count,
    )


async def _activations(scorer: ScorerClient, reference: Reference, objective: Objective) -> FloatArray:
    """The objective's activation of every row that the newest version keeps, [k]."""
    held = await scorer.read_statistics(reference.name)
    column = 0
    for each in reference.layers:
        if each.name == objective.layer:
            break
        column += each.unit_count
    assert held.partial.rows is not None  # one of top or bottom rows keeps them
    assert objective.unit is not None
    return np.asarray(held.partial.rows[:, column + objective.unit], np.float32)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def stored(each: Recommendation) -> StoredRecommendation:
    """A recommendation as a bundle's metadata hold it."""
    settings: dict[str, Any] = {
        name: value for name, value in vars(each.settings).items() if value is not None and name != "target"
    }
    if each.settings.target is not None:
        settings["target"] = {"low": each.settings.target.low, "high": each.settings.target.high}
    assert each.objective.unit is not None
    return StoredRecommendation(
        each.objective.layer,
        each.objective.unit,
        each.objective.sense,
        settings,
        each.oversampling,
        each.reference,
        each.distance,
        each.row_count,
    )
