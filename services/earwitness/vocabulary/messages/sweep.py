"""Sweeps as they are asked for, and their rankings, as they travel."""

from earwitness.errors import InvalidArgument
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc.validate import resource_id
from earwitness.vocabulary.limits import MAX_SEED
from earwitness.vocabulary.messages.enums import count, number, word
from earwitness.vocabulary.messages.score import criterion_message, criterion_value, place, score_message, score_value
from earwitness.vocabulary.messages.search import (
    OPTIMISERS,
    objective_message,
    objective_value,
    reference_value,
    settings_message,
    settings_value,
    shortest,
)
from earwitness.vocabulary.names import MODELS, REFERENCES, resource
from earwitness.vocabulary.score import RankedBatch
from earwitness.vocabulary.sweep import Grid, SweepObjective, SweepPlan, SweepRanking


def plan_message(plan: SweepPlan) -> pb.Sweep:
    """The message of a plan."""
    message = pb.Sweep(
        model=resource(MODELS, plan.model),
        objectives=map(sweep_objective_message, plan.objectives),
        seed_count=plan.seed_count,
        first_seed=plan.first_seed,
        keep_count=plan.keep_count,
    )
    if plan.criterion is not None:
        message.criterion.CopyFrom(criterion_message(plan.criterion))
    if isinstance(plan.settings, Grid):
        grid = plan.settings
        message.grid.CopyFrom(
            pb.SweepGrid(
                learning_rates=grid.learning_rates,
                prior_weights=grid.prior_weights,
                steps=grid.steps,
                optimisers=[number(OPTIMISERS, each) for each in grid.optimisers],
            )
        )
    else:
        message.settings_list.CopyFrom(pb.SettingsList(settings=map(settings_message, plan.settings)))
    return message


def plan_value(message: pb.Sweep) -> SweepPlan:
    """Raises: InvalidArgument naming the field that is missing or no value of its enum."""
    if message.WhichOneof("plan") is None:
        raise InvalidArgument("sweep.plan", "is unset; give sweep.grid or sweep.settings_list")
    if not 0 <= message.first_seed <= MAX_SEED - (message.seed_count - 1):
        raise InvalidArgument(
            "sweep.first_seed",
            f"got {message.first_seed} for {message.seed_count} seeds; the first and the last must be 0 to 2^63 - 1",
        )
    listed = tuple(
        settings_value(each, f"sweep.settings_list.settings[{index}]")
        for index, each in enumerate(message.settings_list.settings)
    )
    return SweepPlan(
        model=resource_id(message.model, MODELS, "sweep.model"),
        objectives=tuple(
            sweep_objective_value(each, f"sweep.objectives[{index}]") for index, each in enumerate(message.objectives)
        ),
        settings=_grid_value(message.grid) if message.HasField("grid") else listed,
        seed_count=message.seed_count,
        first_seed=message.first_seed,
        keep_count=message.keep_count,
        criterion=criterion_value(message.criterion) if message.HasField("criterion") else None,
    )


def sweep_objective_message(each: SweepObjective) -> pb.SweepObjective:
    """The message of an objective and its reference."""
    return pb.SweepObjective(
        objective=objective_message(each.objective),
        reference=resource(REFERENCES, each.reference) if each.reference else "",
        whole_layer=each.whole_layer,
    )


def sweep_objective_value(message: pb.SweepObjective, field: str = "objective") -> SweepObjective:
    """An objective and the resource name of its reference. Raises: InvalidArgument."""
    if not message.HasField("objective"):
        raise InvalidArgument(f"{field}.objective", "is unset; give a layer, a unit or direction, and a sense")
    return SweepObjective(
        objective_value(message.objective, f"{field}.objective"),
        reference_value(message.reference, f"{field}.reference"),
        message.whole_layer,
    )


def _grid_value(message: pb.SweepGrid) -> Grid:
    field = "sweep.grid.optimisers"
    if len(message.optimisers) > count(OPTIMISERS):
        raise InvalidArgument(field, f"got {len(message.optimisers)}; there are {count(OPTIMISERS)}, each once")
    return Grid(
        tuple(map(shortest, message.learning_rates)),
        tuple(map(shortest, message.prior_weights)),
        tuple(message.steps),
        tuple(word(OPTIMISERS, value, f"{field}[{index}]") for index, value in enumerate(message.optimisers)),
    )


def ranking_message(ranking: SweepRanking) -> pb.SweepRanking:
    """The ranking of an objective."""
    return pb.SweepRanking(
        objective_index=ranking.objective_index,
        reference_version=ranking.reference_version,
        results=[
            pb.RankedResult(
                result_index=int(each.id), score=score_message(each.score), kept_rows=each.kept_rows, **place(each)
            )
            for each in ranking.batches
        ],
        error=ranking.error,
        criterion=None if ranking.criterion is None else criterion_message(ranking.criterion),
    )


def ranking_value(message: pb.SweepRanking) -> SweepRanking:
    """The ranking of an objective."""
    return SweepRanking(
        objective_index=message.objective_index,
        reference_version=message.reference_version,
        batches=tuple(
            RankedBatch(
                id=str(each.result_index),
                score=score_value(each.score),
                kept_rows=tuple(each.kept_rows),
                **place(each),
            )
            for each in message.results
        ),
        error=message.error,
        criterion=criterion_value(message.criterion) if message.HasField("criterion") else None,
    )
