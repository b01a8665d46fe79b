"""A sweep beside its settings searched one at a time: `bench_sweep.py [--json PATH]`.

Three ways go through the same running services, in turns, in one run on one machine, with a shipped model:

- sweep: CreateSweep over the grid, until all results are there;
- alone: Explain for one setting after another, all its rows together, as one would without sweeps;
- row by row: Explain for one row after another, as the paper's authors searched.

By default the sweep is of a slice of the paper's grid, its rates and priors with few steps and seeds; `--seeds 50` has
the grid's batches, `--whole` is the grid itself, 27 settings of 50 seeds. Of the other two ways some settings are
measured, before and after each sweep. The hours of the grid are its row-steps at these speeds. What a call costs beside
its steps weighs more in short searches, so these settings are of many steps (`--alone-steps`).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import (
    PAPER_GRID,
    ExplainerClient,
    Grid,
    Objective,
    Row,
    Search,
    Settings,
    Sweep,
    SweepClient,
    SweepObjective,
    SweepPlan,
)
from tests.helpers.machine import machine

PAPER_SEEDS = 50
SWEEP, ALONE, ROW_BY_ROW = "sweep", "alone", "row by row"


@dataclass(frozen=True)
class Turn:
    """One turn of one way: seconds, the row-steps done in them, and what was found, by (result, row)."""

    seconds: float
    row_steps: int
    activations: dict[tuple[int, int], float]


def sweep_row_steps(grid: Grid, seeds: int) -> int:
    """Steps summed over the rows of a sweep with Adam: the longest run of each rate and prior holds the shorter."""
    return len(grid.learning_rates) * len(grid.prior_weights) * max(grid.steps) * seeds


def alone_row_steps(grid: Grid, seeds: int) -> int:
    """Steps summed over the rows when each setting is searched for itself."""
    return len(grid.learning_rates) * len(grid.prior_weights) * sum(grid.steps) * seeds


def settings_of(grid: Grid) -> list[Settings]:
    """The settings in the order of a sweep's results."""
    values = product(grid.learning_rates, grid.prior_weights, grid.steps)
    return [Settings("adam", rate, prior, steps) for rate, prior, steps in values]


async def swept(sweeps: SweepClient, plan: SweepPlan) -> tuple[Sweep, Turn]:
    began = time.perf_counter()
    started = await sweeps.create(plan)
    async for _ in sweeps.watch(started.sweep_id):
        pass
    seconds = time.perf_counter() - began
    ended = await sweeps.progress(started.sweep_id)
    if ended.state != "succeeded":
        raise SystemExit(f"sweep {ended.sweep_id} {ended.state}: {ended.error}")
    found = await sweeps.get(started.sweep_id)
    activations = {
        (each.index, row): float(value) for each in found.results for row, value in enumerate(each.activations)
    }
    return found, Turn(seconds, found.row_step_count, activations)


async def explained(
    explainer: ExplainerClient, plan: SweepPlan, chosen: Sequence[tuple[int, Settings, Sequence[int]]]
) -> Turn:
    """One Explain for each of `chosen`: the number of its result, its settings, its rows."""
    activations, seconds, row_steps = {}, 0.0, 0
    for number, settings, rows in chosen:
        search = Search(plan.model, tuple(map(Row, rows)), plan.objectives[0].objective, settings)
        began = time.perf_counter()
        result = await explainer.explain(search)
        seconds += time.perf_counter() - began
        row_steps += result.summary.row_step_count
        activations |= {(number, each.seed): each.activation for each in result.explanations}
    return Turn(seconds, row_steps, activations)


