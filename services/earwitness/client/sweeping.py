"""A sweep that is over as reports, one for each objective: what `earwitness sweep --out` writes."""

import math
from datetime import UTC, datetime

import numpy as np

from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.output.report import Examples, Outcome, RankedAgainst, SweepReport, example_ranks
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweep_values import Sweep, SweepRanking
from earwitness.client.sweeps import SweepClient
from earwitness.client.values import Reference, ReferenceVersion, SearchSummary
from earwitness.errors import FailedPrecondition

STRONGEST = "strongest"
"""Example of a sweep without ranking: the setting with the most extreme activations."""


async def report_sweep(
    sweeps: SweepClient,
    explainer: ExplainerClient,
    scorer: ScorerClient | None,
    sweep: Sweep,
    objective_index: int,
    *,
    example_count: int = 8,
) -> SweepReport:
    """The report of one objective; its examples, the best, the median and the worst setting, are made with sound and
    picture of the first `example_count` seeds.

    `scorer` is needed where the objective is ranked. Raises: RpcFailure; FailedPrecondition when nothing is done.
    """
    model = await explainer.get_model(sweep.model)
    asked = sweep.objectives[objective_index]
    results = [result for result in sweep.results_of(objective_index) if result.done]
    if not results:
        raise FailedPrecondition(f"no result of {asked.objective} is done in sweep {sweep.sweep_id}")
    ranking = sweep.ranking_of(objective_index)
    ranked = {int(each.id): each for each in ranking.batches} if ranking else {}
    outcomes = {each.index: Outcome(each.settings, each.activations, ranked.get(each.index)) for each in results}
    if ranked:
        by_rank = sorted(ranked.values(), key=lambda each: each.rank)
        chosen = {name: int(by_rank[rank - 1].id) for name, rank in example_ranks(len(by_rank)).items()}
    else:
        sign = 1 if asked.objective.sense == "maximise" else -1
        chosen = {STRONGEST: max(results, key=lambda each: sign * float(np.median(each.activations))).index}
    rows = range(min(example_count, len(sweep.seeds)))
    examples = [
        Examples(
            name,
            outcomes[index],
            await sweeps.explanations(sweep.sweep_id, index, artefacts=ALL_ARTEFACTS, rows=rows),
        )
        for name, index in chosen.items()
    ]
    against = None
    if ranking is not None and ranked and scorer is not None:
        name, _, _ = ranking.reference_version.partition("/")
        reference = await scorer.get_reference(name)
        whole = asked.whole_layer or asked.objective.unit is None
        against = RankedAgainst(reference, _version(reference, ranking), None if whole else asked.objective.unit)
    return SweepReport(
        model=model,
        objective=asked.objective,
        seeds=tuple(sweep.seeds),
        outcomes=tuple(outcomes.values()),
        examples=tuple(examples),
        setting_count=len(sweep.results_of(objective_index)),
        summary=SearchSummary(
            "completed", sweep.row_step_count, sweep.search_duration_s, sweep.weights_sha256, f"sweep {sweep.sweep_id}"
        ),
        finished=(sweep.end_time or datetime.now(UTC)).astimezone(),
        against=against,
    )


def eta(seconds: float | None) -> str:
    """Time left in words, rounded as an estimate deserves: `3 min`, `1 h 20 min`; "" without one."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _version(reference: Reference, ranking: SweepRanking) -> ReferenceVersion:
    return next(each for each in reference.versions if each.name.endswith(ranking.reference_version))
