"""The explainer's protobuf messages to plain values and back."""

import json
from itertools import accumulate
from typing import cast

import numpy as np

from earwitness.client import values
from earwitness.client.names import resource
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc import tensors


def search_message(search: values.Search) -> pb.Search:
    """The message of a search; fields that are `None` stay unset."""
    message = pb.Search(model=resource("models", search.model), keep_count=search.keep_count)
    if search.settings != values.Settings():
        message.settings.CopyFrom(settings_message(search.settings))
    if search.reference is not None:
        message.reference = resource("references", search.reference)
    if search.nearness != values.Nearness():
        message.nearness.CopyFrom(
            pb.Nearness(
                layers=search.nearness.layers,
                neighbour_count=search.nearness.neighbour_count,
                diversity=search.nearness.diversity,
            )
        )
    if search.objective is not None:
        message.objective.CopyFrom(objective_message(search.objective))
    for row in search.rows:
        row_message = message.rows.add(seed=row.seed)
        if row.objective is not None:
            row_message.objective.CopyFrom(objective_message(row.objective))
        if row.settings is not None:
            row_message.settings.CopyFrom(settings_message(row.settings))
        if row.reference is not None:
            row_message.reference = resource("references", row.reference)
    return message


def objective_message(objective: values.Objective) -> pb.Objective:
    """The message of an objective."""
    sense = pb.Sense.Value(f"SENSE_{objective.sense.upper()}")
    if objective.direction is None:
        assert objective.unit is not None
        return pb.Objective(layer=objective.layer, unit=objective.unit, sense=sense)
    direction = pb.Direction(units=objective.direction.keys(), weights=objective.direction.values())
    return pb.Objective(layer=objective.layer, direction=direction, sense=sense)


def settings_message(settings: values.Settings) -> pb.Settings:
    """The message of settings; what is `None` is left to the server."""
    optimiser = (
        pb.OPTIMISER_UNSPECIFIED
        if settings.optimiser is None
        else pb.Optimiser.Value(f"OPTIMISER_{settings.optimiser.upper()}")
    )
    return pb.Settings(
        optimiser=optimiser,
        learning_rate=settings.learning_rate,
        prior_weight=settings.prior_weight,
        steps=settings.steps,
        weight_decay=settings.weight_decay,
        target=None if settings.target is None else _target_message(settings.target),
        start_draws=settings.start_draws,
        draws=settings.draws,
    )


def _target_message(target: values.Target) -> pb.Target:
    ends = pb.Range(low=target.low, high=target.high)
    return pb.Target(quantile=ends) if target.quantile else pb.Target(activation=ends)


def artefact_value(artefact: values.Artefact) -> pb.Artefact.ValueType:
    """The enum value of an artefact's name."""
    return pb.Artefact.Value(f"ARTEFACT_{artefact.upper()}")


def model_value(message: pb.Model) -> values.Model:
    """A model; each layer's units follow those of the layers before it."""
    counts = [layer.unit_count for layer in message.layers]
    return values.Model(
        name=message.name.removeprefix("models/"),
        layers=tuple(
            values.Layer(
                layer.name,
                cast(values.LayerKind, pb.LayerKind.Name(layer.kind).removeprefix("LAYER_KIND_").lower()),
                layer.unit_count,
                first_unit,
            )
            for layer, first_unit in zip(message.layers, accumulate(counts, initial=0), strict=False)
        ),
        labels=tuple(values.UnitLabel(label.unit, label.maximise, label.minimise) for label in message.labels),
        latent_size=message.latent_size,
        sample_rate_hz=message.sample_rate_hz,
        band_count=message.band_count,
        frame_count=message.frame_count,
        feature_profile=message.feature_profile,
        features=json.loads(message.features_json),
        weights_sha256=message.weights_sha256,
        training_data=message.training_data,
        recommendations=tuple(map(_recommendation_value, message.recommendations)),
        has_gradient=message.has_gradient,
    )


def _recommendation_value(message: pb.Recommendation) -> values.Recommendation:
    return values.Recommendation(
        objective=objective_value(message.objective),
        settings=settings_value(message.settings),
        oversampling=message.oversampling,
        reference=message.reference,
        distance=message.distance,
        row_count=message.row_count,
    )


