"""What the explainer found, and its models, to the messages of the contract."""

import json
from dataclasses import dataclass

from earwitness.explainer.explaining import Explanation, Found
from earwitness.explainer.plan import Artefact
from earwitness.explainer.recommended import settings_of
from earwitness.explainer.search import Progress
from earwitness.explainer.state import StoppedBy
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.recommendation import Recommendation
from earwitness.rpc import tensors
from earwitness.vocabulary.messages.enums import number
from earwitness.vocabulary.messages.search import (
    ARTEFACTS,
    SENSES,
    duration,
    objective_message,
    settings_message,
    trajectory_message,
)
from earwitness.vocabulary.names import MODELS


def model_message(bundle: BundleMetadata) -> pb.Model:
    """The message of a bundle."""
    bands, frames = bundle.spectrogram_shape
    return pb.Model(
        name=f"{MODELS}/{bundle.name}",
        layers=[
            pb.Layer(name=layer.name, kind=number(pb.LayerKind.DESCRIPTOR, layer.kind), unit_count=layer.unit_count)
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
        output_kind=pb.OutputKind.Value(f"OUTPUT_KIND_{bundle.output_kind.upper()}"),
        probability_kind=pb.ProbabilityKind.Value(f"PROBABILITY_KIND_{bundle.probability_kind.upper()}"),
    )


def _recommendation_message(each: Recommendation) -> pb.Recommendation:
    return pb.Recommendation(
        objective=pb.Objective(layer=each.layer, unit=each.unit, sense=number(SENSES, each.sense)),
        settings=settings_message(settings_of(each).said()),
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
        settings=settings_message(explanation.row.settings.said()),
        activation=explanation.activation,
        best_step=explanation.best_step,
        diverged_step=explanation.diverged_step,
        latent=tensors.encode(explanation.latent),
        spectrogram=tensors.encode(explanation.spectrogram),
        layer_activations=tensors.encode(explanation.layer_activations),
        audio_wav=audio.wav if audio else b"",
        audio_gain=audio.gain if audio else 0.0,
        picture_png=explanation.picture_png or b"",
        trajectory=trajectory_message(explanation.trajectory) if explanation.trajectory else None,
        left_out=[number(ARTEFACTS, each.value) for each in Artefact if each in explanation.left_out],
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
    stopped_by = StoppedBy.DEADLINE if shortfall.cut_short else found.outcome.stopped_by
    return pb.SearchSummary(
        stopped_by=number(pb.StoppedBy.DESCRIPTOR, stopped_by.value),
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
