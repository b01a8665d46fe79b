"""One search with its score: what `earwitness explain` and the demo do between their arguments and their output."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.fitting import require_selection, require_source
from earwitness.client.names import short
from earwitness.client.output.run import Run, Scoring
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import Artefact, Explanation, Model, Objective, Progress, Reference, Search, Settings
from earwitness.errors import FailedPrecondition, InvalidArgument

STANDSTILL = 1e-12
"""Learning rate of a step that moves no latent as far as float32 can tell."""


async def explain_and_score(
    explainer: ExplainerClient,
    search: Search,
    *,
    scorer: ScorerClient | None = None,
    reference: str | None = None,
    whole_layer: bool = False,
    artefacts: Sequence[Artefact] = ALL_ARTEFACTS,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float | None = None,
    start_count: int = 0,
) -> Run:
    """Run a search that has one objective, and score it against `reference`.

    `reference` is `NAME` or `NAME/versions/N` and needs `scorer`; the objective's unit alone is compared, as a sweep
    compares it, or with `whole_layer`, and for a direction, all units of its layer. What cannot be scored is refused
    before the search begins.

    The first latents of the first `start_count` rows are explained, too, unless the time was up.

    A search that was done is not lost with its score: when scoring fails after all, the run carries the failure.

    Raises: RpcFailure; InvalidArgument when the objective does not fit the model, or the reference not the objective.
    """
    if search.objective is None:
        raise InvalidArgument("search.objective", "is needed: one objective for all rows")
    model = await explainer.get_model(search.model)
    check_objective(model, search.objective)
    found = None
    if reference is not None:
        if scorer is None:
            raise InvalidArgument("scorer", "is needed to score against a reference")
        reference = short(reference)
        found = await scorer.get_reference(reference.partition("/")[0])
        _check_scorable(model, search, found, reference)
    result = await explainer.explain(search, artefacts=artefacts, on_progress=on_progress, timeout_s=timeout_s)
    starts: tuple[Explanation, ...] = ()
    if start_count and timeout_s is None:
        starts = (await explainer.explain(_start_of(search, start_count), artefacts=artefacts)).explanations
    scoring, unscored = None, None
    if scorer is not None and found is not None and reference is not None:
        unit = None if whole_layer else search.objective.unit
        try:
            scored = await scorer.score(
                result.layer_activations(),
                reference=reference,
                model=model.name,
                weights_sha256=result.summary.weights_sha256,
                layer=search.objective.layer,
                unit=unit,
            )
            scoring = Scoring(found, unit, scored)
        except RpcFailure as failure:
            unscored = failure
    return Run(model, search.objective, result, scoring, datetime.now(UTC).astimezone(), unscored, starts)


def _start_of(search: Search, row_count: int) -> Search:
    """A search of the first rows that stays where it begins: its only step is too short to be seen or heard."""
    return replace(search, rows=search.rows[:row_count], settings=Settings("sgd", STANDSTILL, 0.0, 1))


def check_objective(model: Model, objective: Objective) -> None:
    """Make sure that the model has what the objective names.

    Raises: InvalidArgument naming the layers or units there are.
    """
    units = [objective.unit] if objective.direction is None else objective.direction
    for unit in units:
        model.unit_in(objective.layer, unit if unit is not None else 0)


def _check_scorable(model: Model, search: Search, reference: Reference, asked: str) -> None:
    objective = search.objective
    assert objective is not None
    if len(search.rows) < 2:
        raise InvalidArgument("reference", "one row has no spread to compare: search at least 2 rows to score them")
    if not reference.versions:
        raise FailedPrecondition(f"reference {reference.name} has no version yet; build it to the end first")
    versions = [short(version.name) for version in reference.versions]
    if "/" in asked and asked not in versions:
        raise InvalidArgument("reference", f"got {asked}; {reference.name} has {', '.join(versions)}")
    require_source(reference, model.name, model.weights_sha256, objective.layer)
    require_selection(reference, objective)
