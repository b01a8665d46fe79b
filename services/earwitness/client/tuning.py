"""A search over open ranges of settings: batches of trials, each one sweep, scored and recorded in a study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import grpc

from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.fitting import require_selection, require_source
from earwitness.client.output.report import RealExcerpt, SweepReport
from earwitness.client.saved_sweep import SavedSweep
from earwitness.client.scorer import ScorerClient
from earwitness.client.study import Batch, Study
from earwitness.client.sweep_values import Sweep, SweepPlan, SweepProgress, SweepRanking
from earwitness.client.sweeping import Candidate, ranked_against, report_candidates
from earwitness.client.sweeps import SweepClient
from earwitness.client.tuning_values import TuningPlan
from earwitness.client.values import Explanation, FloatArray, SearchSummary, Settings
from earwitness.errors import EarwitnessError, FailedPrecondition
from earwitness.vocabulary.names import short

Update = Callable[[SweepProgress, int], None]
"""Told how the sweep of a batch goes, and the trials done before it."""


class BatchFailed(EarwitnessError):
    """The sweep of a batch ended without results."""

    code = "FAILED_PRECONDITION"
    reason = "BATCH_FAILED"


@dataclass(frozen=True)
class Tuned:
    """What a study found: all settings of all its batches, none twice, the best first."""

    candidates: tuple[Candidate, ...]
    trial_count: int
    sweep_ids: tuple[str, ...]
    row_step_count: int
    search_duration_s: float
    reference_version: str


async def pinned(scorer: ScorerClient, plan: TuningPlan) -> TuningPlan:
    """The plan with a version of its reference, the newest unless it names one: all batches are to be compared.

    Raises: RpcFailure; FailedPrecondition for a reference without any version; InvalidArgument for one of other
    activations.
    """
    asked = plan.objective
    assert asked.reference is not None
    found = await scorer.get_reference(short(asked.reference).partition("/")[0])
    require_source(found, plan.model, plan.weights_sha256, asked.objective.layer)
    require_selection(found, asked.objective)
    if "/" in short(asked.reference):
        return plan
    if not found.versions:
        raise FailedPrecondition(f"reference {found.name} has no version yet; build it to the end first")
    return replace(plan, objective=replace(asked, reference=short(found.versions[-1].name)))


async def tune(
    sweeps: SweepClient,
    scorer: ScorerClient,
    plan: TuningPlan,
    study: Study,
    *,
    trials: int,
    batch_size: int,
    on_progress: Update | None = None,
) -> Tuned:
    """Go on with the study until it has so many trials, `batch_size` of them in one sweep, and rank all together.

    Raises: RpcFailure; BatchFailed. What was done until then is kept by the explainer and by the study; a batch that is
    refused is not, so that a smaller one can be tried.
    """
    while (batch := study.open_batch()) is not None or study.trial_count < trials:
        batch = batch or study.ask(min(batch_size, trials - study.trial_count))
        try:
            sweep = await _sweep(sweeps, plan, batch, study.trial_count - len(batch.trials), on_progress)
        except RpcFailure as failure:
            if failure.code is grpc.StatusCode.INVALID_ARGUMENT:  # it would be refused for ever
                study.drop(batch)
            raise
        study.tell(batch, await _distances(sweeps, sweep, batch))
    return await _ranked(sweeps, scorer, plan, study)


async def save_tuned(explainer: ExplainerClient, scorer: ScorerClient, plan: TuningPlan, tuned: Tuned) -> SavedSweep:
    """All settings of all batches as one sweep, whose id names all of theirs. Raises: RpcFailure."""
    now = datetime.now(UTC)
    places = [replace(each.ranked, id=str(index)) for index, each in enumerate(tuned.candidates) if each.ranked]
    sweep = Sweep(
        sweep_id=", ".join(tuned.sweep_ids),
        model=plan.model,
        weights_sha256=plan.weights_sha256,
        objectives=(plan.objective,),
        seeds=range(plan.first_seed, plan.first_seed + plan.seed_count),
        state="succeeded",
        results=tuple(replace(each.result, index=index) for index, each in enumerate(tuned.candidates)),
        rankings=(SweepRanking(0, tuned.reference_version, tuple(places), ""),),
        row_step_count=tuned.row_step_count,
        search_duration_s=tuned.search_duration_s,
        create_time=now,
        end_time=now,
    )
    reference = await scorer.get_reference(tuned.reference_version.partition("/")[0])
    return SavedSweep(sweep, await explainer.get_model(plan.model), (reference,))


async def report_tuned(
    sweeps: SweepClient,
    saved: SavedSweep,
    plan: TuningPlan,
    tuned: Tuned,
    *,
    example_count: int = 8,
    excerpts: Sequence[RealExcerpt] = (),
) -> SweepReport:
    """The report of all settings, `saved` by `save_tuned`; see `report_sweep`. Raises: RpcFailure."""
    (reference,) = saved.references
    assert reference is not None

    async def explain(candidate: Candidate, rows: Sequence[int]) -> tuple[Explanation, ...]:
        result = candidate.result
        return await sweeps.explanations(candidate.sweep_id, result.index, artefacts=ALL_ARTEFACTS, rows=rows)

    return await report_candidates(
        explain,
        saved.model,
        plan.objective.objective,
        tuple(saved.sweep.seeds),
        tuned.candidates,
        setting_count=len(tuned.candidates),
        summary=SearchSummary(
            "completed",
            tuned.row_step_count,
            tuned.search_duration_s,
            plan.weights_sha256,
            f"{tuned.trial_count} trials in {len(tuned.sweep_ids)} sweeps",
        ),
        finished=saved.sweep.create_time,
        against=ranked_against(reference, plan.objective, tuned.reference_version),
        example_count=example_count,
        excerpts=excerpts,
    )


async def _sweep(
    sweeps: SweepClient, plan: TuningPlan, batch: Batch, trials_before: int, on_progress: Update | None
) -> Sweep:
    """The batch's sweep when it is over: the one that the same batch started before, or a new one."""
    asked = SweepPlan(plan.model, [plan.objective], batch.settings, plan.seed_count, plan.first_seed)
    started = await sweeps.create(asked, request_id=batch.request_id)
    async for progress in sweeps.watch(started.sweep_id):
        if on_progress is not None:
            on_progress(progress, trials_before)
    ended = await sweeps.progress(started.sweep_id)
    if ended.state != "succeeded":
        why = ended.error or "no reason given"
        raise BatchFailed(
            f"sweep {ended.sweep_id} of the batch was {ended.state}: {why}; delete it "
            f"(`earwitness sweeps delete {ended.sweep_id}`) and run the same command to try the batch again"
        )
    return await sweeps.get(started.sweep_id)


