"""A sweep beside its settings searched one at a time: `bench_sweep.py [--json PATH]`.

Both ways go through the same running services, in one run on one machine, with a shipped model:

- sweep: CreateSweep over the grid, until all results are there;
- alone: Explain for some of the settings, one after another, as without sweeps. The others are extrapolated: their
  row-steps at the speed of these.

By default a slice of the paper's grid, its rates and priors with few steps and seeds; `--whole` is the grid itself,
27 settings of 50 seeds.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import (
    PAPER_GRID,
    ExplainerClient,
    Grid,
    Objective,
    Search,
    Settings,
    Sweep,
    SweepClient,
    SweepObjective,
    SweepPlan,
)
from tests.benchmarks.bench_row_steps import machine

PAPER_SEEDS = 50


@dataclass(frozen=True)
class Way:
    """One way of searching: seconds, and the row-steps done in them."""

    seconds: float
    row_steps: int

    @property
    def speed(self) -> float:
        """Row-steps per second."""
        return self.row_steps / self.seconds


def sweep_row_steps(grid: Grid, seeds: int) -> int:
    """Steps summed over the rows of a sweep with Adam: the longest run of each rate and prior holds the shorter."""
    return len(grid.learning_rates) * len(grid.prior_weights) * max(grid.steps) * seeds


def alone_row_steps(grid: Grid, seeds: int) -> int:
    """Steps summed over the rows when each setting is searched for itself."""
    return len(grid.learning_rates) * len(grid.prior_weights) * sum(grid.steps) * seeds


async def swept(sweeps: SweepClient, plan: SweepPlan) -> tuple[Sweep, Way]:
    began = time.perf_counter()
    started = await sweeps.create(plan)
    async for _ in sweeps.watch(started.sweep_id):
        pass
    seconds = time.perf_counter() - began
    ended = await sweeps.progress(started.sweep_id)
    if ended.state != "succeeded":
        raise SystemExit(f"sweep {ended.sweep_id} {ended.state}: {ended.error}")
    found = await sweeps.get(started.sweep_id)
    return found, Way(seconds, found.row_step_count)


async def alone(
    explainer: ExplainerClient, plan: SweepPlan, settings: Sequence[Settings]
) -> tuple[list[np.ndarray], Way]:
    objective = plan.objectives[0].objective
    activations, seconds, row_steps = [], 0.0, 0
    for each in settings:
        search = Search.of(plan.model, objective, row_count=plan.seed_count, settings=each)
        began = time.perf_counter()
        result = await explainer.explain(search)
        seconds += time.perf_counter() - began
        row_steps += result.summary.row_step_count
        activations.append(result.activations())
    return activations, Way(seconds, row_steps)


async def measure(options: argparse.Namespace, grid: Grid) -> dict[str, Any]:
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
            objective = Objective(model.output_layer.name, 0)
            plan = SweepPlan(model.name, [SweepObjective(objective)], grid, options.seeds)
            warm = Search.of(model.name, objective, row_count=options.seeds, settings=Settings(steps=2))
            await explainer.explain(warm)
            found, together = await swept(sweeps, plan)
            count = min(options.alone, len(found.results))
            picked = [
                found.results[index] for index in np.linspace(0, len(found.results) - 1, count).round().astype(int)
            ]
            activations, single = await alone(explainer, plan, [each.settings for each in picked])
            described = stack.endpoints.backend
    difference = max(
        float(np.abs(mine - each.activations).max()) for mine, each in zip(activations, picked, strict=True)
    )
    every = alone_row_steps(grid, options.seeds)
    return {
        "machine": machine(), "backend": described, "model": options.model,
        "grid": {"settings": len(found.results), "steps": list(grid.steps), "seeds": options.seeds},
        "sweep": {"seconds": together.seconds, "row_steps": together.row_steps, "row_steps_per_s": together.speed},
        "alone": {
            "settings_measured": count, "seconds": single.seconds, "row_steps": single.row_steps,
            "row_steps_per_s": single.speed, "row_steps_of_all": every,
            "seconds_of_all": single.seconds if count == len(found.results) else every / single.speed,
            "extrapolated": count < len(found.results),
        },
        "largest_difference": difference,
        "paper_grid": {
            "sweep_row_steps": sweep_row_steps(PAPER_GRID, PAPER_SEEDS),
            "sweep_seconds": sweep_row_steps(PAPER_GRID, PAPER_SEEDS) / together.speed,
            "alone_row_steps": alone_row_steps(PAPER_GRID, PAPER_SEEDS),
            "alone_seconds": alone_row_steps(PAPER_GRID, PAPER_SEEDS) / single.speed,
        },
    }  # fmt: skip


def print_figures(model: str, body: dict[str, Any]) -> None:
    """The table, and what follows from it for the paper's grid."""
    grid, sweep, single, paper = (body[name] for name in ("grid", "sweep", "alone", "paper_grid"))
    part = f"{single['settings_measured']} of {grid['settings']} settings"
    how = f"extrapolated from {part}" if single["extrapolated"] else "all measured"
    print(f"{grid['settings']} settings × {grid['seeds']} seeds of {model}, {body['backend']}")
    print("way     row-steps   seconds   row-steps/s")
    print(f"sweep  {sweep['row_steps']:10} {sweep['seconds']:9.1f} {sweep['row_steps_per_s']:13.1f}")
    ran = single["row_steps_of_all"], single["seconds_of_all"], single["row_steps_per_s"]
    print("alone  {:10} {:9.1f} {:13.1f}   ".format(*ran) + how)
    times = single["seconds_of_all"] / sweep["seconds"]
    print(f"the sweep is {times:.2f} times as fast; activations differ by {body['largest_difference']:.1e} at most")
    print("the paper's grid at these speeds, estimated:")
    print(f"sweep  {paper['sweep_row_steps']:10} row-steps in {paper['sweep_seconds'] / 3600:.2f} h")
    print(f"alone  {paper['alone_row_steps']:10} row-steps in {paper['alone_seconds'] / 3600:.2f} h")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="svd-r1", help="a model of the repository (default: svd-r1)")
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--backend", choices=("triton", "local"), help="default: Triton where it can run")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20], help="step counts (default: 5 10 20)")
    parser.add_argument("--seeds", type=int, default=8, help="rows of each setting (default: 8)")
    parser.add_argument("--alone", type=int, default=6, help="settings searched one at a time (default: 6)")
    parser.add_argument(
        "--whole", action="store_true", help="the paper's grid itself: 450 000 row-steps, hours on a CPU"
    )
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    grid = replace(PAPER_GRID, steps=tuple(options.steps))
    if options.whole:
        grid, options.seeds = PAPER_GRID, PAPER_SEEDS
    body = asyncio.run(measure(options, grid))
    print_figures(options.model, body)
    if options.json:
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
