"""From sweeps and recordings to what is judged: every explanation of three settings with sound, and real excerpts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.client.excerpts import top_excerpts
from earwitness.client.output.report import Examples, Outcome, RealExcerpt, example_ranks
from earwitness.client.sweep_sources import SweepSource, profile_of, require_weights
from earwitness.client.values import Artefact, Explanation, FloatArray, Objective
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.evidence.distances import MIN_ROWS
from earwitness.evidence.values import PLACES, Gathered
from earwitness.features import AUDIO_SEED, FeatureProfile, OnFlaw, log_flaw
from earwitness.inference.backend import InferenceBackend

Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and a few words on it."""

ROWS_AT_ONCE = 10
REAL_PER_ROW = 2
"""Real excerpts for each explanation of a setting: so as many of them as there are explanations have as many others
to be compared with."""
MIN_REAL = 2 * MIN_ROWS


@dataclass(frozen=True, eq=False)
class Chosen:
    """An objective of a finished, ranked sweep; `indices` are the results to be judged, by place in the ranking."""

    source: SweepSource
    objective: Objective
    outcomes: tuple[Outcome, ...]
    indices: dict[str, int]


async def choose(sources: Sequence[SweepSource], backend: InferenceBackend) -> tuple[Chosen, ...]:
    """Every objective of the sweeps.

    Raises: FailedPrecondition for a sweep that is not finished, or not ranked, or whose model is served with other
    weights now, by the explainer or by `backend`; InvalidArgument for an objective that is there twice or a model
    without a sound; InferenceUnavailable.
    """
    found: list[Chosen] = []
    for source in sources:
        sweep, sweep_id = source.sweep, source.sweep.sweep_id
        if sweep.state != "succeeded":
            done = sum(result.done for result in sweep.results)
            way_out = f"`earwitness sweeps watch {sweep_id}` follows it"
            if sweep.state in ("failed", "cancelled"):
                way_out = f"`earwitness sweeps resume {sweep_id}` resumes it"
            raise FailedPrecondition(
                f"sweep {sweep_id} is {sweep.state}, {done} of {len(sweep.results)} results are done; {way_out}"
            )
        model = source.model
        if model.weights_sha256 != sweep.weights_sha256:
            raise FailedPrecondition(
                f"sweep {sweep_id} is of {sweep.model} with weights {sweep.weights_sha256[:12]}, those served now are "
                f"{model.weights_sha256[:12]}; sweep again"
            )
        profile_of(model)
        await require_weights(backend, sweep)
        for index, asked in enumerate(sweep.objectives):
            if any((each.source.model.name, each.objective) == (sweep.model, asked.objective) for each in found):
                raise InvalidArgument("sweep", f"{sweep.model}: {asked.objective} is there twice; give it once")
            found.append(_chosen(source, index))
    return tuple(found)


async def gather(
    backend: InferenceBackend,
    chosen: Chosen,
    recordings: Sequence[Path],
    *,
    example_count: int,
    on_progress: Progress,
    real_count: int | None = None,
    on_flaw: OnFlaw = log_flaw,
) -> Gathered:
    """All explanations of the settings to be judged, with sound (the first `example_count` with a picture too), and the
    `real_count` real excerpts that activate the objective most; `on_flaw` is as in `top_excerpts`.

    Raises: InvalidArgument for recordings with too few excerpts; InferenceUnavailable; as the source.
    """
    sweep, model = chosen.source.sweep, chosen.source.model
    count = REAL_PER_ROW * len(sweep.seeds) if real_count is None else real_count
    (excerpts,) = await top_excerpts(
        backend,
        model=model.name,
        objectives=[chosen.objective],
        recordings=recordings,
        count=count,
        on_progress=lambda done, total: on_progress(done, total, "finding real excerpts"),
        on_flaw=on_flaw,
    )
    profile = profile_of(model)
    if len(excerpts) < MIN_REAL:
        seconds = profile.sample_count(profile.excerpt_shape[1]) / profile.sample_rate_hz
        raise InvalidArgument(
            "recordings",
            f"they hold {len(excerpts)} excerpts that do not overlap, at least {MIN_REAL} are needed and {count} are "
            f"best; one takes {seconds:.2f} s",
        )
    judged = []
    for name, index in chosen.indices.items():
        explanations = await _explanations(chosen.source, index, example_count, PLACES[name], on_progress)
        outcome = next(each for each in chosen.outcomes if each.ranked and each.ranked.id == str(index))
        judged.append(Examples(PLACES[name], outcome, explanations))
    return Gathered(
        sweep_id=sweep.sweep_id,
        model=model,
        objective=chosen.objective,
        outcomes=chosen.outcomes,
        judged=tuple(judged),
        excerpts=excerpts,
        real_sounds=_sounds(profile, excerpts, on_progress),
    )


async def _explanations(
    source: SweepSource, index: int, example_count: int, place: str, on_progress: Progress
) -> tuple[Explanation, ...]:
    found: list[Explanation] = []
    count = len(source.sweep.seeds)
    rows = list(range(count))
    parts = [rows[:example_count]] if example_count else []
    parts += [rows[start : start + ROWS_AT_ONCE] for start in range(example_count, count, ROWS_AT_ONCE)]
    for part in parts:
        artefacts: tuple[Artefact, ...] = ("audio",) if part[0] >= example_count else ("audio", "picture")
        found += await source.explanations(index, artefacts=artefacts, rows=part)
        on_progress(len(found), count, f"sounds of the {place} setting")
    return tuple(found)


def _chosen(source: SweepSource, index: int) -> Chosen:
    sweep = source.sweep
    objective, ranking = sweep.objectives[index].objective, sweep.ranking_of(index)
    if ranking is None or not ranking.batches:
        why = f" ({ranking.error})" if ranking is not None and ranking.error else ""
        raise FailedPrecondition(
            f"sweep {sweep.sweep_id} has no ranking of {objective}{why}: `earwitness sweeps rank {sweep.sweep_id} "
            "--reference NAME` ranks it"
        )
    ranked = {int(each.id): each for each in ranking.batches}
    if len(ranked) < 2:
        raise FailedPrecondition(f"sweep {sweep.sweep_id} ranked one setting; evidence compares several")
    by_rank = sorted(ranked.values(), key=lambda each: each.rank)
    outcomes = tuple(
        Outcome.of(result, ranked[result.index]) for result in sweep.results_of(index) if result.index in ranked
    )
    places = {name: int(by_rank[rank - 1].id) for name, rank in example_ranks(len(by_rank)).items()}
    return Chosen(source, objective, outcomes, places)


def _sounds(profile: FeatureProfile, excerpts: Sequence[RealExcerpt], on_progress: Progress) -> tuple[FloatArray, ...]:
    sounds = []
    for done, each in enumerate(excerpts, 1):
        sounds.append(profile.invert(each.spectrogram, AUDIO_SEED).waveform)
        on_progress(done, len(excerpts), "sounds of real excerpts")
    return tuple(np.asarray(each, np.float32) for each in sounds)
