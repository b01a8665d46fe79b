"""What an output folder is made of."""

from dataclasses import dataclass
from datetime import datetime

from earwitness.client.output.report import RealExcerpt
from earwitness.client.values import Explanation, Model, Objective, Reference, ScoredBatch, SearchResult


@dataclass(frozen=True)
class Scoring:
    """A score, the reference it was taken against, and the one unit compared (`None`: the whole layer)."""

    reference: Reference
    unit: int | None
    scored: ScoredBatch


@dataclass(frozen=True)
class Run:
    """One search of one objective, and all that is known of it.

    `unscored` is why it has no score although one was asked for. `starts` are the first latents of the first rows as
    explanations; `excerpts` of real audio (most activating first) are set beside them.
    """

    model: Model
    objective: Objective
    result: SearchResult
    scoring: Scoring | None
    finished: datetime
    unscored: Exception | None = None
    starts: tuple[Explanation, ...] = ()
    excerpts: tuple[RealExcerpt, ...] = ()

    @property
    def meaning(self) -> str | None:
        """What the objective shows, in the model's words."""
        return self.model.meaning(self.objective)


def file_stem(explanation: Explanation) -> str:
    """Name, without suffix, of an explanation's files: its row index with three digits."""
    return f"{explanation.row_index:03d}"
