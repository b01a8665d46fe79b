"""What the explainer answers, as plain values."""

import json
from itertools import accumulate
from typing import cast

import numpy as np

from earwitness.client.values import Explanation, SearchSummary
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.metadata import Layer, ProbabilityKind, UnitLabel
from earwitness.rpc import tensors
from earwitness.vocabulary.messages.enums import word
from earwitness.vocabulary.messages.search import objective_value, settings_value, shortest, trajectory_value
from earwitness.vocabulary.model import Model, Recommendation
from earwitness.vocabulary.search import FloatArray


def model_value(message: pb.Model) -> Model:
    """A model; each layer's units follow those of the layers before it."""
    counts = [layer.unit_count for layer in message.layers]
    return Model(
        name=message.name.removeprefix("models/"),
        layers=tuple(
            Layer(
                layer.name,
                word(pb.LayerKind.DESCRIPTOR, layer.kind, "layers.kind"),
                layer.unit_count,
                first_unit,
            )
            for layer, first_unit in zip(message.layers, accumulate(counts, initial=0), strict=False)
        ),
        labels=tuple(UnitLabel(label.unit, label.maximise, label.minimise) for label in message.labels),
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
        output_kind="probability" if message.output_kind == pb.OUTPUT_KIND_PROBABILITY else "logit",
        probability_kind=_probability_kind(message),
    )


def _probability_kind(message: pb.Model) -> ProbabilityKind | None:
    if message.probability_kind == pb.PROBABILITY_KIND_UNSPECIFIED:
        return None
    name = pb.ProbabilityKind.Name(message.probability_kind).removeprefix("PROBABILITY_KIND_").lower()
    return cast(ProbabilityKind, name)


def _recommendation_value(message: pb.Recommendation) -> Recommendation:
    return Recommendation(
        objective=objective_value(message.objective),
        settings=settings_value(message.settings),
        oversampling=message.oversampling,
        reference=message.reference,
        distance=message.distance,
        row_count=message.row_count,
    )


def explanation_value(message: pb.Explanation) -> Explanation:
    """An explanation with its tensors as arrays."""
    return Explanation(
        row_index=message.row_index,
        seed=message.seed,
        objective=objective_value(message.objective),
        settings=settings_value(message.settings),
        activation=shortest(message.activation),
        best_step=message.best_step,
        latent=_array(message, "latent", 1),
        spectrogram=_array(message, "spectrogram", 2),
        layer_activations=_array(message, "layer_activations", 1),
        audio_wav=message.audio_wav or None,
        audio_gain=message.audio_gain if message.audio_wav else None,
        picture_png=message.picture_png or None,
        trajectory=trajectory_value(message.trajectory) if message.HasField("trajectory") else None,
        diverged_step=message.diverged_step if message.HasField("diverged_step") else None,
        target=shortest(message.target) if message.HasField("target") else None,
        reached_target=message.reached_target,
        nearness=shortest(message.nearness) if message.HasField("nearness") else None,
    )


def summary_value(message: pb.SearchSummary) -> SearchSummary:
    """What a search did."""
    return SearchSummary(
        stopped_by=word(pb.StoppedBy.DESCRIPTOR, message.stopped_by, "stopped_by"),
        row_step_count=message.row_step_count,
        search_duration_s=message.search_duration.ToTimedelta().total_seconds(),
        weights_sha256=message.weights_sha256,
        backend=message.backend,
        searched_count=message.searched_count,
        evaluation_count=message.evaluation_count,
        missed_count=message.missed_count,
    )


def _array(message: pb.Explanation, field: str, rank: int) -> FloatArray:
    return np.asarray(tensors.decode(getattr(message, field), field, rank=rank), np.float32)
