"""What a sweep is asked for, from options: objectives and settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from earwitness.cli.sweep_ways import Ways
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Grid, SweepObjective
    from earwitness.client.tuning_values import Span
    from earwitness.client.values import Layer, Optimiser, Sense, Settings


def senses_of(maximise: bool | None, both: bool) -> "tuple[Sense, ...]":
    """One sense, or both. Raises: InvalidArgument when one is given beside both."""
    if both:
        if maximise is not None:
            raise InvalidArgument("both", "give one of --maximise, --minimise and --both")
        return ("maximise", "minimise")
    return ("minimise",) if maximise is False else ("maximise",)


def objectives_of(
    layer: "Layer",
    units: Sequence[int],
    directions: Sequence[str],
    senses: "Sequence[Sense]",
    references: Sequence[str],
    whole_layer: bool,
) -> "list[SweepObjective]":
    """Units, then directions, each in every sense; unit 0 when neither is given.

    Raises: InvalidArgument for references that are neither one nor one for each, or as `direction_of`.
    """
    from earwitness.client import Objective, SweepObjective
    from earwitness.client.directions import direction_of

    if not units and not directions:
        units = [0]
    objectives = [Objective(layer.name, unit, sense) for unit in units for sense in senses]
    for words in directions:
        direction = direction_of(words, layer)
        objectives += [Objective(layer.name, None, sense, direction) for sense in senses]
    if len(references) not in (0, 1, len(objectives)):
        each = ", ".join(map(str, objectives))
        raise InvalidArgument(
            "reference", f"got {len(references)} for {len(objectives)} objectives; give one, or one for each: {each}"
        )
    named: list[str | None] = [*references] or [None]
    if len(named) == 1:
        named *= len(objectives)
    return [SweepObjective(*each, whole_layer) for each in zip(objectives, named, strict=True)]


DEFAULTS = {"learning_rate": "0.01", "prior_weight": "0.001", "steps": "100"}


def settings_of(
    name: str | None,
    learning_rates: Sequence[str],
    prior_weights: Sequence[str],
    steps: Sequence[str],
    ways: Ways,
) -> "Grid | list[Settings] | dict[str, Span]":
    """The named grid, one of the values given, a list where ways are given that no grid says, or ranges: one LOW..HIGH
    at least, one number or range of each setting.

    Raises: InvalidArgument naming the setting that is no number, or has a range beside other values.
    """
    from earwitness.client import PAPER_GRID, Grid
    from earwitness.client.tuning_values import DOTS, Span

    given = {"learning_rate": learning_rates, "prior_weight": prior_weights, "steps": steps}
    own = any(given.values()) or ways.optimisers or ways.beyond_grid
    if name and own:
        raise InvalidArgument(
            "grid",
            "give either --grid paper or values of your own (--lr, --prior, --steps, --optimiser, --target, ...)",
        )
    if not own:
        return PAPER_GRID
    ranged = any(DOTS in each for words in given.values() for each in words)
    if ways.beyond_grid and not ranged:
        rates, priors, counts = ([Span.parse(each, field).low for each in words] for field, words in given.items())
        return ways.settings(rates, priors, list(map(_whole, counts)))
    spans = {field: [Span.parse(each, field) for each in words or [DEFAULTS[field]]] for field, words in given.items()}
    if not ranged:
        values = {field: [each.low for each in found] for field, found in spans.items()}
        optimisers = cast("list[Optimiser]", ways.optimisers or ["adam"])
        return Grid(values["learning_rate"], values["prior_weight"], list(map(_whole, values["steps"])), optimisers)
    for field, found in spans.items():
        if len(found) > 1:
            words = ", ".join(given[field])
            raise InvalidArgument(field, f"got {words}; where one setting is a range, give one range or number of each")
    if len(ways.optimisers) > 1 or ways.beyond_grid:
        named = ", ".join(ways.optimisers) or "a target or draws"
        raise InvalidArgument("optimiser", f"got {named}; ranges are searched for one optimiser at a time, adam or sgd")
    ranges = {field: found[0] for field, found in spans.items()}
    for field, span in ranges.items():
        span.check(field)
    return ranges


def require_tunable(objective_count: int, references: Sequence[str], seeds: int, *, stays: bool) -> None:
    """Refuse what ranges cannot be searched for. Raises: InvalidArgument."""
    if objective_count > 1:
        raise InvalidArgument("unit", f"got {objective_count} objectives; ranges are searched for one at a time")
    if len(references) != 1:
        raise InvalidArgument(
            "reference", f"got {len(references)}; where a setting is a range, the distance to one is what is searched"
        )
    if seeds < 2:
        raise InvalidArgument("seeds", f"got {seeds}; one row has no spread to compare: give at least 2")
    if not stays:
        raise InvalidArgument("wait", "ranges are searched by this command: neither --no-wait nor --request-id fits")


def _whole(steps: float) -> int:
    if not steps.is_integer():
        raise InvalidArgument("steps", f"got {steps:g}; steps are whole numbers")
    return int(steps)
