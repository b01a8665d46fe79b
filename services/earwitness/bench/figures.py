"""From what Prometheus saw in a step to the figures of that step."""

from collections.abc import Callable

from earwitness.bench.generator import BEGUN, CALL_SECONDS, ROW_STEPS
from earwitness.bench.machine import CPU_SECONDS, MACHINE
from earwitness.bench.values import CLIENT_KINDS, METHODS, Kind, KindFigures, Load, StepFigures
from earwitness.bench.window import Instance, Window

REFUSED = "RESOURCE_EXHAUSTED"
HANDLED = "grpc_server_handled_total"
HANDLING_SECONDS = "grpc_server_handling_seconds"
OF_EXPLAINER, OF_SCORER, OF_TRITON = "explainer_searches_in_flight", "scorer_references", "nv_inference_exec_count"
OF_CLIENTS = f"{BEGUN}_total"
"""Metrics by which the targets of each kind are known."""
SWEEP_CODES = {"succeeded": "OK", "failed": "FAILED", "cancelled": "CANCELLED"}
Counted = Callable[..., dict[str, float]]
METRICS = "|".join(
    (
        f"{HANDLED}|{HANDLING_SECONDS}_bucket|{BEGUN}_total|{CALL_SECONDS}_bucket|{CALL_SECONDS}_count|{ROW_STEPS}_total",
        "explainer_row_steps_total|explainer_sweeps_total|explainer_searches_in_flight|explainer_queue_depth",
        f"scorer_references|process_cpu_seconds_total|{CPU_SECONDS}_total|nv_gpu_utilization",
        "nv_inference_(count|exec_count|request_success|request_failure|(queue|compute_.*)_duration_us)",
    )
)
"""What is read of a step."""


def figures(
    load: Load, clients: int, planned_per_s: float | None, *, window: Window, whole: Window, model: str, processors: int
) -> StepFigures:
    """The figures of a step: `window` is the time under load, `whole` goes from quiet to quiet.

    `model` is the name of the bundle, `processors` how many this machine has.
    """
    kinds: tuple[Kind, ...] = ("infer",) if load == "triton" else (*CLIENT_KINDS, "sweep")
    of_clients = tuple(kind for kind in kinds if kind != "sweep")
    search = f"{model.replace('-', '_')}_search"
    found = tuple(each for each in (_kind(kind, window, whole, search) for kind in kinds) if each is not None)
    known = window.has(f"{BEGUN}_total")
    ended = [codes_of(window.rates, kind, search) for kind in of_clients]
    all_ended = sum(sum(codes.values()) for codes in ended)
    refused = sum(codes.get(REFUSED, 0.0) for codes in ended)
    if load == "triton":
        row_steps_per_s = window.rate("nv_inference_count", model=search)
    else:
        row_steps_per_s = window.rate("explainer_row_steps_total", model=model)
    requests = window.increase("nv_inference_request_success", model=search)
    executions = window.increase("nv_inference_exec_count", model=search)
    machine = window.rate(f"{CPU_SECONDS}_total", process=MACHINE) / processors
    return StepFigures(
        load=load,
        clients=clients,
        planned_per_s=planned_per_s,
        window_s=window.seconds,
        begun_per_s=sum(window.rate(f"{BEGUN}_total", kind=kind) for kind in of_clients) if known else None,
        calls_per_s=sum(each.calls_per_s for each in found if each.kind != "sweep"),
        row_steps_per_s=row_steps_per_s,
        refused_share=refused / all_ended if all_ended else 0.0,
        kinds=found,
        searches_running=window.mean("explainer_searches_in_flight"),
        searches_waiting=window.mean("explainer_queue_depth"),
        triton_busy_share=_triton_busy(window, search),
        triton_queue_s=window.increase("nv_inference_queue_duration_us", model=search) / 1e6 / requests
        if requests
        else None,
        triton_batch_rows=window.increase("nv_inference_count", model=search) / executions if executions else None,
        gpu_busy_share=window.mean("nv_gpu_utilization"),
        cpu_cores=_cpu(window),
        machine_busy_share=machine if window.has(f"{CPU_SECONDS}_total") else None,
        calls_by_servers=sum(sum(each.codes.values()) for each in found),
        calls_by_clients=round(sum(whole.increase(f"{CALL_SECONDS}_count", kind=kind) for kind in kinds))
        if known
        else None,
    )


