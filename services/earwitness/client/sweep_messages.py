"""The protobuf messages of sweeps to plain values and back."""

from dataclasses import replace
from datetime import UTC

import numpy as np
from google.longrunning import operations_pb2

from earwitness.client.sweep_values import Sweep, SweepObjective, SweepProgress, SweepRanking, SweepResult
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc import tensors
from earwitness.types.v1.tensor_pb2 import Tensor
from earwitness.vocabulary.messages import sweep as codec
from earwitness.vocabulary.messages.enums import word
from earwitness.vocabulary.messages.score import criterion_value
from earwitness.vocabulary.messages.search import (
    settings_value,
)
from earwitness.vocabulary.names import short
from earwitness.vocabulary.score import Criterion
from earwitness.vocabulary.search import FloatArray


def operation_value(message: operations_pb2.Operation) -> SweepProgress:
    """How the sweep of an operation goes, with the error that ended it."""
    metadata = pb.SweepMetadata()
    message.metadata.Unpack(metadata)
    return progress_value(metadata, message.error.message if message.HasField("error") else None)


def progress_value(message: pb.SweepMetadata, error: str | None = None) -> SweepProgress:
    """How a sweep goes."""
    return SweepProgress(
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


def sweep_value(message: pb.Sweep) -> Sweep:
    """A sweep with its tensors as arrays."""
    return Sweep(
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
        criterion=_criterion(message),
    )


def ranking_value(message: pb.SweepRanking) -> SweepRanking:
    """The ranking of an objective, by short names."""
    ranking = codec.ranking_value(message)
    return replace(ranking, reference_version=short(ranking.reference_version), criterion=_criterion(message))


def _criterion(message: pb.Sweep | pb.SweepRanking) -> Criterion | None:
    """None for the published distance, said or unsaid: a saved sweep that is ranked by it says nothing."""
    criterion = criterion_value(message.criterion)
    return None if criterion == Criterion() else criterion


def _objective_value(message: pb.SweepObjective) -> SweepObjective:
    each = codec.sweep_objective_value(message)
    return replace(each, reference=None if each.reference is None else short(each.reference))


def _result_value(index: int, message: pb.SweepResult) -> SweepResult:
    return SweepResult(
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
