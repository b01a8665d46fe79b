"""The explainer's protobuf messages to plain values and back; fills in the defaults that the proto states."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration

from earwitness.errors import InvalidArgument
from earwitness.explainer.explaining import Explanation, Found
from earwitness.explainer.objective import Direction, Objective, Sense
from earwitness.explainer.plan import Artefact, Nearness, Row, Search
from earwitness.explainer.recommended import settings_of
from earwitness.explainer.search import Progress
from earwitness.explainer.state import StoppedBy, Trajectory
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.ways import Given, OptimiserName, Settings, Target
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.recommendation import Recommendation
from earwitness.rpc import tensors
from earwitness.rpc.validate import resource_id, versioned_id

MODELS = "models"
_SENSES: dict[int, Sense] = {pb.SENSE_MAXIMISE: Sense.MAXIMISE, pb.SENSE_MINIMISE: Sense.MINIMISE}
OPTIMISERS: dict[int, OptimiserName] = {
    pb.OPTIMISER_ADAM: OptimiserName.ADAM,
    pb.OPTIMISER_SGD: OptimiserName.SGD,
    pb.OPTIMISER_NORMALISED: OptimiserName.NORMALISED,
    pb.OPTIMISER_WALK: OptimiserName.WALK,
    pb.OPTIMISER_DRAWS: OptimiserName.DRAWS,
}
_OPTIMISER_NUMBERS = {name: cast(Any, number) for number, name in OPTIMISERS.items()}
_ARTEFACTS: dict[int, Artefact] = {
    pb.ARTEFACT_AUDIO: Artefact.AUDIO,
    pb.ARTEFACT_PICTURE: Artefact.PICTURE,
    pb.ARTEFACT_TRAJECTORY: Artefact.TRAJECTORY,
}
_STOPPED_BY = {
    StoppedBy.COMPLETED: pb.STOPPED_BY_COMPLETED,
    StoppedBy.DEADLINE: pb.STOPPED_BY_DEADLINE,
}
_LAYER_KINDS = {"dense": pb.LAYER_KIND_DENSE, "conv": pb.LAYER_KIND_CONV, "output": pb.LAYER_KIND_OUTPUT}

_Value = TypeVar("_Value")


def model_id(name: str, field: str) -> str:
    """The bundle's name in a resource name. Raises: InvalidArgument."""
    return resource_id(name, MODELS, field)


def search(message: pb.Search, max_rows: int) -> Search:
    """Raises: InvalidArgument naming the field that is missing, too long or no value of its enum."""
    # Before millions of empty rows become millions of objects.
    if len(message.rows) > max_rows:
        raise InvalidArgument("search.rows", f"got {len(message.rows)} rows; a search has 1 to {max_rows}")
    return Search(
        model=model_id(message.model, "search.model"),
        objective=objective(message.objective, "search.objective") if message.HasField("objective") else None,
        settings=given(message.settings, "search.settings") if message.HasField("settings") else None,
        rows=tuple(_row(row, f"search.rows[{index}]") for index, row in enumerate(message.rows)),
        reference=reference(message.reference, "search.reference"),
        keep_count=message.keep_count,
        nearness=nearness(message.nearness),
    )


def nearness(message: pb.Nearness) -> Nearness:
    """How rows are kept."""
    return Nearness(tuple(message.layers), message.neighbour_count, message.diversity)


def reference(name: str, field: str) -> str:
    """A reference's name, "" for none. Raises: InvalidArgument."""
    if name:
        versioned_id(name, "references", field)
    return name


def artefacts(values: Sequence[int]) -> frozenset[Artefact]:
    """Raises: InvalidArgument naming the element that is no artefact."""
    if len(values) > len(_ARTEFACTS):
        raise InvalidArgument("artefacts", f"got {len(values)}; there are {len(_ARTEFACTS)} to ask for, each once")
    return frozenset(
        known(_ARTEFACTS, value, f"artefacts[{index}]", pb.Artefact.DESCRIPTOR) for index, value in enumerate(values)
    )


