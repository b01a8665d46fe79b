"""The plain values that go into and come out of the clients: frozen dataclasses, numpy arrays, no protobuf."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import Layer, LayerKind, UnitLabel

FloatArray = NDArray[np.float32]
Sense = Literal["maximise", "minimise"]
Optimiser = Literal["adam", "sgd", "normalised", "walk", "draws"]
Artefact = Literal["audio", "picture", "trajectory"]
StoppedBy = Literal["completed", "deadline"]
SelectionKind = Literal["all", "top", "bottom"]
MAX_SEED = 2**63 - 1
WEIGHTS_IN_WORDS = 4
"""Weights of a direction that are all named."""

__all__ = [
    "Artefact",
    "Criterion",
    "Explanation",
    "FloatArray",
    "KeptLayer",
    "Layer",
    "LayerKind",
    "MeasuredNearness",
    "Model",
    "Nearness",
    "Objective",
    "Optimiser",
    "Progress",
    "RankedBatch",
    "Ranking",
    "Recommendation",
    "Reference",
    "ReferenceIdentity",
    "ReferenceVersion",
    "Row",
    "Score",
    "ScoredBatch",
    "Search",
    "SearchResult",
    "SearchSummary",
    "Selection",
    "SelectionKind",
    "Sense",
    "Settings",
    "StoppedBy",
    "Target",
    "Trajectory",
    "UnitLabel",
]


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
    recommendations: "tuple[Recommendation, ...]" = ()
    has_gradient: bool = True
    """Whether it can be searched by gradient; else there are the walk and draws."""

    @property
    def output_layer(self) -> Layer:
        """The layer of the logits."""
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

    def recommendation(self, objective: "Objective") -> "Recommendation | None":
        """What it recommends for the objective, where it does."""
        return next((each for each in self.recommendations if each.objective == objective), None)

    def meaning(self, objective: "Objective") -> str | None:
        """What the objective shows, e.g. `vocal`, where the model has a word for it."""
        if objective.layer != self.output_layer.name or objective.unit is None:
            return None
        label = next((label for label in self.labels if label.unit == objective.unit), None)
        return None if label is None else label.maximise if objective.sense == "maximise" else label.minimise


@dataclass(frozen=True)
class Objective:
    """Which activation a search moves, and which way: one `unit`, or a `direction` of unit → weight."""

    layer: str
    unit: int | None = None
    sense: Sense = "maximise"
    direction: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if (self.unit is None) == (self.direction is None):
            raise InvalidArgument("objective", "needs exactly one of unit and direction")

    def __str__(self) -> str:
        return f"{self.sense} {self.layer}[{self.unit if self.direction is None else _weights_words(self.direction)}]"


def _weights_words(direction: Mapping[int, float]) -> str:
    """The weights, of many the heaviest alone: `+0.71·3 −0.52·0 and 62 more`; where they are left out, `direction`."""
    if not direction:
        return "direction"
    heaviest = list(direction.items())
    if len(heaviest) > WEIGHTS_IN_WORDS:
        heaviest = sorted(heaviest, key=lambda each: -abs(each[1]))[: WEIGHTS_IN_WORDS - 1]
    words = " ".join(f"{weight:+.3g}·{unit}" for unit, weight in heaviest)
    left = len(direction) - len(heaviest)
    return f"{words} and {left} more" if left else words


@dataclass(frozen=True)
class Target:
    """Where rows stop: at activations `low` to `high`, spread over the rows by their seeds; with `quantile` at such
    quantiles, 0 to 1, of the activations that the row's reference keeps."""

    low: float
    high: float
    quantile: bool = False


@dataclass(frozen=True)
class Settings:
    """Settings of a search; `None` leaves the choice to the server, and answers have every field that the optimiser
    uses."""

    optimiser: Optimiser | None = None
    learning_rate: float | None = None
    prior_weight: float | None = None
    steps: int | None = None
    weight_decay: float | None = None
    target: Target | None = None
    start_draws: int | None = None
    draws: int | None = None


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
class Nearness:
    """How near explanations are to a reference's rows: in which `layers` (none: all that it keeps), to how many of its
    rows (0: the server's choice). `diversity`, 0 to 1, is what being unlike the other kept rows counts beside it."""

    layers: tuple[str, ...] = ()
    neighbour_count: int = 0
    diversity: float = 0.0


