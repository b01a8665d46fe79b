"""What is known of a sweep beside its results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from earwitness.vocabulary.sweep import SweepPlan


class State(Enum):
    """Where a sweep stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True)
class Progress:
    """How far a running sweep is: steps summed over the rows, the speed lately (0 before there is one), and what it
    waits for, "" while it goes on."""

    row_steps_done: int = 0
    row_steps_per_second: float = 0.0
    search_s: float = 0.0
    waiting_for: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a sweep failed, as a caller is told: a canonical code, words, and details by the names of their types."""

    code: int
    message: str
    details: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class NewSweep:
    """A sweep to be stored, which resumes `resumed_from`, "" for none.

    `traceparent` is the span of the call that brought it, "" where there is none; `real` are the real activations that
    the targets of its objectives are quantiles of, float32 in a blob.
    """

    sweep_id: str
    request_id: str
    plan: SweepPlan
    model: str
    weights_sha256: str
    block_rows: int
    block_count: int
    row_step_count: int
    result_count: int
    traceparent: str = ""
    resumed_from: str = ""
    real: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepRecord:
    """A stored sweep. `sequence` grows with every change; `failure` is what ended one that failed."""

    key: int
    sweep_id: str
    plan: SweepPlan
    model: str
    weights_sha256: str
    block_rows: int
    state: State
    cancelling: bool
    failure: Failure | None
    sequence: int
    progress: Progress
    row_step_count: int
    results_done: int
    result_count: int
    create_time: datetime
    update_time: datetime
    end_time: datetime | None
    traceparent: str = ""
    resumed_from: str = ""

    @property
    def time_left_s(self) -> float | None:
        """Seconds to the end at the speed of late; None before there is any."""
        speed = self.progress.row_steps_per_second
        if self.state is not State.RUNNING or not (speed > 0 and math.isfinite(speed)):
            return None
        return (self.row_step_count - self.progress.row_steps_done) / speed