async def measure(options: argparse.Namespace, grid: Grid) -> dict[str, Any]:
    every = settings_of(grid)
    fit = [(number, each) for number, each in enumerate(every) if each.steps == options.alone_steps]
    slices = options.turns + 1
    picked = [fit[index] for index in np.linspace(0, len(fit) - 1, slices).round().astype(int)]
    turns: dict[str, list[Turn]] = {SWEEP: [], ALONE: [], ROW_BY_ROW: []}
    with tempfile.TemporaryDirectory(prefix="earwitness-bench-") as work:
        settings = StackSettings(
            options.model_repository, Path(work), options.backend, ports=Ports(0, 0, 0, 0, 0, 0), inherit=False
        )
        async with (
            Stack(settings) as stack,
            ExplainerClient(stack.endpoints.explainer) as explainer,
            SweepClient(stack.endpoints.explainer) as sweeps,
        ):
            model = await explainer.get_model(options.model)
            plan = SweepPlan(model.name, [SweepObjective(Objective(model.output_layer.name, 0))], grid, options.seeds)
            for rows in ([0], range(options.seeds)):  # warm, at each batch size
                await explained(explainer, plan, [(0, Settings(steps=2), rows)])
            for index, (number, each) in enumerate(picked):
                turns[ALONE].append(await explained(explainer, plan, [(number, each, range(options.seeds))]))
                single = [(number, each, [row]) for row in range(min(options.rows, options.seeds))]
                turns[ROW_BY_ROW].append(await explained(explainer, plan, single))
                if index < options.turns:
                    found, turn = await swept(sweeps, plan)
                    turns[SWEEP].append(turn)
            described = stack.endpoints.backend
    assert [each.settings.steps for each in found.results] == [each.steps for each in every]
    expected = turns[SWEEP][-1].activations
    others = [item for way in (ALONE, ROW_BY_ROW) for turn in turns[way] for item in turn.activations.items()]
    paper = {SWEEP: sweep_row_steps(PAPER_GRID, PAPER_SEEDS)}
    paper |= dict.fromkeys((ALONE, ROW_BY_ROW), alone_row_steps(PAPER_GRID, PAPER_SEEDS))
    return {
        "machine": machine(), "backend": described, "model": options.model,
        "grid": {"settings": len(every), "steps": list(grid.steps), "seeds": options.seeds},
        "alone_steps": options.alone_steps,
        "ways": {way: _figures(found, paper[way]) for way, found in turns.items()},
        "largest_difference": max(abs(value - expected[place]) for place, value in others),
    }  # fmt: skip


def _figures(turns: Sequence[Turn], paper_row_steps: int) -> dict[str, Any]:
    seconds, row_steps = sum(each.seconds for each in turns), sum(each.row_steps for each in turns)
    speeds = [each.row_steps / each.seconds for each in turns]
    return {
        "turns": len(turns), "seconds": seconds, "row_steps": row_steps, "row_steps_per_s": row_steps / seconds,
        "spread": (max(speeds) - min(speeds)) / statistics.median(speeds),
        "paper_row_steps": paper_row_steps, "paper_hours": paper_row_steps * seconds / row_steps / 3600,
    }  # fmt: skip


def print_figures(body: dict[str, Any]) -> None:
    """The table, and what follows from it for the paper's grid."""
    grid, ways = body["grid"], body["ways"]
    print(f"{grid['settings']} settings × {grid['seeds']} seeds of {body['model']}, {body['backend']}, in turns;")
    print(f"alone and row by row: settings of {body['alone_steps']} steps. The last columns are the paper's grid,")
    print(f"27 settings × {PAPER_SEEDS} seeds, estimated at these speeds")
    print("way          turns  row-steps   seconds  row-steps/s  spread   paper's row-steps    hours")
    for way, each in ways.items():
        measured = f"{each['turns']:5} {each['row_steps']:10} {each['seconds']:9.1f} {each['row_steps_per_s']:12.1f}"
        print(f"{way:12} {measured} {each['spread']:7.0%} {each['paper_row_steps']:19} {each['paper_hours']:8.2f}")
    for way in (ALONE, ROW_BY_ROW):
        times = ways[way]["paper_hours"] / ways[SWEEP]["paper_hours"]
        print(f"the sweep takes the paper's grid {times:.2f} times as fast as its settings {way}")
    print(f"activations of the same settings and seeds differ by {body['largest_difference']:.1e} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="svd-r1", help="a model of the repository (default: svd-r1)")
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--backend", choices=("triton", "local"), help="default: Triton where it can run")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20], help="step counts (default: 5 10 20)")
    parser.add_argument("--seeds", type=int, default=8, help="rows of each setting (default: 8)")
    parser.add_argument("--turns", type=int, default=2, help="sweeps; slices go before, between and after (default: 2)")
    parser.add_argument("--rows", type=int, default=2, help="rows of a slice that go one by one (default: 2)")
    parser.add_argument(
        "--alone-steps", type=int, help="steps of a slice's settings; default: the most, of --whole 100"
    )
    parser.add_argument(
        "--whole", action="store_true", help="the paper's grid itself: 450 000 row-steps a turn, hours on a CPU"
    )
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    grid = replace(PAPER_GRID, steps=tuple(options.steps))
    if options.whole:
        grid, options.seeds = PAPER_GRID, PAPER_SEEDS
    options.alone_steps = options.alone_steps or (min(grid.steps) if options.whole else max(grid.steps))
    if options.alone_steps not in grid.steps:
        parser.error(f"--alone-steps {options.alone_steps} is not among the steps {grid.steps}")
    body = asyncio.run(measure(options, grid))
    print_figures(body)
    if options.json:
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
