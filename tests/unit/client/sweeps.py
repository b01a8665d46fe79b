"""A sweep as the clients return it: the paper's grid, with distances shaped like the paper's."""

from dataclasses import replace
from itertools import product

import numpy as np

from earwitness.client.output import Examples, Outcome, RankedAgainst, RealExcerpt, SweepReport, example_ranks
from earwitness.client.saved_sweep import SavedSweep
from earwitness.client.sweep_values import Sweep, SweepObjective, SweepRanking, SweepResult
from earwitness.client.values import (
    Objective,
    RankedBatch,
    Reference,
    ReferenceIdentity,
    ReferenceVersion,
    SearchSummary,
    Selection,
    Sense,
    Settings,
)
from tests.unit.client.runs import MODEL, NOW, PNG, WAV, WEIGHTS, explanation, score

SEEDS = tuple(range(5))
STEPS, RATES, PRIORS = (100, 500, 1000), (0.1, 0.01, 0.001), (0.1, 0.01, 0.001)
PAPER = tuple(Settings("adam", rate, prior, steps, 0.0) for rate, prior, steps in product(RATES, PRIORS, STEPS))

VERSION = ReferenceVersion("references/top50/versions/2", 400, 50, NOW, 1.0, 9.0)
IDENTITY = ReferenceIdentity(MODEL.name, WEIGHTS, "fc9", 2, MODEL.feature_profile)
REFERENCE = Reference("top50", IDENTITY, Selection("top", 0, 50), "a & b", 400, 7, (VERSION,), "etag", NOW)


def distance_of(settings: Settings) -> float:
    rate, prior, steps = settings.learning_rate or 0, settings.prior_weight or 0, settings.steps or 0
    return 1.5 + (rate * steps) ** 2 / (1 + 100 * prior) + prior + 3e-3 / rate


def outcomes_of(settings: tuple[Settings, ...], *, ranked: bool = True) -> tuple[Outcome, ...]:
    distances = [distance_of(each) for each in settings]
    ranks = {index: rank for rank, index in enumerate(np.argsort(distances), 1)}
    found = []
    for index, (each, distance) in enumerate(zip(settings, distances, strict=True)):
        activations = (2 + np.sqrt(distance) * np.linspace(0.8, 1.2, len(SEEDS))).astype(np.float32)
        placed = RankedBatch(
            str(index), ranks[index],
            score(distance, row_count=len(SEEDS), interval_low=0.7 * distance, interval_high=1.6 * distance),
            {1: 0.75, 2: 0.25}.get(ranks[index], 0.0), distance > 100,
        )  # fmt: skip
        found.append(Outcome(each, activations, placed if ranked else None))
    return tuple(found)


def saved_of(*senses: Sense, settings: tuple[Settings, ...] = PAPER, undone: int = 1) -> SavedSweep:
    """The same as a saved sweep of an objective for each sense, its last `undone` settings not done."""
    outcomes, results, rankings = outcomes_of(settings), [], []
    for objective in range(len(senses)):
        for number, each in enumerate(outcomes):
            index = objective * len(outcomes) + number
            if number >= len(outcomes) - undone:
                results.append(SweepResult.to_do(index, objective, each.settings))
                continue
            rng = np.random.default_rng(index)
            results.append(
                SweepResult(
                    index, objective, each.settings, True, each.activations, rng.integers(0, 9, len(SEEDS)),
                    rng.integers(-1, 9, len(SEEDS)), rng.standard_normal((len(SEEDS), 4), np.float32),
                    rng.standard_normal((len(SEEDS), 2 + objective), np.float32),
                )
            )  # fmt: skip
        places = [replace(each.ranked, id=str(index)) for index, each in enumerate(outcomes[:-undone]) if each.ranked]
        rankings.append(SweepRanking(objective, "top50/versions/2", tuple(places), ""))
    objectives = [SweepObjective(Objective("fc9", 0, sense), "top50") for sense in senses]
    found = Sweep(
        "s1", MODEL.name, WEIGHTS, tuple(objectives), range(3, 3 + len(SEEDS)), "cancelled", tuple(results),
        tuple(rankings), 43200, 12.5, NOW, NOW, "s0",
    )  # fmt: skip
    return SavedSweep(found, MODEL, (REFERENCE,) * len(senses))


def sweep(
    settings: tuple[Settings, ...] = PAPER, sense: Sense = "maximise", *, ranked: bool = True, excerpts: int = 3
) -> SweepReport:
    outcomes = outcomes_of(settings, ranked=ranked)
    examples = []
    for name, rank in example_ranks(len(outcomes)).items():
        outcome = next(each for each in outcomes if each.ranked is None or each.ranked.rank == rank)
        found = [replace(explanation(index, sense, 40), settings=outcome.settings) for index in range(2)]
        examples.append(Examples(name, outcome, tuple(found)))
    return SweepReport(
        model=MODEL,
        objective=Objective("fc9", 0, sense),
        seeds=SEEDS,
        outcomes=outcomes,
        examples=tuple(examples if ranked else examples[:1]),
        setting_count=len(settings),
        summary=SearchSummary("completed", 43200, 12.5, WEIGHTS, "onnxruntime in process"),
        finished=NOW,
        against=RankedAgainst(REFERENCE, VERSION, 0) if ranked else None,
        excerpts=tuple(
            RealExcerpt(f"song & {index}.ogg, {index}.5 s", 8.0 - index, np.zeros((2, 3), np.float32), WAV, PNG)
            for index in range(excerpts)
        ),
    )


SAVED = saved_of("maximise")