def model_message(bundle: BundleMetadata) -> pb.Model:
    """The message of a bundle."""
    bands, frames = bundle.spectrogram_shape
    return pb.Model(
        name=f"{MODELS}/{bundle.name}",
        layers=[
            pb.Layer(name=layer.name, kind=_LAYER_KINDS[layer.kind], unit_count=layer.unit_count)
            for layer in bundle.layers
        ],
        labels=[
            pb.UnitLabel(unit=label.unit, maximise=label.maximise, minimise=label.minimise) for label in bundle.labels
        ],
        latent_size=bundle.latent_size,
        sample_rate_hz=bundle.sample_rate_hz,
        band_count=bands,
        frame_count=frames,
        feature_profile=bundle.features.get("name", ""),
        features_json=json.dumps(bundle.features, sort_keys=True),
        weights_sha256=bundle.weights_sha256,
        training_data=bundle.training_data,
        recommendations=map(_recommendation_message, bundle.recommendations),
        has_gradient=bundle.has_gradient,
    )


def _recommendation_message(each: Recommendation) -> pb.Recommendation:
    return pb.Recommendation(
        objective=pb.Objective(layer=each.layer, unit=each.unit, sense=pb.Sense.Value(f"SENSE_{each.sense.upper()}")),
        settings=settings_message(settings_of(each)),
        oversampling=each.oversampling,
        reference=each.reference,
        distance=each.distance,
        row_count=each.row_count,
    )


def explanation_message(explanation: Explanation) -> pb.Explanation:
    """The message of an explanation."""
    audio = explanation.audio
    return pb.Explanation(
        row_index=explanation.row_index,
        seed=explanation.row.seed,
        objective=objective_message(explanation.row.objective),
        settings=settings_message(explanation.row.settings),
        activation=explanation.activation,
        best_step=explanation.best_step,
        diverged_step=explanation.diverged_step,
        latent=tensors.encode(explanation.latent),
        spectrogram=tensors.encode(explanation.spectrogram),
        layer_activations=tensors.encode(explanation.layer_activations),
        audio_wav=audio.wav if audio else b"",
        audio_gain=audio.gain if audio else 0.0,
        picture_png=explanation.picture_png or b"",
        trajectory=_trajectory_message(explanation.trajectory) if explanation.trajectory else None,
        left_out=cast(Any, [number for number, artefact in _ARTEFACTS.items() if artefact in explanation.left_out]),
        nearness=explanation.nearness,
        target=explanation.row.target,
        reached_target=explanation.reached_target,
    )


@dataclass
class Shortfall:
    """What the explanations of a search lack: whether some were cut short by the time, and how many are incomplete."""

    cut_short: bool = False
    incomplete_count: int = 0

    def add(self, explanation: Explanation) -> None:
        """Count one in."""
        self.cut_short |= explanation.cut_short
        self.incomplete_count += bool(explanation.left_out)


def summary_message(found: Found, shortfall: Shortfall) -> pb.SearchSummary:
    """The message of what a search did, and of what its explanations lack."""
    return pb.SearchSummary(
        stopped_by=pb.STOPPED_BY_DEADLINE if shortfall.cut_short else _STOPPED_BY[found.outcome.stopped_by],
        row_step_count=found.outcome.row_step_count,
        search_duration=duration(found.outcome.duration_s),
        weights_sha256=found.plan.bundle.weights_sha256,
        backend=found.backend,
        incomplete_count=shortfall.incomplete_count,
        searched_count=found.searched_count or len(found.plan.rows),
        evaluation_count=found.outcome.evaluation_count,
        missed_count=sum(
            row.target is not None and not row.reached_by(activation)
            for row, activation in zip(found.plan.rows, found.outcome.activations.tolist(), strict=True)
        ),
    )


def progress_message(progress: Progress) -> pb.Progress:
    """The message of how far a search is."""
    return pb.Progress(
        step=progress.step,
        step_count=progress.step_count,
        best_activations=progress.best_activations.tolist(),
        time_left=duration(progress.time_left_s),
    )


def _row(message: pb.Row, field: str) -> Row:
    return Row(
        seed=message.seed,
        objective=objective(message.objective, f"{field}.objective") if message.HasField("objective") else None,
        settings=given(message.settings, f"{field}.settings") if message.HasField("settings") else None,
        reference=reference(message.reference, f"{field}.reference"),
    )


