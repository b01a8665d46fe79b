"""Searches, their objectives and settings, as they travel."""

from collections.abc import Sequence

import numpy as np
from google.protobuf.duration_pb2 import Duration

from earwitness.errors import InvalidArgument
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc import tensors
from earwitness.rpc.validate import resource_id, versioned_id
from earwitness.vocabulary.messages.enums import count, number, word
from earwitness.vocabulary.names import MODELS, REFERENCES, resource
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import (
    Artefact,
    Nearness,
    Progress,
    Row,
    Search,
    Settings,
    Target,
    Trajectory,
)

SENSES, OPTIMISERS, ARTEFACTS = pb.Sense.DESCRIPTOR, pb.Optimiser.DESCRIPTOR, pb.Artefact.DESCRIPTOR


def search_message(search: Search) -> pb.Search:
    """The message of a search; fields that are `None` stay unset."""
    return pb.Search(
        model=resource(MODELS, search.model),
        objective=None if search.objective is None else objective_message(search.objective),
        settings=None if search.settings == Settings() else settings_message(search.settings),
        rows=map(_row_message, search.rows),
        reference=_reference_name(search.reference),
        keep_count=search.keep_count,
        nearness=None if search.nearness == Nearness() else _nearness_message(search.nearness),
    )


def search_value(message: pb.Search, max_rows: int) -> Search:
    """Raises: InvalidArgument naming the field that is missing, too long or no value of its enum."""
    # Before millions of empty rows become millions of objects.
    if len(message.rows) > max_rows:
        raise InvalidArgument("search.rows", f"got {len(message.rows)} rows; a search has 1 to {max_rows}")
    return Search(
        model=resource_id(message.model, MODELS, "search.model"),
        rows=tuple(_row_value(row, f"search.rows[{index}]") for index, row in enumerate(message.rows)),
        objective=objective_value(message.objective, "search.objective") if message.HasField("objective") else None,
        settings=settings_value(message.settings, "search.settings"),
        reference=reference_value(message.reference, "search.reference"),
        keep_count=message.keep_count,
        nearness=Nearness(
            tuple(message.nearness.layers), message.nearness.neighbour_count, shortest(message.nearness.diversity)
        ),
    )


def _row_message(row: Row) -> pb.Row:
    return pb.Row(
        seed=row.seed,
        objective=None if row.objective is None else objective_message(row.objective),
        settings=None if row.settings is None else settings_message(row.settings),
        reference=_reference_name(row.reference),
    )


def _row_value(message: pb.Row, field: str) -> Row:
    if message.seed < 0:
        raise InvalidArgument(f"{field}.seed", f"got {message.seed}; a seed is 0 to 2^63 - 1")
    return Row(
        seed=message.seed,
        objective=objective_value(message.objective, f"{field}.objective") if message.HasField("objective") else None,
        settings=settings_value(message.settings, f"{field}.settings") if message.HasField("settings") else None,
        reference=reference_value(message.reference, f"{field}.reference"),
    )


def _nearness_message(nearness: Nearness) -> pb.Nearness:
    return pb.Nearness(layers=nearness.layers, neighbour_count=nearness.neighbour_count, diversity=nearness.diversity)


def _reference_name(name: str | None) -> str:
    return "" if name is None else resource(REFERENCES, name)


def reference_value(name: str, field: str) -> str | None:
    """A reference's resource name, None where it is empty. Raises: InvalidArgument."""
    if name:
        versioned_id(name, REFERENCES, field)
    return name or None


def objective_message(objective: Objective) -> pb.Objective:
    """The message of an objective."""
    message = pb.Objective(layer=objective.layer, sense=number(SENSES, objective.sense))
    if objective.direction is not None:
        units, weights = objective.direction.keys(), objective.direction.values()
        message.direction.CopyFrom(pb.Direction(units=units, weights=weights))
    elif objective.unit is not None:
        message.unit = objective.unit
    return message


def objective_value(message: pb.Objective, field: str = "objective") -> Objective:
    """An objective, whose direction may be left empty.

    Raises: InvalidArgument naming the part of `field` that is missing, repeated or no value of its enum.
    """
    sense = word(SENSES, message.sense, f"{field}.sense")
    match message.WhichOneof("target"):
        case "unit":
            return Objective(message.layer, message.unit, sense)
        case "direction":
            return Objective(message.layer, None, sense, _direction(message.direction, f"{field}.direction"))
        case _:
            raise InvalidArgument(field, f"has no target; give {field}.unit or {field}.direction")


