"""Reports of benchmarks with figures chosen by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime

from earwitness.bench.values import BenchReport, KindFigures, Load, Plan, StepFigures

MACHINE = {
    "processor": "Example 1", "processors": 2, "memory_gib": 16.0, "platform": "Linux", "load_average": [0.1, 0.2, 0.3],
    "earwitness": "0.1.0",
}  # fmt: skip


def kind(name: str = "explain", p99_s: float | None = 0.5, **codes: int) -> KindFigures:
    refused = 0.002 if "RESOURCE_EXHAUSTED" in codes else None
    counted = codes or {"OK": 80}
    return KindFigures(name, counted, 10.0, 100.0, 0.2, 0.4, p99_s, refused, refused)  # type: ignore[arg-type]


def step(
    clients: int,
    calls_per_s: float,
    *kinds: KindFigures,
    load: Load = "mixed",
    planned_per_s: float | None = None,
    begun_per_s: float | None = None,
    refused_share: float = 0.0,
    calls_by_clients: int | None = None,
) -> StepFigures:
    found = kinds or (kind(),)
    counted = sum(sum(each.codes.values()) for each in found)
    return StepFigures(
        load=load,
        clients=clients,
        planned_per_s=planned_per_s,
        window_s=8.0,
        begun_per_s=calls_per_s if begun_per_s is None else begun_per_s,
        calls_per_s=calls_per_s,
        row_steps_per_s=10 * calls_per_s,
        refused_share=refused_share,
        kinds=found,
        searches_running=min(4.0, clients),
        searches_waiting=max(0.0, clients - 4.0),
        triton_busy_share=0.9,
        triton_queue_s=0.001,
        triton_batch_rows=2.0,
        gpu_busy_share=None,
        cpu_cores={"explainer": 0.1, "triton": 1.6, "others": 0.05},
        machine_busy_share=0.95,
        calls_by_servers=counted,
        calls_by_clients=counted if calls_by_clients is None else calls_by_clients,
    )


def report(
    closed: Sequence[StepFigures],
    triton: Sequence[StepFigures] = (),
    opened: Sequence[StepFigures] = (),
    shares: tuple[float, ...] = (),
) -> BenchReport:
    when = datetime(2027, 1, 1, tzinfo=UTC)
    plan = Plan("tiny", clients=tuple(each.clients for each in closed), rate_shares=shares)
    return BenchReport(
        plan, MACHINE, "0" * 64, "triton at 127.0.0.1:8001 (2.51.0)", "A stack of its own", when, when,
        tuple(closed), tuple(triton), tuple(opened),
    )  # fmt: skip
