"""The plain values of a benchmark: what load to make, on what, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from earwitness.errors import InvalidArgument

Kind = Literal["explain", "stream", "score", "sweep", "infer"]
"""What a call asks for; `infer` is one of Triton's search model, past the services."""
Load = Literal["mixed", "triton"]
CLIENT_KINDS: tuple[Kind, ...] = ("explain", "stream", "score")
"""What the clients of the mixed load call; a sweep runs behind them."""
METHODS: Mapping[Kind, tuple[str, str]] = {
    "explain": ("earwitness.explainer.v1.ExplainerService", "Explain"),
    "stream": ("earwitness.explainer.v1.ExplainerService", "StreamExplain"),
    "score": ("earwitness.scorer.v1.ScorerService", "Score"),
    "sweep": ("earwitness.explainer.v1.ExplainerService", "CreateSweep"),
}
"""Service and method by which a server counts each kind."""
MAX_CLIENTS = 1024
MAX_STEP_S = 600.0
MAX_PROCESSES = 64
MAX_RATE_SHARE = 100.0


@dataclass(frozen=True)
class Plan:
    """What load to make.

    Closed loops first: each of so many `clients` makes its next call when it has the answer to the last. Then, where
    Triton can be reached, the same with its search model alone. Then open loops, whose calls come at random moments
    and wait for nothing: `rate_shares` of the most calls a second that the closed loops had.

    A search has `rows` rows and `steps` steps. `mix` says how many calls of each kind make a client's round.
    """

    model: str
    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    rate_shares: tuple[float, ...] = (0.5, 0.8, 10.0)
    mix: Mapping[str, int] = field(default_factory=lambda: {"explain": 2, "stream": 2, "score": 1})
    sweeping: bool = True
    triton_alone: bool = True
    rows: int = 2
    steps: int = 5
    seconds: float = 8.0
    warm_up_s: float = 2.0
    processes: int = 2

    def __post_init__(self) -> None:
        """Raises: InvalidArgument naming the first field that is wrong."""
        _require("clients", self.clients, 1, MAX_CLIENTS)
        if not self.clients or list(self.clients) != sorted(set(self.clients)):
            raise InvalidArgument("clients", f"got {list(self.clients)}; give numbers of clients, each larger")
        _require("rates", self.rate_shares, 0.001, MAX_RATE_SHARE)
        if unknown := sorted(set(self.mix) - set(CLIENT_KINDS)):
            raise InvalidArgument("mix", f"got {unknown[0]!r}; the kinds are {', '.join(CLIENT_KINDS)}")
        _require("mix", tuple(self.mix.values()), 0, 100)
        if not any(self.mix.values()):
            raise InvalidArgument("mix", "asks for no call at all; give at least one kind a number above 0")
        _require("rows", (self.rows,), 1, 4096)
        _require("steps", (self.steps,), 1, 10_000)
        _require("seconds", (self.seconds,), 1, MAX_STEP_S)
        _require("warm_up", (self.warm_up_s,), 0, MAX_STEP_S)
        _require("processes", (self.processes,), 1, MAX_PROCESSES)

    @property
    def round(self) -> tuple[Kind, ...]:
        """The calls of a client's round, each kind spread over it."""
        places = [
            ((turn + 0.5) / count, kind)
            for kind in CLIENT_KINDS
            for count in [self.mix.get(kind, 0)]
            for turn in range(count)
        ]
        return tuple(kind for _, kind in sorted(places, key=lambda each: each[0]))


def _require(name: str, values: tuple[float, ...], low: float, high: float) -> None:
    for value in values:
        if not low <= value <= high:
            raise InvalidArgument(name, f"got {value:g}; give {low:g} to {high:g}")


@dataclass(frozen=True)
class Target:
    """The stack to load: addresses of its servers, URLs of their metrics, and the processes that run on this machine.

    `described` says in words what it is.
    """

    explainer: str
    scorer: str
    triton: str | None
    metrics: Mapping[str, str]
    process_ids: Mapping[str, int]
    described: str


@dataclass(frozen=True)
class KindFigures:
    """What became of the calls of one kind.

    `calls_per_s`, `row_steps_per_s` and the percentiles are of calls that succeeded in the measured time, `refused_*`
    of those refused in it; `codes` counts every call of the whole step as its server counted them.
    """

    kind: Kind
    codes: Mapping[str, int]
    calls_per_s: float
    row_steps_per_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    refused_p50_s: float | None
    refused_p99_s: float | None


@dataclass(frozen=True)
class StepFigures:
    """What one step of a load did to the stack; rates are over `window_s` seconds under load.

    `planned_per_s` is the rate of an open loop, None for a closed one, and `begun_per_s` what the clients began.
    `refused_share` counts the clients' calls, not the sweep's. `cpu_cores` is what each process used.
    `calls_by_servers` and `calls_by_clients` are those of the whole step: they differ where others call as well.
    """

    load: Load
    clients: int
    planned_per_s: float | None
    window_s: float
    begun_per_s: float | None
    calls_per_s: float
    row_steps_per_s: float
    refused_share: float
    kinds: tuple[KindFigures, ...]
    searches_running: float | None
    searches_waiting: float | None
    triton_busy_share: float | None
    triton_queue_s: float | None
    triton_batch_rows: float | None
    gpu_busy_share: float | None
    cpu_cores: Mapping[str, float]
    machine_busy_share: float | None
    calls_by_servers: int
    calls_by_clients: int | None

    def of(self, kind: Kind) -> KindFigures | None:
        """The figures of one kind, None where it was not called."""
        return next((each for each in self.kinds if each.kind == kind), None)

    @property
    def saturation(self) -> tuple[str, float] | None:
        """What is busiest, and how busy, 0 to 1; None where nothing is known."""
        shares = {"CPU": self.machine_busy_share, "Triton": self.triton_busy_share, "GPU": self.gpu_busy_share}
        known = {name: share for name, share in shares.items() if share is not None}
        return max(known.items(), key=lambda each: each[1]) if known else None

    @property
    def errors(self) -> int:
        """Calls that neither succeeded nor were refused."""
        return sum(
            count
            for each in self.kinds
            for code, count in each.codes.items()
            if code not in ("OK", "RESOURCE_EXHAUSTED")
        )


@dataclass(frozen=True)
class BenchReport:
    """All that a benchmark found."""

    plan: Plan
    machine: Mapping[str, Any]
    weights_sha256: str
    backend: str
    target: str
    started: datetime
    finished: datetime
    closed: tuple[StepFigures, ...]
    triton: tuple[StepFigures, ...]
    opened: tuple[StepFigures, ...]
