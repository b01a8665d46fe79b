"""How a sweep becomes rows: one run of rows for all settings that are prefixes of each other, cut into blocks.

results   objective × setting, as the caller counts them
runs      results whose paths are the same but for their length: all equal but the steps. A path of SGD depends on
          its length, as the rate falls to 0 over it, so each of its step counts is a run
rows      runs × seeds, runs of few steps first, so that rows of a block end together
blocks    rows that go forward together, each with its own checkpoint
pool      the last block, where some settings draw: all of their results are chosen among the same draws
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from earwitness.errors import InvalidArgument
from earwitness.explainer.draws import Wanted
from earwitness.explainer.objective import unit_weights
from earwitness.explainer.plan import Plan, PlannedRow, plan_rows, require_gradient
from earwitness.explainer.sweep.values import SweepLimits, resolved
from earwitness.explainer.ways import Resolved, aimed_activation
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata
from earwitness.vocabulary.sweep import Grid, SweepPlan


@dataclass(frozen=True)
class Run:
    """Rows of one path: `stops` are its step counts, rising, and `results` those that they belong to."""

    objective: int
    settings: Resolved
    stops: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a result's row is: stop number `stop` of block `block`, which is of row `row` of that block."""

    block: int
    row: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """The rows of a sweep in blocks of at most `block_rows`; `real` are the activations, rising, by objective that
    targets in quantiles are of."""

    plan: SweepPlan
    block_rows: int
    real: Mapping[int, FloatArray] = field(default_factory=dict, compare=False)

    @cached_property
    def settings(self) -> tuple[Resolved, ...]:
        """The settings that are compared, nothing left out."""
        return resolved(self.plan)

    @property
    def by_quantile(self) -> bool:
        """Whether some target is in quantiles."""
        return any(each.target is not None and each.target.quantile for each in self.settings)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, in the order of their rows."""
        settings = self.settings
        members: dict[tuple[int, Resolved], list[tuple[int, int]]] = {}
        for objective in range(len(self.plan.objectives)):
            for index, each in enumerate(settings):
                if each.optimiser == "draws":
                    continue
                path = each if each.optimiser == "sgd" else replace(each, steps=0)
                result = objective * len(settings) + index
                members.setdefault((objective, path), []).append((each.steps, result))
        runs = []
        for (objective, path), found in members.items():
            stops, results = zip(*sorted(found), strict=True)
            runs.append(Run(objective, replace(path, steps=stops[-1]), stops, results))
        return tuple(sorted(runs, key=lambda run: run.settings.steps))

    @property
    def row_count(self) -> int:
        """Rows of all runs."""
        return len(self.runs) * self.plan.seed_count

    @property
    def row_step_count(self) -> int:
        """Steps, summed over the rows, and draws."""
        drawn = max((each.draws for each in self.wanted), default=0)
        return self.plan.seed_count * sum(run.settings.steps for run in self.runs) + drawn

    @cached_property
    def blocks(self) -> tuple[range, ...]:
        """The rows of each block, as equal in number as can be."""
        count = max(1, -(-self.row_count // self.block_rows))
        if not self.row_count:
            return ()
        edges = [self.row_count * index // count for index in range(count + 1)]
        return tuple(range(start, end) for start, end in itertools.pairwise(edges))

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """The results that are chosen among draws."""
        settings = self.settings
        return tuple(
            objective * len(settings) + index
            for objective in range(len(self.plan.objectives))
            for index, each in enumerate(settings)
            if each.optimiser == "draws"
        )

    @cached_property
    def wanted(self) -> tuple[Wanted, ...]:
        """What each of them wants of the pool."""
        objectives, settings = self.plan.objectives, self.settings
        return tuple(
            Wanted(
                objectives[result // len(settings)].objective,
                settings[result % len(settings)].draws,
                self.plan.seed_count,
            )
            for result in self.drawn
        )

    @property
    def pool_block(self) -> int:
        """The block of the pool, where there is one."""
        return len(self.blocks)

    @property
    def block_count(self) -> int:
        """Blocks, the pool among them."""
        return len(self.blocks) + bool(self.drawn)

    @cached_property
    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each result, where its rows are, in the order of the seeds; of one that is drawn nowhere."""
        places: list[list[Place]] = [[] for _ in range(self.plan.result_count)]
        for block, rows in enumerate(self.blocks):
            stop = 0
            for place, row in enumerate(rows):
                for result in self._run(row).results:
                    places[result].append(Place(block, place, stop))
                    stop += 1
        return tuple(map(tuple, places))

    def plan_block(self, block: int, bundle: BundleMetadata) -> Plan:
        """The plan of a block's rows. Raises: InvalidArgument for an objective that the bundle does not have."""
        return self._plan([(self._run(row), self._seed(row)) for row in self.blocks[block]], bundle)

    def plan_result(
        self, result: int, rows: list[int], bundle: BundleMetadata, drawn: Sequence[int] | None = None
    ) -> Plan:
        """The plan of a result alone, for some of its rows by their places among the seeds; `drawn` are its own seeds
        where it was drawn."""
        plan = self.plan
        objective, setting = divmod(result, len(self.settings))
        settings = self.settings[setting]
        run = Run(objective, settings, (settings.steps,), (result,))
        seeds = [plan.first_seed + row if drawn is None else drawn[row] for row in rows]
        return self._plan([(run, seed) for seed in seeds], bundle)

    def plan_first(self, objective: int, bundle: BundleMetadata) -> Plan:
        """One row of an objective for each seed, at most a block of them: the latents that its rows begin with, and
        rows that need a gradient where some of the objective's do."""
        runs = [run for run in self.runs if run.objective == objective]
        run = next((run for run in runs if run.settings.needs_gradient), runs[0])
        first, count = self.plan.first_seed, min(self.plan.seed_count, self.block_rows)
        return self._plan([(run, seed) for seed in range(first, first + count)], bundle)

    @property
    def moving(self) -> list[int]:
        """The objectives that have rows that move."""
        return sorted({run.objective for run in self.runs})

    def check_objectives(self, bundle: BundleMetadata) -> None:
        """Raises: InvalidArgument for an objective that the bundle does not have."""
        for index, each in enumerate(self.plan.objectives):
            unit_weights(each.objective, bundle, f"sweep.objectives[{index}].objective")

    def check_ways(self, bundle: BundleMetadata) -> None:
        """Raises: InvalidArgument for settings that need a gradient that the bundle does not have."""
        for index, each in enumerate(self.settings):
            own = f"sweep.settings_list.settings[{index}].optimiser"
            require_gradient(each, bundle, "sweep.grid.optimisers" if isinstance(self.plan.settings, Grid) else own)

    def results_of(self, objective: int) -> range:
        """The results of an objective."""
        count = len(self.settings)
        return range(objective * count, (objective + 1) * count)

    def steps_of(self, result: int) -> int:
        """Steps of a result's rows."""
        return self.settings[result % len(self.settings)].steps

    def _plan(self, rows: list[tuple[Run, int]], bundle: BundleMetadata) -> Plan:
        objectives = [each.objective for each in self.plan.objectives]
        weights = {
            run.objective: unit_weights(
                objectives[run.objective], bundle, f"sweep.objectives[{run.objective}].objective"
            )
            for run, _ in rows
        }
        return plan_rows(
            [self._row(run, seed) for run, seed in rows],
            [weights[run.objective] for run, _ in rows],
            bundle,
        )

    def _row(self, run: Run, seed: int) -> PlannedRow:
        objective, target = self.plan.objectives[run.objective].objective, run.settings.target
        aim = None if target is None else aimed_activation(target, seed, self.real.get(run.objective))
        return PlannedRow(seed, objective, run.settings, run.stops, target=aim)

    def _run(self, row: int) -> Run:
        return self.runs[row // self.plan.seed_count]

    def _seed(self, row: int) -> int:
        return self.plan.first_seed + row % self.plan.seed_count


def check_layout(layout: Layout, limits: SweepLimits) -> None:
    """Raises: InvalidArgument when the work is more than a sweep may be."""
    if layout.row_step_count > limits.max_row_steps:
        raise InvalidArgument(
            "sweep",
            f"{len(layout.runs)} runs × {layout.plan.seed_count} seeds take {layout.row_step_count} row-steps; a "
            f"sweep has at most {limits.max_row_steps}: take fewer steps, seeds or settings, or several sweeps",
        )
