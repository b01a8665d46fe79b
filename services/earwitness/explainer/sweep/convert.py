"""The protobuf messages of sweeps to plain values and back."""

from collections.abc import Iterable, Mapping, Sequence

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from earwitness.errors import InvalidArgument
from earwitness.explainer import convert
from earwitness.explainer.sweep.rankings import How
from earwitness.explainer.sweep.record import State, SweepRecord
from earwitness.explainer.sweep.results import Rows, Tensors
from earwitness.explainer.sweep.store import StoredResult
from earwitness.explainer.sweep.values import Grid, SweepLimits, SweepObjective, SweepRequest
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.ways import Settings, resolve
from earwitness.rpc import tensors
from earwitness.rpc.times import timestamp
from earwitness.rpc.validate import resource_id

SWEEPS, OPERATIONS = "sweeps", "operations"
NAMED_OBJECTIVES = 8
"""Objectives that the metadata of an operation name."""
_STATES = {
    State.QUEUED: pb.SWEEP_STATE_QUEUED,
    State.RUNNING: pb.SWEEP_STATE_RUNNING,
    State.SUCCEEDED: pb.SWEEP_STATE_SUCCEEDED,
    State.FAILED: pb.SWEEP_STATE_FAILED,
    State.CANCELLED: pb.SWEEP_STATE_CANCELLED,
}


def sweep_id(name: str, field: str = "name") -> str:
    """The id in "sweeps/{sweep}". Raises: InvalidArgument."""
    return resource_id(name, SWEEPS, field)


def operation_id(name: str) -> str:
    """The sweep's id in "operations/{sweep}". Raises: InvalidArgument."""
    return resource_id(name, OPERATIONS, "name")


def canonical(message: pb.Sweep) -> bytes:
    """What was asked for, without what only the server sets: the same bytes for the same sweep."""
    asked = pb.Sweep(
        model=message.model,
        objectives=message.objectives,
        seed_count=message.seed_count,
        first_seed=message.first_seed,
        grid=message.grid if message.HasField("grid") else None,
        settings_list=message.settings_list if message.HasField("settings_list") else None,
        keep_count=message.keep_count,
        criterion=message.criterion if message.HasField("criterion") else None,
    )
    return asked.SerializeToString(deterministic=True)


def resuming(record: SweepRecord) -> bytes:
    """What `record` was asked, of a sweep that goes on from it."""
    asked = pb.Sweep.FromString(record.request)
    asked.resumed_from = f"{SWEEPS}/{record.sweep_id}"
    return asked.SerializeToString(deterministic=True)


def resumed_from(record: SweepRecord) -> str:
    """The id of the sweep that `record` goes on from, "" for none."""
    return pb.Sweep.FromString(record.request).resumed_from.removeprefix(f"{SWEEPS}/")


def check_lengths(message: pb.Sweep, limits: SweepLimits) -> None:
    """Refuse millions of empty messages before they become millions of objects.

    Raises: InvalidArgument naming the field that is too long.
    """
    for field, count in {
        "sweep.objectives": len(message.objectives),
        "sweep.settings_list.settings": len(message.settings_list.settings),
    }.items():
        if count > limits.max_settings:
            raise InvalidArgument(field, f"got {count}; a sweep has 1 to {limits.max_settings}")


def sweep_request(message: pb.Sweep) -> SweepRequest:
    """Raises: InvalidArgument naming the field that is missing or no value of its enum."""
    if message.WhichOneof("plan") is None:
        raise InvalidArgument("sweep.plan", "is unset; give sweep.grid or sweep.settings_list")
    return SweepRequest(
        model=convert.model_id(message.model, "sweep.model"),
        objectives=tuple(
            _objective(each, f"sweep.objectives[{index}]") for index, each in enumerate(message.objectives)
        ),
        plan=_grid(message.grid) if message.HasField("grid") else _settings(message.settings_list),
        seed_count=message.seed_count,
        first_seed=message.first_seed,
        keep_count=message.keep_count,
    )


def how(message: pb.Sweep) -> How:
    """How its results are ranked."""
    kept = 0 if message.keep_count == message.seed_count else message.keep_count
    return How(message.criterion, kept)


