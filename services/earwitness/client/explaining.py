"""One search with its score: what `earwitness explain` and the demo do between their arguments and their output."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from earwitness.client.aiming import aimed
from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.fitting import require_selection, require_source
from earwitness.client.output.run import Run, Scoring
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import (
    Artefact,
    Explanation,
    Model,
    Nearness,
    Objective,
    Progress,
    Reference,
    Row,
    Search,
    Settings,
)
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.vocabulary.names import short

STANDSTILL = 1e-12
"""Learning rate of a step that moves no latent within the precision of float32."""
ANYHOW = Nearness()
STILL = Settings("sgd", STANDSTILL, 0.0, 1)
STILL_WITHOUT_GRADIENT = Settings("walk", STANDSTILL, steps=1)


async def explain_and_score(
    explainer: ExplainerClient,
    search: Search,
    *,
    model: Model | None = None,
    scorer: ScorerClient | None = None,
    reference: str | None = None,
    oversampling: int | None = None,
    nearness: Nearness = ANYHOW,
    whole_layer: bool = False,
    artefacts: Sequence[Artefact] = ALL_ARTEFACTS,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float | None = None,
    start_count: int = 0,
) -> Run:
    """Run a search that has one objective, and score it against `reference`.

    `model` is the search's, where the caller has asked for it already.

    `reference` is `NAME` or `NAME/versions/N` and needs `scorer`; the objective's unit alone is compared, as a sweep
    compares it, or with `whole_layer`, and for a direction, all units of its layer. What cannot be scored is refused
    before the search begins. Where the search has a use for a reference, and has none, it goes by this one, too.

    For each explanation `oversampling` rows are searched, and those kept that are nearest to what the reference keeps,
    by `nearness`; None leaves it to the model's recommendation (see `aiming`).

    The first latents of the first `start_count` explanations are explained, too, unless the time was up or they are
    draws themselves.

    A search that was done is not lost with its score: when scoring fails after all, the run carries the failure.

    Raises: RpcFailure; InvalidArgument when the objective does not fit the model, or the reference not the objective.
    """
    objective = search.objective
    if objective is None:
        raise InvalidArgument("search.objective", "is needed: one objective for all rows")
    model = model or await explainer.get_model(search.model)
    check_objective(model, objective)
    found = None
    if reference is not None:
        if scorer is None:
            raise InvalidArgument("scorer", "is needed to score against a reference")
        reference = short(reference)
        found = await scorer.get_reference(reference.partition("/")[0])
        _check_scorable(model, search, found, reference)
    search = aimed(search, model, found, reference or "", oversampling, nearness)
    result = await explainer.explain(search, artefacts=artefacts, on_progress=on_progress, timeout_s=timeout_s)
    starts: tuple[Explanation, ...] = ()
    shown = [each for each in result.explanations[:start_count] if each.settings.optimiser != "draws"]
    if shown and timeout_s is None:
        starts = (await explainer.explain(_start_of(search, shown, model), artefacts=artefacts)).explanations
    scoring, unscored = None, None
    if scorer is not None and found is not None and reference is not None:
        unit = None if whole_layer else objective.unit
        try:
            scored = await scorer.score(
                result.layer_activations(),
                reference=reference,
                model=model.name,
                weights_sha256=result.summary.weights_sha256,
                layer=objective.layer,
                unit=unit,
            )
            scoring = Scoring(found, unit, scored)
        except RpcFailure as failure:
            unscored = failure
    return Run(model, objective, result, scoring, datetime.now(UTC).astimezone(), unscored, starts)


def _start_of(search: Search, explanations: Sequence[Explanation], model: Model) -> Search:
    """A search of the same rows that stays where it begins: its only step is too short to be seen or heard. Which of
    several draws a row begins with depends on its target."""
    still = STILL if model.has_gradient else STILL_WITHOUT_GRADIENT
    rows = tuple(
        Row(each.seed, settings=replace(still, target=each.settings.target, start_draws=each.settings.start_draws))
        for each in explanations
    )
    return replace(search, rows=rows, settings=Settings(), keep_count=0, nearness=ANYHOW)


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