def _direction(message: pb.Direction, field: str) -> dict[int, float]:
    units, weights = message.units, message.weights
    if len(units) != len(weights):
        raise InvalidArgument(
            f"{field}.weights", f"got {len(weights)} weights for {len(units)} units; give one for each"
        )
    found: dict[int, float] = {}
    for index, (unit, weight) in enumerate(zip(units, weights, strict=True)):
        if unit in found:
            raise InvalidArgument(f"{field}.units[{index}]", f"unit {unit} is there twice; add its weights into one")
        found[unit] = shortest(weight)
    return found


def settings_message(settings: Settings) -> pb.Settings:
    """The message of settings; what is `None` stays unset."""
    return pb.Settings(
        optimiser=number(OPTIMISERS, settings.optimiser or "unspecified"),
        learning_rate=settings.learning_rate,
        prior_weight=settings.prior_weight,
        steps=settings.steps,
        weight_decay=settings.weight_decay,
        target=None if settings.target is None else _target_message(settings.target),
        start_draws=settings.start_draws,
        draws=settings.draws,
    )


def settings_value(message: pb.Settings, field: str = "settings") -> Settings:
    """Settings as given. Raises: InvalidArgument for an unknown optimiser, or a target of no kind."""
    return Settings(
        optimiser=word(OPTIMISERS, message.optimiser, f"{field}.optimiser") if message.optimiser else None,
        learning_rate=shortest(message.learning_rate) if message.HasField("learning_rate") else None,
        prior_weight=shortest(message.prior_weight) if message.HasField("prior_weight") else None,
        steps=message.steps if message.HasField("steps") else None,
        weight_decay=shortest(message.weight_decay) if message.HasField("weight_decay") else None,
        target=_target_value(message.target, f"{field}.target") if message.HasField("target") else None,
        start_draws=message.start_draws if message.HasField("start_draws") else None,
        draws=message.draws if message.HasField("draws") else None,
    )


def _target_message(target: Target) -> pb.Target:
    ends = pb.Range(low=target.low, high=target.high)
    return pb.Target(quantile=ends) if target.quantile else pb.Target(activation=ends)


def _target_value(message: pb.Target, field: str) -> Target:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument(field, f"has no kind; give {field}.activation or {field}.quantile")
    ends = message.activation if kind == "activation" else message.quantile
    return Target(shortest(ends.low), shortest(ends.high), quantile=kind == "quantile")


def artefact_values(numbers: Sequence[int]) -> frozenset[Artefact]:
    """Raises: InvalidArgument naming the element that is no artefact."""
    if len(numbers) > count(ARTEFACTS):
        raise InvalidArgument("artefacts", f"got {len(numbers)}; there are {count(ARTEFACTS)} to ask for, each once")
    return frozenset(word(ARTEFACTS, value, f"artefacts[{index}]") for index, value in enumerate(numbers))


def progress_value(message: pb.Progress) -> Progress:
    """How far a search is."""
    return Progress(
        step=message.step,
        step_count=message.step_count,
        best_activations=tuple(message.best_activations),
        time_left_s=message.time_left.ToTimedelta().total_seconds() if message.HasField("time_left") else None,
    )


def trajectory_message(trajectory: Trajectory) -> pb.Trajectory:
    """By its bytes: as lists of Python numbers, a long search of many rows would take seconds."""
    fields = pb.Trajectory.DESCRIPTOR.fields_by_name
    return pb.Trajectory.FromString(
        b"".join(
            tensors.packed_floats(fields[name].number, getattr(trajectory, name))
            for name in ("activations", "latent_norms", "gradient_norms")
        )
    )


def trajectory_value(message: pb.Trajectory) -> Trajectory:
    """What a row went through."""
    return Trajectory(
        activations=np.array(message.activations, np.float32),
        latent_norms=np.array(message.latent_norms, np.float32),
        gradient_norms=np.array(message.gradient_norms, np.float32),
    )


def duration(seconds: float) -> Duration:
    """The message of so many seconds."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def shortest(value: float) -> float:
    """The shortest decimal that is this float32: 0.01, not 0.009999999776."""
    return float(str(np.float32(value)))
