"""What a sweep's settings resolve to, and the checks of a sweep that need no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.errors import InvalidArgument
from earwitness.explainer.ways import Resolved, check_learning_rate, check_prior_weight, check_steps, resolve
from earwitness.vocabulary.limits import MAX_SEED
from earwitness.vocabulary.sweep import Grid, SweepPlan


@dataclass(frozen=True)
class SweepLimits:
    """The most a sweep may ask for: steps of a row, settings, explanations and steps summed over the rows."""

    max_steps: int
    max_draws: int
    max_settings: int
    max_explanations: int
    max_row_steps: int


def resolved(plan: SweepPlan) -> tuple[Resolved, ...]:
    """The settings that are compared, nothing left out."""
    settings = plan.settings.settings() if isinstance(plan.settings, Grid) else plan.settings
    return tuple(map(resolve, settings))


def check_plan(plan: SweepPlan, limits: SweepLimits) -> None:
    """Refuse what no model could do, before the combinations of a grid are made.

    Raises: InvalidArgument naming the field, what was got, and the limit.
    """
    objectives = plan.objectives
    if not objectives:
        raise InvalidArgument("sweep.objectives", "got none; give at least one")
    _refuse_repeats([each.objective for each in objectives], "sweep.objectives")
    least = 2 if any(each.reference for each in objectives) else 1
    if plan.seed_count < least:
        why = " where an objective has a reference: one row has no spread to compare" if least > 1 else ""
        raise InvalidArgument("sweep.seed_count", f"got {plan.seed_count}; it must be at least {least}{why}")
    check_keep_count(plan.keep_count, plan.seed_count, "sweep.keep_count")
    if plan.keep_count and not any(each.reference for each in objectives):
        raise InvalidArgument(
            "sweep.keep_count",
            f"got {plan.keep_count}, but no objective has a reference whose excerpts rows could be near to",
        )
    if isinstance(plan.settings, Grid):
        _check_grid(plan.settings, limits)
    else:
        _check_settings(plan, limits)
    explanations = plan.result_count * plan.seed_count
    if explanations > limits.max_explanations:
        raise InvalidArgument(
            "sweep",
            f"{len(objectives)} objectives × {plan.result_count // len(objectives)} settings × "
            f"{plan.seed_count} seeds are {explanations} explanations; a sweep has at most "
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
        "optimisers": grid.optimisers or ("adam",),
    }
    for name, given in values.items():
        if not given:
            raise InvalidArgument(f"{field}.{name}", "got none; give at least one")
    for index, each in enumerate(grid.optimisers):
        if each in ("walk", "draws"):
            raise InvalidArgument(
                f"{field}.optimisers[{index}]",
                f"got {each}, which takes no prior weight: give its settings in sweep.settings_list",
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


def _check_settings(plan: SweepPlan, limits: SweepLimits) -> None:
    field, settings = "sweep.settings_list.settings", resolved(plan)
    if not 1 <= len(settings) <= limits.max_settings:
        raise InvalidArgument(field, f"got {len(settings)}; a sweep has 1 to {limits.max_settings}")
    for index, each in enumerate(settings):
        each.check(f"{field}[{index}]", limits.max_steps, limits.max_draws)
        if each.optimiser == "draws":
            _check_draws(plan, each.draws, f"{field}[{index}].draws")
        for number, objective in enumerate(plan.objectives):
            if each.target is not None and each.target.quantile and not objective.reference:
                raise InvalidArgument(
                    f"sweep.objectives[{number}].reference",
                    f"is empty, and the target of {field}[{index}] is in quantiles of what it keeps; name one",
                )
    _refuse_repeats(settings, field)


def _check_draws(plan: SweepPlan, draws: int, field: str) -> None:
    if draws < plan.seed_count:
        raise InvalidArgument(field, f"got {draws} for {plan.seed_count} rows (seed_count); draw at least as many")
    if plan.first_seed > MAX_SEED - (draws - 1):
        raise InvalidArgument(field, f"got {draws} from first_seed {plan.first_seed} on; the last is 2^63 - 1 at most")


def _refuse_repeats(values: Sequence[Any], field: str) -> None:
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        if (first := seen.setdefault(value, index)) != index:
            raise InvalidArgument(f"{field}[{index}]", f"repeats {field}[{first}]; give each once")
