"""A sweep as asked for, and the checks that need no model."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.errors import InvalidArgument
from earwitness.explainer.objective import Objective
from earwitness.explainer.ways import (
    MAX_SEED,
    OptimiserName,
    Settings,
    check_learning_rate,
    check_prior_weight,
    check_steps,
)


@dataclass(frozen=True)
class SweepObjective:
    """An objective and the reference that its settings are ranked against, "" for none.

    `whole_layer` compares all units of the layer, not the objective's alone.
    """

    objective: Objective
    reference: str = ""
    whole_layer: bool = False

    @property
    def unit(self) -> int | None:
        """The one unit that is compared; None for the whole layer."""
        target = self.objective.target
        return target if isinstance(target, int) and not self.whole_layer else None


@dataclass(frozen=True)
class Grid:
    """Every combination of the values."""

    learning_rates: tuple[float, ...]
    prior_weights: tuple[float, ...]
    steps: tuple[int, ...]
    optimisers: tuple[OptimiserName, ...] = (OptimiserName.ADAM,)

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(map(len, (self.optimisers, self.learning_rates, self.prior_weights, self.steps)))

    def settings(self) -> tuple[Settings, ...]:
        """The combinations, the steps fastest, then prior weights, learning rates and optimisers."""
        return tuple(
            Settings(optimiser, rate, prior, steps)
            for optimiser, rate, prior, steps in itertools.product(
                self.optimisers, self.learning_rates, self.prior_weights, self.steps
            )
        )


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as asked for; `model` is the bundle's name."""

    model: str
    objectives: tuple[SweepObjective, ...]
    plan: Grid | tuple[Settings, ...]
    seed_count: int
    first_seed: int = 0
    keep_count: int = 0

    @property
    def settings(self) -> tuple[Settings, ...]:
        """The settings that are compared."""
        return self.plan.settings() if isinstance(self.plan, Grid) else self.plan

    @property
    def by_quantile(self) -> bool:
        """Whether some target is in quantiles."""
        return any(each.target is not None and each.target.quantile for each in self.settings)

    @property
    def result_count(self) -> int:
        """Results: one for each objective and setting."""
        return len(self.objectives) * (self.plan.size if isinstance(self.plan, Grid) else len(self.plan))


@dataclass(frozen=True)
class SweepLimits:
    """The most a sweep may ask for: steps of a row, settings, explanations and steps summed over the rows."""

    max_steps: int
    max_draws: int
    max_settings: int
    max_explanations: int
    max_row_steps: int


def check_request(request: SweepRequest, limits: SweepLimits) -> None:
    """Refuse what no model could do, before the combinations of a grid are made.

    Raises: InvalidArgument naming the field, what was got, and the limit.
    """
    objectives = request.objectives
    if not objectives:
        raise InvalidArgument("sweep.objectives", "got none; give at least one")
    _refuse_repeats([each.objective for each in objectives], "sweep.objectives")
    least = 2 if any(each.reference for each in objectives) else 1
    if request.seed_count < least:
        why = " where an objective has a reference: one row has no spread to compare" if least > 1 else ""
        raise InvalidArgument("sweep.seed_count", f"got {request.seed_count}; it must be at least {least}{why}")
    if not 0 <= request.first_seed <= MAX_SEED - (request.seed_count - 1):
        raise InvalidArgument(
            "sweep.first_seed",
            f"got {request.first_seed} for {request.seed_count} seeds; the first and the last must be 0 to 2^63 - 1",
        )
    check_keep_count(request.keep_count, request.seed_count, "sweep.keep_count")
    if request.keep_count and not any(each.reference for each in objectives):
        raise InvalidArgument(
            "sweep.keep_count",
            f"got {request.keep_count}, but no objective has a reference whose excerpts rows could be near to",
        )
    if isinstance(request.plan, Grid):
        _check_grid(request.plan, limits)
    else:
        _check_settings(request, request.plan, limits)
    explanations = request.result_count * request.seed_count
    if explanations > limits.max_explanations:
        raise InvalidArgument(
            "sweep",
            f"{len(objectives)} objectives × {request.result_count // len(objectives)} settings × "
            f"{request.seed_count} seeds are {explanations} explanations; a sweep has at most "
            f"{limits.max_explanations}: take fewer seeds or settings, or several sweeps",
        )


