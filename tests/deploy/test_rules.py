"""Prometheus' own tool takes the rules and runs their tests; each alert is seen to fire and to keep still."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import ROOT, Chart, tool

FOLDER = ROOT / "deploy/prometheus"


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "rules.yaml"), ("check", "config", "prometheus.yaml"), ("test", "rules", "rules.test.yaml")],
    ids=" ".join,
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([tool("promtool"), *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_and_keeps_still_in_a_test() -> None:
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tested = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load((FOLDER / "rules.test.yaml").read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    assert set(tested) == {(alert, fires) for alert in alerts for fires in (True, False)}


def test_jobs_have_the_names_by_which_the_rules_know_them(chart: Chart) -> None:
    local = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    monitors = chart.variant("monitoring").of("ServiceMonitor")
    relabelled = {each["spec"]["endpoints"][0]["relabelings"][0]["replacement"] for each in monitors}
    assert relabelled == {each["job_name"] for each in local}
    assert all(name.startswith("earwitness-") for name in relabelled)


def test_scalers_queries_say_how_much_there_is_to_do(chart: Chart, tmp_path: Path) -> None:
    """Evaluated by promtool over two explainers, and two models for which one and three requests wait on average."""
    explainer, triton = (
        chart.variant("keda").named("ScaledObject", f"earwitness-{name}")["spec"]["triggers"][0]["metadata"]["query"]
        for name in ("explainer", "triton")
    )

    def series(metric: str, component: str, values: str, **labels: str) -> dict[str, str]:
        given = {"namespace": "audio", "service": f"earwitness-{component}", **labels}
        selector = ", ".join(f'{name}="{value}"' for name, value in given.items())
        return {"series": f"{metric}{{{selector}}}", "values": values}

    test = {
        "interval": "1m",
        "input_series": [
            series("explainer_queue_depth", "explainer", "3x10", pod="a"),
            series("explainer_queue_depth", "explainer", "0x10", pod="b"),
            series("explainer_searches_in_flight", "explainer", "4x10", pod="a"),
            series("explainer_searches_in_flight", "explainer", "2x10", pod="b"),
            series("nv_inference_queue_duration_us", "triton", "0+60000000x10", model="busy"),
            series("nv_inference_queue_duration_us", "triton", "0+180000000x10", model="busier"),
        ],
        "promql_expr_test": [
            {"expr": explainer, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 9}]},
            {"expr": triton, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 4}]},
        ],
    }
    file = tmp_path / "scalers.test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([tool("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
