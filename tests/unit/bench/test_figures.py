"""From samples to the figures of a step, worked out by hand."""

import pytest

from earwitness.bench.figures import figures
from earwitness.bench.window import Series, Window

EXPLAINER = {"job": "earwitness-explainer", "instance": "e"}
TRITON = {"job": "earwitness-triton", "instance": "t"}
CLIENTS = {"job": "earwitness-bench", "instance": "c"}
MACHINE = {"job": "machine", "instance": "m"}
METHOD = {"grpc_service": "earwitness.explainer.v1.ExplainerService", "grpc_method": "Explain"}
SWEEP = METHOD | {"grpc_method": "CreateSweep"}


def grown(name: str, labels: dict[str, str], growth: float, **more: str) -> Series:
    """A counter that grew so much in ten seconds."""
    return Series(name, {**labels, **more}, {0.0: 1000.0, 10.0: 1000.0 + growth})


def window() -> Window:
    """Ten seconds, in which 40 searches of 10 row-steps were done and 60 refused, in 400 runs of 1 of 2 requests."""
    search = {"model": "my_model_search"}
    return Window(
        [
            *(Series("up", each, {0.0: 1, 10.0: 1}) for each in (EXPLAINER, TRITON, CLIENTS, MACHINE)),
            grown("grpc_server_handled_total", EXPLAINER, 40, **METHOD, grpc_code="OK"),
            grown("grpc_server_handled_total", EXPLAINER, 60, **METHOD, grpc_code="RESOURCE_EXHAUSTED"),
            grown("grpc_server_handled_total", EXPLAINER, 2, **SWEEP, grpc_code="OK"),
            grown("explainer_sweeps_total", EXPLAINER, 1, state="succeeded"),
            grown("explainer_sweeps_total", EXPLAINER, 1, state="failed"),
            grown("explainer_row_steps_total", EXPLAINER, 440, model="my-model"),
            Series("explainer_searches_in_flight", EXPLAINER, {0.0: 3, 10.0: 5}),
            grown("process_cpu_seconds_total", EXPLAINER, 5),
            grown("earwitness_bench_begun_total", CLIENTS, 100, kind="explain"),
            grown("earwitness_bench_row_steps_total", CLIENTS, 400, kind="explain"),
            grown("earwitness_bench_call_seconds_count", CLIENTS, 40, kind="explain", code="OK"),
            grown("earwitness_bench_call_seconds_count", CLIENTS, 60, kind="explain", code="RESOURCE_EXHAUSTED"),
            grown("earwitness_bench_call_seconds_bucket", CLIENTS, 20, kind="explain", code="OK", le="1"),
            grown("earwitness_bench_call_seconds_bucket", CLIENTS, 40, kind="explain", code="OK", le="2"),
            grown("earwitness_bench_call_seconds_bucket", CLIENTS, 40, kind="explain", code="OK", le="+Inf"),
            grown("nv_inference_request_success", TRITON, 800, **search),
            grown("nv_inference_exec_count", TRITON, 400, **search),
            grown("nv_inference_count", TRITON, 1600, **search),
            grown("nv_inference_queue_duration_us", TRITON, 4e6, **search),
            grown("nv_inference_compute_infer_duration_us", TRITON, 12e6, **search),
            grown("earwitness_bench_cpu_seconds_total", MACHINE, 16, process="machine"),
            grown("earwitness_bench_cpu_seconds_total", MACHINE, 8, process="triton"),
        ]
    )


def test_figures_of_the_mixed_load() -> None:
    found = figures("mixed", 4, None, window=window(), whole=window(), model="my-model", processors=2)
    assert (found.calls_per_s, found.begun_per_s, found.row_steps_per_s) == (4, 10, 44)
    assert (found.refused_share, found.searches_running) == (0.6, 4)
    assert found.triton_busy_share == pytest.approx(0.6)  # 12 s for 800 requests in 400 runs: 6 s of 10
    assert (found.triton_queue_s, found.triton_batch_rows) == (pytest.approx(0.005), 4)
    assert found.machine_busy_share == pytest.approx(0.8)
    assert found.cpu_cores == pytest.approx({"explainer": 0.5, "triton": 0.8, "others": 0.3})
    assert found.saturation == ("CPU", pytest.approx(0.8))
    explain, sweep = found.kinds
    assert explain.codes == {"OK": 40, "RESOURCE_EXHAUSTED": 60}
    assert (explain.p50_s, explain.p99_s) == (1, pytest.approx(1.98))
    assert sweep.codes == {"OK": 1, "FAILED": 1}
    assert found.errors == 1
    assert (found.calls_by_servers, found.calls_by_clients) == (102, 100)


def test_figures_of_triton_alone() -> None:
    found = figures("triton", 4, None, window=window(), whole=window(), model="my-model", processors=2)
    assert (found.calls_per_s, found.row_steps_per_s) == (80, 160)
    assert [each.kind for each in found.kinds] == ["infer"]
    assert found.kinds[0].codes == {"OK": 800}


def test_what_triton_counts_as_a_success_and_its_backend_as_a_failure_is_a_failure() -> None:
    search, failures = {"model": "my_model_search"}, "nv_inference_request_failure"
    own = {"counted_as": "success", "model_instance": "my_model_search_0_0"}
    counted = Window(
        [
            Series("up", TRITON, {0.0: 1, 10.0: 1}),
            grown("nv_inference_request_success", TRITON, 100, **search),
            grown(failures, TRITON, 50, **search, reason="BACKEND"),
            grown(failures, TRITON, 5, **search, reason="REJECTED"),
            grown(failures, TRITON, 20, **search, **own, reason="BACKEND"),
            grown(failures, TRITON, 10, **search, **own, reason="CANCELED"),
        ]
    )
    found = figures("triton", 4, None, window=counted, whole=counted, model="my-model", processors=2)
    assert found.kinds[0].codes == {"OK": 70, "RESOURCE_EXHAUSTED": 5, "BACKEND": 70, "CANCELED": 10}
    assert (found.calls_per_s, found.calls_by_servers, found.errors) == (7, 155, 80)