def check_keep_count(keep_count: int, seed_count: int, field: str) -> None:
    """Raises: InvalidArgument for rows that a result does not have, or too few to compare."""
    if keep_count and not 2 <= keep_count <= seed_count:
        raise InvalidArgument(field, f"got {keep_count}; it must be 2 to {seed_count}, the seeds, or 0 for all of them")


def _check_grid(grid: Grid, limits: SweepLimits) -> None:
    field = "sweep.grid"
    values: dict[str, Sequence[Any]] = {
        "learning_rates": grid.learning_rates,
        "prior_weights": grid.prior_weights,
        "steps": grid.steps,
        "optimisers": grid.optimisers,
    }
    for name, given in values.items():
        if not given:
            raise InvalidArgument(f"{field}.{name}", "got none; give at least one")
    for index, each in enumerate(grid.optimisers):
        if each in (OptimiserName.WALK, OptimiserName.DRAWS):
            raise InvalidArgument(
                f"{field}.optimisers[{index}]",
                f"got {each.value}, which takes no prior weight: give its settings in sweep.settings_list",
            )
    if grid.size > limits.max_settings:
        sizes = " × ".join(str(len(each)) for each in values.values())
        raise InvalidArgument(
            field,
            f"{sizes} values make {grid.size} settings; a sweep has at most {limits.max_settings}: take fewer values, "
            "a coarse grid first and a fine one around its best, or several sweeps",
        )
    for index, rate in enumerate(grid.learning_rates):
        check_learning_rate(rate, f"{field}.learning_rates[{index}]")
    for index, prior in enumerate(grid.prior_weights):
        check_prior_weight(prior, f"{field}.prior_weights[{index}]")
    for index, steps in enumerate(grid.steps):
        check_steps(steps, f"{field}.steps[{index}]", limits.max_steps)
    for name, given in values.items():
        _refuse_repeats(given, f"{field}.{name}")


def _check_settings(request: SweepRequest, settings: tuple[Settings, ...], limits: SweepLimits) -> None:
    field = "sweep.settings_list.settings"
    if not 1 <= len(settings) <= limits.max_settings:
        raise InvalidArgument(field, f"got {len(settings)}; a sweep has 1 to {limits.max_settings}")
    for index, each in enumerate(settings):
        each.check(f"{field}[{index}]", limits.max_steps, limits.max_draws)
        if each.optimiser is OptimiserName.DRAWS:
            _check_draws(request, each.draws, f"{field}[{index}].draws")
        for number, objective in enumerate(request.objectives):
            if each.target is not None and each.target.quantile and not objective.reference:
                raise InvalidArgument(
                    f"sweep.objectives[{number}].reference",
                    f"is empty, and the target of {field}[{index}] is in quantiles of what it keeps; name one",
                )
    _refuse_repeats(settings, field)


def _check_draws(request: SweepRequest, draws: int, field: str) -> None:
    if draws < request.seed_count:
        raise InvalidArgument(field, f"got {draws} for {request.seed_count} rows (seed_count); draw at least as many")
    if request.first_seed > MAX_SEED - (draws - 1):
        raise InvalidArgument(
            field, f"got {draws} from first_seed {request.first_seed} on; the last is 2^63 - 1 at most"
        )


def _refuse_repeats(values: Sequence[Any], field: str) -> None:
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        if (first := seen.setdefault(value, index)) != index:
            raise InvalidArgument(f"{field}[{index}]", f"repeats {field}[{first}]; give each once")