def require_seeds(first: int, count: int, field: str = "seed") -> None:
    """Raises: InvalidArgument when not all of the seeds first, first + 1, ... are such as a request can hold."""
    if not 0 <= first <= MAX_SEED - (count - 1):
        counted = "" if count == 1 else f", and the last of {count}, {first + count - 1}, too"
        raise InvalidArgument(field, f"got {first}; a seed is 0 to 2^63 - 1 = {MAX_SEED}{counted}")


@dataclass(frozen=True)
class Row:
    """One row of a search: its seed, and an objective, settings or a reference of its own.

    Raises: InvalidArgument for the seed.
    """

    seed: int
    objective: Objective | None = None
    settings: Settings | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        require_seeds(self.seed, 1)


@dataclass(frozen=True)
class Search:
    """The latent optimisation of a batch of rows; `objective`, `settings` and `reference` hold for rows without their
    own.

    `keep_count` rows of each objective come back, the nearest to what its reference keeps; all where it is 0.
    """

    model: str
    rows: tuple[Row, ...]
    objective: Objective | None = None
    settings: Settings = Settings()
    reference: str | None = None
    keep_count: int = 0
    nearness: Nearness = Nearness()

    @classmethod
    def of(
        cls, model: str, objective: Objective, *, row_count: int, seed: int = 0, settings: Settings | None = None
    ) -> "Search":
        """`row_count` rows of one objective with the seeds `seed, seed + 1, ...`.

        Raises: InvalidArgument when there are not so many.
        """
        require_seeds(seed, row_count)
        rows = tuple(Row(seed + index) for index in range(row_count))
        return cls(model, rows, objective, settings or Settings())


@dataclass(frozen=True)
class Progress:
    """How far a search is: steps done and in all, each row's best activation so far, seconds left if known."""

    step: int
    step_count: int
    best_activations: tuple[float, ...]
    time_left_s: float | None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a row went through, each `[steps + 1]` float32 or shorter where the row was stopped; entry s is the iterate
    after s steps, entry 0 the first latent."""

    activations: FloatArray
    latent_norms: FloatArray
    gradient_norms: FloatArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """The best iterate of one row.

    `latent` `[Z]`, `spectrogram` `[bands, frames]` (not standardised), `layer_activations` `[units of the objective's
    layer]`, all float32. `audio_wav` (16-bit mono WAV file), `picture_png` and `trajectory` are there when asked for,
    the first two unless the deadline came before them.
    """

    row_index: int
    seed: int
    objective: Objective
    settings: Settings
    activation: float
    best_step: int
    latent: FloatArray
    spectrogram: FloatArray
    layer_activations: FloatArray
    audio_wav: bytes | None = None
    audio_gain: float | None = None
    picture_png: bytes | None = None
    trajectory: Trajectory | None = None
    diverged_step: int | None = None
    """Where the row diverged: the first iterate that was not finite. What it holds is its best before."""
    target: float | None = None
    """The activation at which the row was to stop, where it had one; `reached_target` says whether it did."""
    reached_target: bool = False
    nearness: float | None = None
    """Where rows were kept by nearness: its place among the searched rows of its objective, a mean over layers."""


@dataclass(frozen=True)
class SearchSummary:
    """What a search did: why it ended, its row-steps and seconds, the model's identity and where it ran."""

    stopped_by: StoppedBy
    row_step_count: int
    search_duration_s: float
    weights_sha256: str
    backend: str
    searched_count: int = 0
    """Rows that were searched, of which those that came back were kept."""
    evaluation_count: int = 0
    """Latents that were evaluated, draws among them."""
    missed_count: int = 0
    """Explanations that did not reach their target."""


@dataclass(frozen=True)
class SearchResult:
    """Explanations in the order of the rows, and the summary of their search."""

    explanations: tuple[Explanation, ...]
    summary: SearchSummary

    def layer_activations(self) -> FloatArray:
        """`[rows, units]`, float32: what is scored."""
        return np.stack([explanation.layer_activations for explanation in self.explanations])

    def activations(self) -> FloatArray:
        """`[rows]`, float32: the objective's activation of each explanation."""
        return np.array([explanation.activation for explanation in self.explanations], np.float32)


@dataclass(frozen=True)
class Selection:
    """Which real activations a reference keeps: all, or the `k` rows where `unit` is highest or lowest."""

    kind: SelectionKind = "all"
    unit: int | None = None
    k: int | None = None

    def __post_init__(self) -> None:
        given = self.unit is not None and self.k is not None
        if given == (self.kind == "all"):
            raise InvalidArgument("selection", f"{self.kind!r} needs {'no' if given else 'a'} unit and k")

    def __str__(self) -> str:
        return "all" if self.kind == "all" else f"{self.kind}-{self.k} of unit {self.unit}"


