"""A sweep that is over as reports, one for each objective: what `earwitness sweep --out` writes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from earwitness.client.explainer import ALL_ARTEFACTS
from earwitness.client.output.report import (
    Examples,
    Outcome,
    RankedAgainst,
    RealExcerpt,
    SweepReport,
    example_ranks,
)
from earwitness.client.sweep_sources import SweepSource
from earwitness.client.sweep_values import SweepObjective, SweepResult
from earwitness.client.values import Criterion, Explanation, Model, Objective, RankedBatch, Reference, SearchSummary
from earwitness.errors import FailedPrecondition

STRONGEST = "strongest"
"""Example of a sweep without ranking: the setting with the most extreme activations."""


Explain = Callable[["Candidate", Sequence[int]], Awaitable[tuple[Explanation, ...]]]
"""The explanations, with artefacts, of some rows of a candidate's result."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting that was done: its result, the sweep that holds it, and its place where it is ranked."""

    sweep_id: str
    result: SweepResult
    ranked: RankedBatch | None = None


async def report_sweep(
    source: SweepSource,
    objective_index: int,
    *,
    example_count: int = 8,
    excerpts: Sequence[RealExcerpt] = (),
) -> SweepReport:
    """The report of one objective; its examples, the best, the median and the worst setting, are made with sound and
    picture of the first `example_count` seeds. `excerpts`, of `top_excerpts`, are set beside them.

    Raises: FailedPrecondition when nothing is done; as the source.
    """
    sweep = source.sweep
    asked = sweep.objectives[objective_index]
    results = [result for result in sweep.results_of(objective_index) if result.done]
    if not results:
        raise FailedPrecondition(f"no result of {asked.objective} is done in sweep {sweep.sweep_id}")
    ranking = sweep.ranking_of(objective_index)
    ranked = {int(each.id): each for each in ranking.batches} if ranking else {}
    against = None
    if ranking is not None and ranked and (reference := await source.reference(objective_index)) is not None:
        against = ranked_against(reference, asked, ranking.reference_version, ranking.criterion)

    async def explain(candidate: Candidate, rows: Sequence[int]) -> tuple[Explanation, ...]:
        return await source.explanations(candidate.result.index, artefacts=ALL_ARTEFACTS, rows=rows)

    return await report_candidates(
        explain,
        source.model,
        asked.objective,
        tuple(sweep.seeds),
        [Candidate(sweep.sweep_id, each, ranked.get(each.index)) for each in results],
        setting_count=len(sweep.results_of(objective_index)),
        summary=SearchSummary(
            "completed", sweep.row_step_count, sweep.search_duration_s, sweep.weights_sha256, f"sweep {sweep.sweep_id}"
        ),
        finished=sweep.end_time or datetime.now(UTC),
        against=against,
        example_count=example_count,
        excerpts=excerpts,
    )


async def report_candidates(
    explain: Explain,
    model: Model,
    objective: Objective,
    seeds: tuple[int, ...],
    candidates: Sequence[Candidate],
    *,
    setting_count: int,
    summary: SearchSummary,
    finished: datetime,
    against: RankedAgainst | None,
    example_count: int,
    excerpts: Sequence[RealExcerpt],
) -> SweepReport:
    """The report of settings that one sweep or several hold; see `report_sweep`. Raises: as `explain`."""
    outcomes = [Outcome.of(each.result, each.ranked) for each in candidates]
    places = {each.ranked.rank: index for index, each in enumerate(candidates) if each.ranked}
    if places:
        chosen = {name: places[rank] for name, rank in example_ranks(len(places)).items()}
    else:
        sign = 1 if objective.sense == "maximise" else -1
        chosen = {STRONGEST: max(range(len(outcomes)), key=lambda index: sign * outcomes[index].median)}
    rows = range(min(example_count, len(seeds)))
    examples = []
    for name, index in chosen.items():
        examples.append(Examples(name, outcomes[index], await explain(candidates[index], rows)))
    return SweepReport(
        model=model,
        objective=objective,
        seeds=seeds,
        outcomes=tuple(outcomes),
        examples=tuple(examples),
        setting_count=setting_count,
        summary=summary,
        finished=finished.astimezone(),
        against=against,
        excerpts=tuple(excerpts),
    )


def ranked_against(
    reference: Reference, asked: SweepObjective, version: str, criterion: Criterion | None = None
) -> RankedAgainst:
    """The version, `NAME/versions/N`, of a reference that an objective was ranked against."""
    found = next(each for each in reference.versions if each.name.endswith(version))
    return RankedAgainst(reference, found, None if asked.whole_layer else asked.objective.unit, criterion)