def objective(message: pb.Objective, field: str) -> Objective:
    """Raises: InvalidArgument naming the part of `field` that is missing or no value of its enum."""
    target: int | Direction
    match message.WhichOneof("target"):
        case "unit":
            target = message.unit
        case "direction":
            target = Direction(tuple(message.direction.units), tuple(message.direction.weights))
        case _:
            raise InvalidArgument(field, f"has no target; give {field}.unit or {field}.direction")
    return Objective(message.layer, target, known(_SENSES, message.sense, f"{field}.sense", pb.Sense.DESCRIPTOR))


def given(message: pb.Settings, field: str) -> Given:
    """Settings as asked for. Raises: InvalidArgument for an unknown optimiser, or a target of no kind."""
    optimiser = None
    if message.optimiser:
        optimiser = known(OPTIMISERS, message.optimiser, f"{field}.optimiser", pb.Optimiser.DESCRIPTOR)
    return Given(
        optimiser=optimiser,
        learning_rate=message.learning_rate if message.HasField("learning_rate") else None,
        prior_weight=message.prior_weight if message.HasField("prior_weight") else None,
        steps=message.steps if message.HasField("steps") else None,
        weight_decay=message.weight_decay if message.HasField("weight_decay") else None,
        target=_target(message.target, f"{field}.target") if message.HasField("target") else None,
        start_draws=message.start_draws if message.HasField("start_draws") else None,
        draws=message.draws if message.HasField("draws") else None,
    )


def _target(message: pb.Target, field: str) -> Target:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgument(field, f"has no kind; give {field}.activation or {field}.quantile")
    ends = message.activation if kind == "activation" else message.quantile
    return Target(ends.low, ends.high, quantile=kind == "quantile")


def objective_message(objective: Objective) -> pb.Objective:
    """The message of an objective."""
    sense = pb.SENSE_MAXIMISE if objective.sense is Sense.MAXIMISE else pb.SENSE_MINIMISE
    if isinstance(objective.target, Direction):
        direction = pb.Direction(units=objective.target.units, weights=objective.target.weights)
        return pb.Objective(layer=objective.layer, direction=direction, sense=sense)
    return pb.Objective(layer=objective.layer, unit=objective.target, sense=sense)


def settings_message(settings: Settings) -> pb.Settings:
    """The message of settings, nothing left out that the way uses."""
    optimiser = _OPTIMISER_NUMBERS[settings.optimiser]
    if settings.optimiser is OptimiserName.DRAWS:
        return pb.Settings(optimiser=optimiser, draws=settings.draws)
    return pb.Settings(
        optimiser=optimiser,
        learning_rate=settings.learning_rate,
        prior_weight=settings.prior_weight,
        steps=settings.steps,
        weight_decay=settings.weight_decay,
        target=None if settings.target is None else _target_message(settings.target),
        start_draws=None if settings.start_draws == 1 else settings.start_draws,
    )


def _target_message(target: Target) -> pb.Target:
    ends = pb.Range(low=target.low, high=target.high)
    return pb.Target(quantile=ends) if target.quantile else pb.Target(activation=ends)


def _trajectory_message(trajectory: Trajectory) -> pb.Trajectory:
    """By its bytes: as lists of Python numbers, a long search of many rows would take seconds."""
    fields = pb.Trajectory.DESCRIPTOR.fields_by_name
    return pb.Trajectory.FromString(
        b"".join(
            tensors.packed_floats(fields[name].number, getattr(trajectory, name))
            for name in ("activations", "latent_norms", "gradient_norms")
        )
    )


def duration(seconds: float) -> Duration:
    """The message of so many seconds."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def known(values: Mapping[int, _Value], number: int, field: str, enum: EnumDescriptor) -> _Value:
    """Raises: InvalidArgument listing the names that are allowed."""
    if number not in values:
        allowed = ", ".join(enum.values_by_number[each].name for each in values)
        raise InvalidArgument(field, f"is {number}, which is unset or unknown; must be one of {allowed}")
    return values[number]
