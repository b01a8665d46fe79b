"""A model as the explainer describes it, and the settings that it recommends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import Layer, OutputKind, ProbabilityKind, UnitLabel, output_words
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Settings


@dataclass(frozen=True)
class Recommendation:
    """Settings that were found to explain `objective` well, a target among them in activations.

    `oversampling` rows are to be searched for each one that is kept. `row_count` explanations were judged against
    `reference`, said in words, and lay at the Fréchet `distance` over the unit.
    """

    objective: Objective
    settings: Settings
    oversampling: int
    reference: str
    distance: float
    row_count: int


@dataclass(frozen=True)
class Model:
    """One explainable bundle, as the explainer describes it; `features` is the feature profile in full."""

    name: str
    layers: tuple[Layer, ...]
    labels: tuple[UnitLabel, ...]
    latent_size: int
    sample_rate_hz: int
    band_count: int
    frame_count: int
    feature_profile: str
    features: Mapping[str, Any]
    weights_sha256: str
    training_data: str
    recommendations: tuple[Recommendation, ...] = ()
    has_gradient: bool = True
    """Whether it can be searched by gradient; else there are the walk and draws."""
    output_kind: OutputKind = "logit"
    probability_kind: ProbabilityKind | None = None
    """What makes probabilities of the output layer's units; None if an older explainer does not say it."""

    @property
    def output_words(self) -> str:
        """What the units of the output layer are, as a page labels them."""
        return output_words(self.output_kind, self.probability_kind, self.output_layer.unit_count)

    @property
    def output_layer(self) -> Layer:
        """The layer of the logits, or of what `output_words` says."""
        return next(layer for layer in self.layers if layer.kind == "output")

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises: InvalidArgument naming the layers there are.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise InvalidArgument("layer", f"got {name!r}; {self.name} has {names}")

    def unit_in(self, layer_name: str, unit: int) -> Layer:
        """The layer, when it has that unit.

        Raises: InvalidArgument naming the layers, or the highest unit, there is.
        """
        layer = self.layer(layer_name)
        if not 0 <= unit < layer.unit_count:
            raise InvalidArgument("unit", f"got {unit}; layer {layer.name} has units 0 to {layer.unit_count - 1}")
        return layer

    def recommendation(self, objective: Objective) -> Recommendation | None:
        """What it recommends for the objective, where it does."""
        return next((each for each in self.recommendations if each.objective == objective), None)

    def meaning(self, objective: Objective) -> str | None:
        """What the objective shows, e.g. `vocal`, where the model has a word for it."""
        if objective.layer != self.output_layer.name or objective.unit is None:
            return None
        label = next((label for label in self.labels if label.unit == objective.unit), None)
        return None if label is None else label.maximise if objective.sense == "maximise" else label.minimise
