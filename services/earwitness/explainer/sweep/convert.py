"""Sweeps to the messages of the contract, and what is asked for to values."""

from dataclasses import replace

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from earwitness.errors import InvalidArgument
from earwitness.explainer.sweep.record import State, SweepRecord
from earwitness.explainer.sweep.results import Held, Rows, Tensors
from earwitness.explainer.sweep.store import StoredResult
from earwitness.explainer.sweep.stored import failure_message
from earwitness.explainer.sweep.values import resolved
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc import tensors
from earwitness.rpc.times import timestamp
from earwitness.rpc.validate import resource_id
from earwitness.vocabulary.messages.enums import number
from earwitness.vocabulary.messages.search import duration, settings_message
from earwitness.vocabulary.messages.sweep import plan_message, plan_value, ranking_message, sweep_objective_message
from earwitness.vocabulary.names import MODELS, OPERATIONS, SWEEPS
from earwitness.vocabulary.sweep import SweepObjective, SweepPlan

NAMED_OBJECTIVES = 8
"""Objectives that the metadata of an operation name."""


def sweep_id(name: str, field: str = "name") -> str:
    """The id in "sweeps/{sweep}". Raises: InvalidArgument."""
    return resource_id(name, SWEEPS, field)


def operation_id(name: str) -> str:
    """The sweep's id in "operations/{sweep}". Raises: InvalidArgument."""
    return resource_id(name, OPERATIONS, "name")


def plan(message: pb.Sweep, max_settings: int) -> SweepPlan:
    """What is asked for, without what only the server sets.

    Raises: InvalidArgument naming the field that is missing, too long or no value of its enum.
    """
    # Before millions of empty messages become millions of objects.
    for field, count in {
        "sweep.objectives": len(message.objectives),
        "sweep.settings_list.settings": len(message.settings_list.settings),
    }.items():
        if count > max_settings:
            raise InvalidArgument(field, f"got {count}; a sweep has 1 to {max_settings}")
    return plan_value(message)


def metadata(record: SweepRecord) -> pb.SweepMetadata:
    """How a sweep goes, in a message that stays small however much is swept."""
    left_s = record.time_left_s
    return pb.SweepMetadata(
        sweep=f"{SWEEPS}/{record.sweep_id}",
        state=_state(record),
        sequence=record.sequence,
        row_steps_done=record.progress.row_steps_done,
        row_step_count=record.row_step_count,
        results_done=record.results_done,
        result_count=record.result_count,
        time_left=None if left_s is None else duration(left_s),
        row_steps_per_second=record.progress.row_steps_per_second,
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        waiting_for=record.progress.waiting_for,
        cancelling=record.cancelling,
        model=f"{MODELS}/{record.model}",
        objectives=map(_without_weights, record.plan.objectives[:NAMED_OBJECTIVES]),
        objective_count=len(record.plan.objectives),
    )


def _without_weights(each: SweepObjective) -> pb.SweepObjective:
    if each.objective.direction is not None:
        each = replace(each, objective=replace(each.objective, direction={}))
    return sweep_objective_message(each)


def _state(record: SweepRecord) -> pb.SweepState.ValueType:
    return pb.SweepState.ValueType(number(pb.SweepState.DESCRIPTOR, record.state.value))


def operation(record: SweepRecord, sweep: pb.Sweep | None) -> operations_pb2.Operation:
    """The operation of a sweep; `sweep` is its response where it succeeded."""
    message = operations_pb2.Operation(name=f"{OPERATIONS}/{record.sweep_id}", done=record.state.over)
    message.metadata.Pack(metadata(record))
    if record.state is State.SUCCEEDED and sweep is not None:
        message.response.Pack(sweep)
    elif record.state is State.CANCELLED:
        message.error.CopyFrom(status_pb2.Status(code=1, message="cancelled; GetSweep has what was done"))
    elif record.failure is not None:
        message.error.CopyFrom(failure_message(record.failure))
    return message


def listed(record: SweepRecord) -> operations_pb2.Operation:
    """The operation of a sweep as one of many: of a sweep that succeeded the response is there, and empty."""
    return operation(record, pb.Sweep())


def sweep(record: SweepRecord, held: Held) -> pb.Sweep:
    """A sweep with the rows that are held, and tensors where these are."""
    message = plan_message(record.plan)
    message.resumed_from = f"{SWEEPS}/{record.resumed_from}" if record.resumed_from else ""
    message.name = f"{SWEEPS}/{record.sweep_id}"
    message.state = _state(record)
    message.weights_sha256 = record.weights_sha256
    message.rankings.extend(map(ranking_message, held.rankings))
    message.create_time.CopyFrom(timestamp(record.create_time))
    if record.end_time is not None:
        message.end_time.CopyFrom(timestamp(record.end_time))
    message.search_duration.CopyFrom(duration(record.progress.search_s))
    message.row_step_count = record.progress.row_steps_done
    settings = [settings_message(each.said()) for each in resolved(record.plan)]
    for index in range(record.plan.result_count):
        objective, setting = divmod(index, len(settings))
        result = message.results.add(objective_index=objective, settings=settings[setting], done=index in held.done)
        if index in held.stored:
            _fill(result, held.stored[index])
    return message


def _fill(result: pb.SweepResult, stored: StoredResult) -> None:
    rows = Rows.decode(stored.rows)
    result.activations.extend(rows.activations.tolist())
    result.best_steps.extend(rows.best_steps.tolist())
    result.diverged_steps.extend(rows.diverged_steps.tolist())
    if rows.seeds is not None:
        result.seeds.extend(rows.seeds.tolist())
    if stored.tensors:
        arrays = Tensors.decode(stored.tensors)
        result.latents.CopyFrom(tensors.encode(arrays.latents))
        result.layer_activations.CopyFrom(tensors.encode(arrays.layer_activations))
