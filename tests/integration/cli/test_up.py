"""`earwitness up` as people run it: a process of its own, signals, taken ports, services that die."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from earwitness.cli.connection import Endpoints
from earwitness.client import ExplainerClient, ScorerClient
from tests.helpers.proxies import Proxy
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.conftest import Run

PORTS = ("explainer", "scorer", "triton", "explainer-metrics", "scorer-metrics", "triton-metrics")
TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one bundle."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models")).repository


def command(models: Path, data: Path, **ports: int) -> list[str]:
    words = [sys.executable, "-m", "earwitness.cli", "up", "--json", "--data", str(data)]
    for name in PORTS:
        words += [f"--{name}-port", str(ports.get(name.replace("-", "_"), 0))]
    return [*words, "--model-repository", str(models)]


@contextmanager
def up(models: Path, data: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """The process and the endpoints it printed."""
    process = subprocess.Popen(
        [*command(models, data), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            lines.append(line)
        yield process, json.loads("".join(lines))
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serves_until_a_signal(models: Path, tmp_path: Path, proxy: Proxy, number: signal.Signals) -> None:
    with up(models, tmp_path, "--backend", "local") as (process, endpoints):
        assert endpoints["backend"] == "local"
        assert endpoints["triton"] is None
        assert json.loads((tmp_path / "stack.json").read_text()) == endpoints
        async with ExplainerClient(endpoints["explainer"]) as explainer, ScorerClient(endpoints["scorer"]) as scorer:
            assert await explainer.serving()
            assert await scorer.serving()
            assert [model.name for model in await explainer.list_models()] == ["tiny"]
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert stderr.splitlines()[-1] == "stopping"
    assert not any(map(alive, endpoints["process_ids"].values()))
    assert not (tmp_path / "stack.json").exists()
    assert proxy.asked == []


def test_second_stack_with_the_same_data_is_refused(models: Path, tmp_path: Path) -> None:
    with up(models, tmp_path, "--backend", "local") as (first, _):
        second = subprocess.run(
            [*command(models, tmp_path), "--backend", "local"], capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert second.returncode == 1
        assert f"a stack runs already with {tmp_path}" in second.stderr
        assert first.poll() is None
        assert (tmp_path / "stack.json").exists()


@pytest.mark.parametrize("name", ["scorer", "explainer"])
def test_a_service_that_dies_is_started_again_and_ends_all_when_it_keeps_dying(
    models: Path, tmp_path: Path, name: str
) -> None:
    def process_id() -> int:
        return int(json.loads((tmp_path / "stack.json").read_text())["process_ids"][name])

    with up(models, tmp_path, "--backend", "local", "--restarts", "1") as (process, endpoints):
        first = process_id()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: process_id() != first)
        second = process_id()
        assert alive(second)
        log = tmp_path / "logs" / f"{name}.log"
        wait_until(lambda: "listening on" in log.read_text())
        assert "listening on" in log.with_suffix(".log.1").read_text()
        os.kill(second, signal.SIGKILL)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    again = rf"the {name} ended with status -9 \(log: .*{name}\.log\).*; new start 1 of 1 in 1 s$"
    for said in (stderr, (tmp_path / "logs/up.log").read_text()):
        assert re.search(again, said, re.MULTILINE)
        assert f"the {name} runs again, as process {second}" in said
    assert stderr.splitlines()[-1].endswith("; new starts (1 in ten minutes) were no help")
    assert process.returncode == 1
    assert re.search(rf"^error: the {name} ended with status -9 \(log: .*{name}\.log\)", stderr, re.MULTILINE)
    assert "Traceback" not in stderr
    assert not any(map(alive, endpoints["process_ids"].values()))
    assert not (tmp_path / "stack.json").exists()


def test_killed_stack_leaves_no_orphans(models: Path, tmp_path: Path) -> None:
    with up(models, tmp_path, "--backend", "local") as (process, endpoints):
        process.kill()
        process.wait()
        wait_until(lambda: not any(map(alive, endpoints["process_ids"].values())))
    assert (tmp_path / "stack.json").exists()
    assert Endpoints.read(tmp_path) is None  # the word it left is stale
    with up(models, tmp_path, "--backend", "local") as (_, after):
        assert after["process_ids"]["earwitness"] != endpoints["process_ids"]["earwitness"]


@pytest.mark.parametrize("name", ["explainer", "scorer", "scorer_metrics"])
def test_taken_port_is_refused_before_anything_starts(models: Path, tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        words = [*command(models, tmp_path, **{name: port}), "--backend", "local"]
        refused = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"error: port {port} ({name.replace('_', ' ')}) on 127.0.0.1 cannot be used")
    assert line.endswith(f"--{name.replace('_', '-')}-port")
    assert not (tmp_path / "logs").exists()


def test_nothing_to_serve_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error = run("up", "--model-repository", tmp_path / "empty", "--data", tmp_path / "data").error()
    assert "empty" in error
    assert "is not a folder" in run("up", "--model-repository", tmp_path / "nowhere").error()