async def _distances(sweeps: SweepClient, sweep: Sweep, batch: Batch) -> dict[Settings, float]:
    """The distance of each of the batch's settings. Raises: BatchFailed when the scorer gives none."""
    ranking = sweep.ranking_of(0)
    if ranking is None or ranking.error:
        try:
            (ranking,) = await sweeps.rank(sweep.sweep_id)
        except RpcFailure as err:
            raise BatchFailed(
                f"sweep {sweep.sweep_id} is not ranked: {err.message}; run the same command to go on"
            ) from err
    return {batch.settings[int(each.id)]: each.score.distance for each in ranking.batches}


async def _ranked(sweeps: SweepClient, scorer: ScorerClient, plan: TuningPlan, study: Study) -> Tuned:
    """Every setting of every batch, ranked together: probabilities and intervals are of all of them."""
    candidates: dict[Settings, Candidate] = {}
    held = []
    for batch in study.batches:
        sweep = await _sweep(sweeps, plan, batch, study.trial_count, None)
        held.append(sweep)
        new = [index for index, settings in enumerate(batch.settings) if settings not in candidates]
        results = await sweeps.results(sweep.sweep_id, new)
        candidates |= {batch.settings[each.index]: Candidate(sweep.sweep_id, each) for each in results}
    found = list(candidates.values())
    asked = plan.objective
    assert asked.reference is not None
    ranking = await scorer.rank(
        # Equal distances keep their order.
        {f"{index:06d}": _layer_activations(each) for index, each in enumerate(found)},
        reference=asked.reference,
        model=plan.model,
        weights_sha256=plan.weights_sha256,
        layer=asked.objective.layer,
        unit=None if asked.whole_layer else asked.objective.unit,
    )
    return Tuned(
        tuple(replace(found[int(each.id)], ranked=each) for each in ranking.batches),
        study.trial_count,
        tuple(each.sweep_id for each in held),
        sum(each.row_step_count for each in held),
        sum(each.search_duration_s for each in held),
        short(ranking.version.name),
    )


def _layer_activations(candidate: Candidate) -> FloatArray:
    assert candidate.result.layer_activations is not None
    return candidate.result.layer_activations
