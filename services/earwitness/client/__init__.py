"""The Python client: `ExplainerClient`, `SweepClient`, `ScorerClient`, references, output folders. All asyncio."""

from earwitness.client.channel import Tls
from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.partials import Moments, Partial, VersionStatistics
from earwitness.client.references import BuiltReference, build_reference, build_reference_from_activations
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweep_values import (
    PAPER_GRID,
    Grid,
    Sweep,
    SweepObjective,
    SweepPlan,
    SweepProgress,
    SweepRanking,
    SweepResult,
)
from earwitness.client.sweeps import SweepClient
from earwitness.client.values import (
    Explanation,
    Model,
    Nearness,
    Objective,
    Progress,
    RankedBatch,
    Ranking,
    Recommendation,
    Reference,
    ReferenceIdentity,
    ReferenceVersion,
    Row,
    Score,
    ScoredBatch,
    Search,
    SearchResult,
    Selection,
    Settings,
    Target,
)

__all__ = [
    "ALL_ARTEFACTS",
    "PAPER_GRID",
    "BuiltReference",
    "ExplainerClient",
    "Explanation",
    "Grid",
    "Model",
    "Moments",
    "Nearness",
    "Objective",
    "Partial",
    "Progress",
    "RankedBatch",
    "Ranking",
    "Recommendation",
    "Reference",
    "ReferenceIdentity",
    "ReferenceVersion",
    "Row",
    "RpcFailure",
    "Score",
    "ScoredBatch",
    "ScorerClient",
    "Search",
    "SearchResult",
    "Selection",
    "Settings",
    "Sweep",
    "SweepClient",
    "SweepObjective",
    "SweepPlan",
    "SweepProgress",
    "SweepRanking",
    "SweepResult",
    "Target",
    "Tls",
    "VersionStatistics",
    "build_reference",
    "build_reference_from_activations",
]