def codes_of(counted: Counted, kind: Kind, search: str) -> dict[str, float]:
    """Calls of a kind by how they ended, as their server counted them: `Window.increases`, or `rates`, of each code."""
    if kind == "infer":
        failures = "nv_inference_request_failure"
        (answered,) = counted("nv_inference_request_success", "model", model=search).values() or (0.0,)
        failed_among_them = sum(counted(failures, "reason", model=search, counted_as="success").values())
        reasons = counted(failures, "reason", model=search)
        codes = {"OK": answered - failed_among_them, REFUSED: reasons.pop("REJECTED", 0.0), **reasons}
    else:
        service, method = METHODS[kind]
        codes = counted(HANDLED, "grpc_code", grpc_service=service, grpc_method=method)
    if kind == "sweep":  # begun is not done
        codes.pop("OK", None)
        codes |= {
            SWEEP_CODES.get(state, state): ended for state, ended in counted("explainer_sweeps_total", "state").items()
        }
    return {code: count for code, count in codes.items() if count}


def _kind(kind: Kind, window: Window, whole: Window, search: str) -> KindFigures | None:
    """None where there was no such call."""
    codes = codes_of(whole.increases, kind, search)
    if not codes:
        return None
    known = window.has(f"{BEGUN}_total")

    def seconds(share: float, code: str = "OK") -> float | None:
        if known:
            return window.percentile(CALL_SECONDS, share, kind=kind, code=code)
        if kind not in ("explain", "stream", "score") or code != "OK":
            return None
        service, method = METHODS[kind]
        return window.percentile(HANDLING_SECONDS, share, grpc_service=service, grpc_method=method)

    return KindFigures(
        kind=kind,
        codes={code: round(count) for code, count in codes.items()},
        calls_per_s=codes_of(window.rates, kind, search).get("OK", 0.0),
        row_steps_per_s=window.rate(f"{ROW_STEPS}_total", kind=kind) if known else None,
        p50_s=seconds(0.5),
        p95_s=seconds(0.95),
        p99_s=seconds(0.99),
        refused_p50_s=seconds(0.5, REFUSED),
        refused_p99_s=seconds(0.99, REFUSED),
    )


def _triton_busy(window: Window, model: str) -> float | None:
    """About the share of the time in which a served model ran.

    Triton adds a run's time once for each request of its batch, so it is shared out again: exact where batches are of
    one size, too much where they are not, or where one run overlaps the beginning; so at most 1.
    """
    requests = window.increase("nv_inference_request_success", model=model)
    if not requests:
        return None
    parts = ("compute_input", "compute_infer", "compute_output")
    ran_us = sum(window.rate(f"nv_inference_{part}_duration_us", model=model) for part in parts)
    return min(1.0, ran_us / 1e6 * window.increase("nv_inference_exec_count", model=model) / requests)


def _cpu(window: Window) -> dict[str, float]:
    """Processors that each part used, where it is known; `others` are what else the machine was busy with."""
    own = "process_cpu_seconds_total"
    shown: dict[str, set[Instance]] = {
        "explainer": window.instances(OF_EXPLAINER),
        "scorer": window.instances(OF_SCORER),
        "clients": window.instances(OF_CLIENTS),
        "prometheus": {("prometheus", address) for job, address in window.instances(own) if job == "prometheus"},
    }
    cores = {name: window.rate(own, of=targets) for name, targets in shown.items() if targets & window.instances(own)}
    watched = f"{CPU_SECONDS}_total"
    if window.has(watched, process="triton"):
        cores["triton"] = window.rate(watched, process="triton")
    if window.has(watched, process=MACHINE):
        cores["others"] = max(0.0, window.rate(watched, process=MACHINE) - sum(cores.values()))
    return cores
