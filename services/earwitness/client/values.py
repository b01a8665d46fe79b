"""The plain values that go into and come out of the clients: frozen dataclasses, numpy arrays, no protobuf."""

from dataclasses import dataclass

import numpy as np

from earwitness.inference.metadata import Layer, LayerKind, OutputKind, ProbabilityKind, UnitLabel
from earwitness.vocabulary.model import Model, Recommendation
from earwitness.vocabulary.objective import Objective, Sense
from earwitness.vocabulary.reference import (
    KeptLayer,
    Reference,
    ReferenceIdentity,
    ReferenceVersion,
    Selection,
    SelectionKind,
)
from earwitness.vocabulary.score import Criterion, MeasuredNearness, RankedBatch, Ranking, Score, ScoredBatch
from earwitness.vocabulary.search import (
    Artefact,
    FloatArray,
    Nearness,
    Optimiser,
    Progress,
    Row,
    Search,
    Settings,
    StoppedBy,
    Target,
    Trajectory,
)

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
    "OutputKind",
    "ProbabilityKind",
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