def explanation_value(message: pb.Explanation) -> values.Explanation:
    """An explanation with its tensors as arrays."""
    return values.Explanation(
        row_index=message.row_index,
        seed=message.seed,
        objective=objective_value(message.objective),
        settings=settings_value(message.settings),
        activation=_short(message.activation),
        best_step=message.best_step,
        latent=_array(message, "latent", 1),
        spectrogram=_array(message, "spectrogram", 2),
        layer_activations=_array(message, "layer_activations", 1),
        audio_wav=message.audio_wav or None,
        audio_gain=message.audio_gain if message.audio_wav else None,
        picture_png=message.picture_png or None,
        trajectory=_trajectory_value(message.trajectory) if message.HasField("trajectory") else None,
        diverged_step=message.diverged_step if message.HasField("diverged_step") else None,
        target=_short(message.target) if message.HasField("target") else None,
        reached_target=message.reached_target,
        nearness=_short(message.nearness) if message.HasField("nearness") else None,
    )


def progress_value(message: pb.Progress) -> values.Progress:
    """How far a search is."""
    return values.Progress(
        step=message.step,
        step_count=message.step_count,
        best_activations=tuple(message.best_activations),
        time_left_s=message.time_left.ToTimedelta().total_seconds() if message.HasField("time_left") else None,
    )


def summary_value(message: pb.SearchSummary) -> values.SearchSummary:
    """What a search did."""
    return values.SearchSummary(
        stopped_by=cast(values.StoppedBy, pb.StoppedBy.Name(message.stopped_by).removeprefix("STOPPED_BY_").lower()),
        row_step_count=message.row_step_count,
        search_duration_s=message.search_duration.ToTimedelta().total_seconds(),
        weights_sha256=message.weights_sha256,
        backend=message.backend,
        searched_count=message.searched_count,
        evaluation_count=message.evaluation_count,
        missed_count=message.missed_count,
    )


def objective_value(message: pb.Objective) -> values.Objective:
    """An objective."""
    return values.Objective(
        layer=message.layer,
        unit=message.unit if message.HasField("unit") else None,
        sense=cast(values.Sense, pb.Sense.Name(message.sense).removeprefix("SENSE_").lower()),
        direction=(
            {
                unit: _short(weight)
                for unit, weight in zip(message.direction.units, message.direction.weights, strict=True)
            }
            if message.HasField("direction")
            else None
        ),
    )


def settings_value(message: pb.Settings) -> values.Settings:
    """Settings as used."""
    return values.Settings(
        optimiser=cast(values.Optimiser, pb.Optimiser.Name(message.optimiser).removeprefix("OPTIMISER_").lower()),
        learning_rate=_short(message.learning_rate) if message.HasField("learning_rate") else None,
        prior_weight=_short(message.prior_weight) if message.HasField("prior_weight") else None,
        steps=message.steps if message.HasField("steps") else None,
        weight_decay=_short(message.weight_decay) if message.HasField("weight_decay") else None,
        target=_target_value(message.target) if message.HasField("target") else None,
        start_draws=message.start_draws if message.HasField("start_draws") else None,
        draws=message.draws if message.HasField("draws") else None,
    )


def _target_value(message: pb.Target) -> values.Target:
    quantile = message.WhichOneof("kind") == "quantile"
    ends = message.quantile if quantile else message.activation
    return values.Target(_short(ends.low), _short(ends.high), quantile)


def _trajectory_value(message: pb.Trajectory) -> values.Trajectory:
    return values.Trajectory(
        activations=np.array(message.activations, np.float32),
        latent_norms=np.array(message.latent_norms, np.float32),
        gradient_norms=np.array(message.gradient_norms, np.float32),
    )


def _array(message: pb.Explanation, field: str, rank: int) -> values.FloatArray:
    return np.asarray(tensors.decode(getattr(message, field), field, rank=rank), np.float32)


def _short(value: float) -> float:
    """The shortest decimal that is this float32: 0.01, not 0.009999999776."""
    return float(str(np.float32(value)))