def metadata(record: SweepRecord) -> pb.SweepMetadata:
    """How a sweep goes, in a message that stays small however much is swept."""
    left_s = record.time_left_s
    objectives = pb.Sweep.FromString(record.request).objectives
    return pb.SweepMetadata(
        sweep=f"{SWEEPS}/{record.sweep_id}",
        state=_STATES[record.state],
        sequence=record.sequence,
        row_steps_done=record.progress.row_steps_done,
        row_step_count=record.row_step_count,
        results_done=record.results_done,
        result_count=record.result_count,
        time_left=None if left_s is None else convert.duration(left_s),
        row_steps_per_second=record.progress.row_steps_per_second,
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        waiting_for=record.progress.waiting_for,
        cancelling=record.cancelling,
        model=f"{convert.MODELS}/{record.model}",
        objectives=map(_without_weights, objectives[:NAMED_OBJECTIVES]),
        objective_count=len(objectives),
    )


def _without_weights(message: pb.SweepObjective) -> pb.SweepObjective:
    if message.objective.HasField("direction"):
        message.objective.direction.Clear()
        message.objective.direction.SetInParent()
    return message


def operation(record: SweepRecord, sweep: pb.Sweep | None) -> operations_pb2.Operation:
    """The operation of a sweep; `sweep` is its response where it succeeded."""
    message = operations_pb2.Operation(name=f"{OPERATIONS}/{record.sweep_id}", done=record.state.over)
    message.metadata.Pack(metadata(record))
    if record.state is State.SUCCEEDED and sweep is not None:
        message.response.Pack(sweep)
    elif record.state is State.CANCELLED:
        message.error.CopyFrom(status_pb2.Status(code=1, message="cancelled; GetSweep has what was done"))
    elif record.error is not None:
        message.error.CopyFrom(status_pb2.Status.FromString(record.error))
    return message


def listed(record: SweepRecord) -> operations_pb2.Operation:
    """The operation of a sweep as one of many: of a sweep that succeeded the response says its name alone."""
    return operation(record, pb.Sweep(name=f"{SWEEPS}/{record.sweep_id}"))


def sweep(
    record: SweepRecord,
    request: SweepRequest,
    done: Iterable[int],
    rankings: Sequence[pb.SweepRanking],
    stored: Mapping[int, StoredResult],
) -> pb.Sweep:
    """A sweep; `stored` are the results whose rows, and tensors where there are any, it is to hold."""
    message = pb.Sweep.FromString(record.request)
    message.name = f"{SWEEPS}/{record.sweep_id}"
    message.state = _STATES[record.state]
    message.weights_sha256 = record.weights_sha256
    message.rankings.extend(rankings)
    message.create_time.CopyFrom(timestamp(record.create_time))
    if record.end_time is not None:
        message.end_time.CopyFrom(timestamp(record.end_time))
    message.search_duration.CopyFrom(convert.duration(record.progress.search_s))
    message.row_step_count = record.progress.row_steps_done
    finished = frozenset(done)
    settings = [convert.settings_message(each) for each in request.settings]
    for number in range(request.result_count):
        objective, setting = divmod(number, len(settings))
        result = message.results.add(objective_index=objective, settings=settings[setting], done=number in finished)
        if number in stored:
            _fill(result, stored[number])
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


def _objective(message: pb.SweepObjective, field: str) -> SweepObjective:
    if not message.HasField("objective"):
        raise InvalidArgument(f"{field}.objective", "is unset; give a layer, a unit or direction, and a sense")
    return SweepObjective(
        convert.objective(message.objective, f"{field}.objective"),
        convert.reference(message.reference, f"{field}.reference"),
        message.whole_layer,
    )


def _grid(message: pb.SweepGrid) -> Grid:
    field = "sweep.grid.optimisers"
    if len(message.optimisers) > len(convert.OPTIMISERS):
        raise InvalidArgument(field, f"got {len(message.optimisers)}; there are {len(convert.OPTIMISERS)}, each once")
    optimisers = tuple(
        convert.known(convert.OPTIMISERS, value, f"{field}[{index}]", pb.Optimiser.DESCRIPTOR)
        for index, value in enumerate(message.optimisers)
    )
    values = (tuple(message.learning_rates), tuple(message.prior_weights), tuple(message.steps))
    return Grid(*values, optimisers) if optimisers else Grid(*values)


def _settings(message: pb.SettingsList) -> tuple[Settings, ...]:
    return tuple(
        resolve(convert.given(each, f"sweep.settings_list.settings[{index}]"))
        for index, each in enumerate(message.settings)
    )
