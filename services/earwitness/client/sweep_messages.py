"""The protobuf messages of sweeps to plain values and back."""

from datetime import UTC

import numpy as np
from google.longrunning import operations_pb2

from earwitness.client import sweep_values as sweeps
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc import tensors
from earwitness.types.v1.tensor_pb2 import Tensor
from earwitness.vocabulary.messages.enums import number, word
from earwitness.vocabulary.messages.score import criterion_message, criterion_value, score_value
from earwitness.vocabulary.messages.search import (
    OPTIMISERS,
    objective_message,
    objective_value,
    settings_message,
    settings_value,
)
from earwitness.vocabulary.names import resource, short
from earwitness.vocabulary.score import Criterion, RankedBatch
from earwitness.vocabulary.search import FloatArray


def sweep_message(plan: sweeps.SweepPlan) -> pb.Sweep:
    """The message of a plan."""
    message = pb.Sweep(
        model=resource("models", plan.model),
        objectives=[_objective_message(each) for each in plan.objectives],
        seed_count=plan.seed_count,
        first_seed=plan.first_seed,
        keep_count=plan.keep_count,
    )
    if plan.criterion is not None:
        message.criterion.CopyFrom(criterion_message(plan.criterion))
    if isinstance(plan.settings, sweeps.Grid):
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
        settings = [settings_message(each) for each in plan.settings]
        message.settings_list.CopyFrom(pb.SettingsList(settings=settings))
    return message


def operation_value(message: operations_pb2.Operation) -> sweeps.SweepProgress:
    """How the sweep of an operation goes, with the error that ended it."""
    metadata = pb.SweepMetadata()
    message.metadata.Unpack(metadata)
    return progress_value(metadata, message.error.message if message.HasField("error") else None)


def progress_value(message: pb.SweepMetadata, error: str | None = None) -> sweeps.SweepProgress:
    """How a sweep goes."""
    return sweeps.SweepProgress(
        sweep_id=message.sweep.removeprefix("sweeps/"),
        model=short(message.model),
        state=word(pb.SweepState.DESCRIPTOR, message.state, "state"),
        sequence=message.sequence,
        row_steps_done=message.row_steps_done,
        row_step_count=message.row_step_count,
        results_done=message.results_done,
        result_count=message.result_count,
        time_left_s=message.time_left.ToTimedelta().total_seconds() if message.HasField("time_left") else None,
        row_steps_per_second=message.row_steps_per_second,
        waiting_for=message.waiting_for,
        cancelling=message.cancelling,
        create_time=message.create_time.ToDatetime(UTC),
        update_time=message.update_time.ToDatetime(UTC),
        error=error,
        objectives=tuple(map(_objective_value, message.objectives)),
        objective_count=message.objective_count,
    )


def sweep_value(message: pb.Sweep) -> sweeps.Sweep:
    """A sweep with its tensors as arrays."""
    return sweeps.Sweep(
        sweep_id=message.name.removeprefix("sweeps/"),
        model=short(message.model),
        weights_sha256=message.weights_sha256,
        objectives=tuple(map(_objective_value, message.objectives)),
        seeds=range(message.first_seed, message.first_seed + message.seed_count),
        state=word(pb.SweepState.DESCRIPTOR, message.state, "state"),
        results=tuple(_result_value(index, each) for index, each in enumerate(message.results)),
        rankings=tuple(map(ranking_value, message.rankings)),
        row_step_count=message.row_step_count,
        search_duration_s=message.search_duration.ToTimedelta().total_seconds(),
        create_time=message.create_time.ToDatetime(UTC),
        end_time=message.end_time.ToDatetime(UTC) if message.HasField("end_time") else None,
        resumed_from=message.resumed_from.removeprefix("sweeps/") or None,
        keep_count=message.keep_count,
        criterion=_criterion_value(message),
    )


def ranking_value(message: pb.SweepRanking) -> sweeps.SweepRanking:
    """The ranking of an objective."""
    return sweeps.SweepRanking(
        objective_index=message.objective_index,
        reference_version=short(message.reference_version),
        batches=tuple(
            RankedBatch(
                id=str(each.result_index),
                rank=each.rank,
                score=score_value(each.score),
                probability_best=each.probability_best,
                leaves_range=each.leaves_range,
                criterion_value=each.criterion_value,
                kept_rows=tuple(each.kept_rows),
            )
            for each in message.results
        ),
        error=message.error,
        criterion=_criterion_value(message),
    )


def _criterion_value(message: pb.Sweep | pb.SweepRanking) -> Criterion | None:
    """None for the published distance, said or unsaid: a saved sweep that is ranked by it says nothing."""
    criterion = criterion_value(message.criterion)
    return None if criterion == Criterion() else criterion


def _objective_message(each: sweeps.SweepObjective) -> pb.SweepObjective:
    return pb.SweepObjective(
        objective=objective_message(each.objective),
        reference=resource("references", each.reference) if each.reference else "",
        whole_layer=each.whole_layer,
    )


def _objective_value(message: pb.SweepObjective) -> sweeps.SweepObjective:
    objective = objective_value(message.objective)
    return sweeps.SweepObjective(objective, short(message.reference) or None, message.whole_layer)


def _result_value(index: int, message: pb.SweepResult) -> sweeps.SweepResult:
    return sweeps.SweepResult(
        index=index,
        objective_index=message.objective_index,
        settings=settings_value(message.settings),
        done=message.done,
        activations=np.array(message.activations, np.float32),
        best_steps=np.array(message.best_steps, np.int64),
        diverged_steps=np.array(message.diverged_steps, np.int64),
        latents=_array(message.latents, "latents") if message.HasField("latents") else None,
        layer_activations=(
            _array(message.layer_activations, "layer_activations") if message.HasField("layer_activations") else None
        ),
    )


def _array(message: Tensor, field: str) -> FloatArray:
    return np.asarray(tensors.decode(message, field, rank=2), np.float32)
