"""The Python client: `ExplainerClient`, `ScorerClient`, references from recordings, output folders. All asyncio."""

from earwitness.client.channel import Tls
from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ALL_ARTEFACTS, ExplainerClient
from earwitness.client.references import BuiltReference, build_reference, build_reference_from_activations
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import (
    Explanation,
    Model,
    Objective,
    Progress,
    RankedBatch,
    Ranking,
    Reference,
    ReferenceIdentity,
    Row,
    Score,
    ScoredBatch,
    Search,
    SearchResult,
    Selection,
    Settings,
)

__all__ = [
    "ALL_ARTEFACTS",
    "BuiltReference",
    "ExplainerClient",
    "Explanation",
    "Model",
    "Objective",
    "Progress",
    "RankedBatch",
    "Ranking",
    "Reference",
    "ReferenceIdentity",
    "Row",
    "RpcFailure",
    "Score",
    "ScoredBatch",
    "ScorerClient",
    "Search",
    "SearchResult",
    "Selection",
    "Settings",
    "Tls",
    "build_reference",
    "build_reference_from_activations",
]
