"""Finds explanations by each way through an explainer, and references of the recordings that teach."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from earwitness.client.explainer import ExplainerClient
from earwitness.client.references import BuildProgress, build_reference
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweep_sources import SweepSource
from earwitness.client.values import Explanation, Model, Objective, Row, Search, Selection, SelectionKind, Settings
from earwitness.errors import InvalidArgument
from earwitness.evidence.ways.detectors import Sound
from earwitness.evidence.ways.measure import Progress
from earwitness.evidence.ways.plan import PUBLISHED, Way
from earwitness.evidence.ways.values import Batch, Cost, Group
from earwitness.features import OnFlaw
from earwitness.inference.backend import InferenceBackend

PUBLISHED_SETTINGS = Settings("adam", 0.01, 0.001, 100)
"""Chosen by the published rule for "vocal" (arXiv:1904.09533): what stands for it where no sweep is given."""
ROWS_AT_ONCE = 10
Pair = tuple[Objective, Objective]


@dataclass(frozen=True)
class Services:
    """What explains, scores and runs the models."""

    explainer: ExplainerClient
    scorer: ScorerClient
    backend: InferenceBackend


@dataclass(frozen=True)
class Found:
    """The explanations of one objective, and what each of them took."""

    explanations: tuple[Explanation, ...]
    cost: Cost


async def build_references(
    services: Services,
    model: Model,
    objectives: Pair,
    recordings: Sequence[Path],
    kept: int,
    on_flaw: OnFlaw,
    on_progress: Progress,
) -> tuple[str, str]:
    """The names of references of both objectives that keep `kept` excerpts of the recordings in every layer; those that
    are there already are used.

    Raises: as `build_reference`.
    """
    digest = hashlib.sha256()
    for each in recordings:
        digest.update(hashlib.sha256(each.read_bytes()).digest())
    names = []
    for objective in objectives:
        kind: SelectionKind = "top" if objective.sense == "maximise" else "bottom"
        name = f"ways-{model.name}-{objective.layer}-{objective.unit}-{kind}{kept}-{digest.hexdigest()[:8]}"
        await build_reference(
            services.scorer,
            services.backend,
            name,
            model=model.name,
            layer=objective.layer,
            keep_layers=[each.name for each in model.layers],
            selection=Selection(kind, objective.unit, kept),
            recordings=recordings,
            description=f"{len(recordings)} recordings, for evidence of ways to search",
            on_progress=partial(_told, on_progress, name),
            on_flaw=on_flaw,
        )
        names.append(name)
    return names[0], names[1]


async def found_by(
    services: Services,
    model: Model,
    way: Way,
    objectives: Pair,
    references: tuple[str, str],
    keep_count: int,
    on_progress: Progress,
) -> Group:
    """The explanations of a way. Draws, which rows share whatever their objectives, are searched for both at once.

    Raises: RpcFailure.
    """
    pairs = list(zip(objectives, references, strict=True))
    searches = [pairs] if way.settings.optimiser == "draws" else [[each] for each in pairs]
    found: dict[Objective, Found] = {}
    for asked in searches:
        rows = [Row(seed, objective, reference=name) for objective, name in asked for seed in range(way.row_count)]
        search = Search(
            model.name, tuple(rows), settings=way.settings, keep_count=keep_count if way.row_count > keep_count else 0
        )
        result = await services.explainer.explain(
            search,
            artefacts=["audio"],
            on_progress=lambda event: on_progress(event.step, event.step_count, f"searching by {way.name}"),
        )
        summary, count = result.summary, len(result.explanations)
        cost = Cost(summary.evaluation_count / count, summary.search_duration_s / count)
        for objective, _ in asked:
            found[objective] = Found(tuple(each for each in result.explanations if each.objective == objective), cost)
    return await _group(
        services, model, way.name, way.words, objectives, references, [found[each] for each in objectives]
    )


async def published(
    services: Services,
    model: Model,
    sweeps: Sequence[SweepSource],
    objectives: Pair,
    references: tuple[str, str],
    keep_count: int,
    on_progress: Progress,
) -> Group:
    """What the published rule finds: of swept settings the one whose activations are nearest to the reference's, or,
    without sweeps, its setting for "vocal".

    The cost is that of a whole sweep, which the rule needs, for each explanation of the setting that it chooses.

    Raises: InvalidArgument for sweeps that lack an objective; RpcFailure.
    """
    if not sweeps:
        words = "the setting that was published for “vocal”, not chosen here"
        way = Way(PUBLISHED, words, PUBLISHED_SETTINGS, keep_count)
        return await found_by(services, model, way, objectives, references, keep_count, on_progress)
    found = []
    for objective, reference in zip(objectives, references, strict=True):
        source, index = _swept(sweeps, model, objective)
        results = [each for each in source.sweep.results_of(index) if each.done]
        batches = {str(each.index): each.activations[:, np.newaxis] for each in results}
        ranking = await services.scorer.rank(
            batches,
            reference=reference,
            model=model.name,
            weights_sha256=model.weights_sha256,
            layer=objective.layer,
            unit=objective.unit,
        )
        best = int(min(ranking.batches, key=lambda each: each.rank).id)
        rows = list(range(min(keep_count, len(source.sweep.seeds))))
        explanations: list[Explanation] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            explanations += await source.explanations(best, artefacts=("audio",), rows=part)
            on_progress(len(explanations), len(rows), "sounds of the published rule's choice")
        sweep, count = source.sweep, len(source.sweep.seeds)
        cost = Cost(sweep.row_step_count / count, sweep.search_duration_s / count)
        found.append(Found(tuple(explanations), cost))
    words = f"of {len(results)} swept settings the one that the unit's Fréchet distance chooses"
    return await _group(services, model, PUBLISHED, words, objectives, references, found)


def _told(on_progress: Progress, name: str, event: BuildProgress) -> None:
    on_progress(event.done_count, event.recording_count, f"reference {name}")


def _swept(sweeps: Sequence[SweepSource], model: Model, objective: Objective) -> tuple[SweepSource, int]:
    for source in sweeps:
        if (source.sweep.model, source.model.weights_sha256) == (model.name, model.weights_sha256):
            for index, asked in enumerate(source.sweep.objectives):
                if asked.objective == objective:
                    return source, index
    raise InvalidArgument(
        "sweep", f"none is of {model.name}, as it is served now: {objective}; give one, or none at all"
    )


async def _group(
    services: Services,
    model: Model,
    name: str,
    words: str,
    objectives: Pair,
    references: tuple[str, str],
    found: Sequence[Found],
) -> Group:
    scores = []
    for objective, reference, each in zip(objectives, references, found, strict=True):
        scored = await services.scorer.score(
            np.stack([one.layer_activations for one in each.explanations]),
            reference=reference,
            model=model.name,
            weights_sha256=model.weights_sha256,
            layer=objective.layer,
            unit=objective.unit,
        )
        scores.append(scored.score)
    high, low = (_batch(each.explanations) for each in found)
    return Group(
        name,
        words,
        high,
        low,
        settings=tuple(each.explanations[0].settings for each in found),
        scores=tuple(scores),
        costs=tuple(each.cost for each in found),
    )


def _batch(explanations: Sequence[Explanation]) -> Batch:
    return Batch(
        np.array([each.activation for each in explanations], np.float64),
        np.stack([each.spectrogram for each in explanations]),
        tuple(map(_sound, explanations)),
        tuple(f"seed {each.seed}, activation {each.activation:.3g}" for each in explanations),
    )


def _sound(explanation: Explanation) -> Sound:
    import soundfile

    waveform, rate_hz = soundfile.read(io.BytesIO(explanation.audio_wav or b""), dtype="float32")
    return waveform, int(rate_hz)