@dataclass(frozen=True)
class ReferenceIdentity:
    """What activations a reference is of: scores against anything else are refused."""

    model: str
    weights_sha256: str
    layer: str
    unit_count: int
    feature_profile: str

    @classmethod
    def of_model(cls, model: Model, layer: str) -> "ReferenceIdentity":
        """The identity of one layer of a model.

        Raises: InvalidArgument naming the layers there are.
        """
        found = model.layer(layer)
        return cls(model.name, model.weights_sha256, found.name, found.unit_count, model.feature_profile)


@dataclass(frozen=True)
class ReferenceVersion:
    """An immutable state of a reference; `selected_count` is the n of its statistics."""

    name: str
    row_count: int
    selected_count: int
    create_time: datetime
    unit_minimum: float | None
    unit_maximum: float | None


@dataclass(frozen=True)
class KeptLayer:
    """A layer of which the rows of a reference hold all activations."""

    name: str
    unit_count: int


@dataclass(frozen=True)
class Reference:
    """Statistics of real activations at one layer of one model, as the scorer describes them."""

    name: str
    identity: ReferenceIdentity
    selection: Selection
    description: str
    row_count: int
    shard_count: int
    versions: tuple[ReferenceVersion, ...]
    """Oldest first."""
    etag: str
    create_time: datetime
    kept_layers: tuple[KeptLayer, ...] = ()
    """Layers whose activations its rows hold, in the order of their columns; none where it is its own layer alone."""

    @property
    def layers(self) -> tuple[KeptLayer, ...]:
        """What a row holds: `kept_layers`, or its own layer."""
        return self.kept_layers or (KeptLayer(self.identity.layer, self.identity.unit_count),)

    @property
    def width(self) -> int:
        """Activations of a row."""
        return sum(each.unit_count for each in self.layers)


@dataclass(frozen=True, eq=False)
class MeasuredNearness:
    """Mean `distances` `[rows, layers]` float64 to the nearest rows of a `version` of a reference, in each of the
    `layers`."""

    distances: NDArray[np.float64]
    layers: tuple[str, ...]
    version: ReferenceVersion


@dataclass(frozen=True)
class Criterion:
    """What batches are ranked by: the published distance over the `unit`, Fréchet distances over `layers`, or nearness
    to the reference's rows in `layers` (none: all that it keeps).

    Over several layers the places by each are summed. Batches that leave the real range come last, unless that is
    allowed.
    """

    kind: Literal["unit", "distance", "nearness"] = "unit"
    layers: tuple[str, ...] = ()
    neighbour_count: int = 0
    outside_range_allowed: bool = False


@dataclass(frozen=True)
class Score:
    """A Fréchet distance and what is needed to judge it; the fields are those of the scorer's API.

    `outside_range_ratio`, 0 to 1, is the share of rows outside of the real range as far as the reference tells it; of
    the compared units that where it is largest.
    """

    distance: float
    mean_term: float
    covariance_term: float
    row_count: int
    reference_row_count: int
    dimension_count: int
    rank: int
    rank_deficient: bool
    interval_low: float
    interval_high: float
    noise_floor: float
    noise_floor_high: float
    outside_range_ratio: float


@dataclass(frozen=True)
class ScoredBatch:
    """A score and the version of the reference it was taken against."""

    score: Score
    version: ReferenceVersion


@dataclass(frozen=True)
class RankedBatch:
    """A batch's place among others: `rank` is 1 for the lowest distance.

    `probability_best`, 0 to 1, says how probable it is that no other batch has a lower distance in truth;
    `leaves_range` that its activations leave the range of the real ones: `score.outside_range_ratio` is above 0.5.
    """

    id: str
    rank: int
    score: Score
    probability_best: float
    leaves_range: bool
    criterion_value: float = 0.0
    """What it was ranked by: a distance, a nearness, or a sum of places."""
    kept_rows: tuple[int, ...] = ()
    """Of a sweep's result: the rows that were ranked, by their place among the seeds; empty where all were."""


@dataclass(frozen=True)
class Ranking:
    """Batches of equal size, best first, and the version of the reference they were scored against."""

    batches: tuple[RankedBatch, ...]
    version: ReferenceVersion
