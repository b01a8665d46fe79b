"""`earwitness bench` for real: its own stack with Triton, its own Prometheus, its own clients; refusals; Ctrl-C."""

import asyncio
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from grpc import StatusCode

from earwitness.bench.calls import Access, Calls, Work
from earwitness.bench.conclusions import conclude
from earwitness.bench.errors import BenchError
from earwitness.bench.prometheus import PrometheusServer, find_prometheus
from earwitness.bench.run import run_bench
from earwitness.bench.values import Plan, Target
from earwitness.bench.watch import Watch
from earwitness.client import RpcFailure, ScorerClient, SweepClient, SweepPlan, SweepProgress
from earwitness.explainer.server import build_server as build_explainer
from earwitness.explainer.settings import ExplainerSettings
from earwitness.scorer.server import build_server as build_scorer
from earwitness.scorer.settings import ScorerSettings
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.conftest import Run

PATIENCE_S = 120.0
SHORT = ("--seconds", 1, "--warm-up", 0, "--rows", 2, "--steps", 3)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "models").repository


def test_servers_count_what_the_clients_call(run: Run, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("bench", "tiny", "--model-repository", models, "--clients", "1,2", "--rates", "none", *SHORT)
    found = run(*words, "--out", out, "--json").json()
    closed, triton = found["closed"], found["triton"]
    assert [each["clients"] for each in closed] == [each["clients"] for each in triton] == [1, 2]
    for step in (*closed, *triton):
        assert step["calls_by_servers"] == step["calls_by_clients"] > 0
        assert step["window_s"] > 0
        assert step["calls_per_s"] == sum(each["calls_per_s"] for each in step["kinds"] if each["kind"] != "sweep") > 0
        assert set(step["cpu_cores"]) == {"explainer", "scorer", "triton", "clients", "prometheus", "others"}
        assert step["refused_share"] == 0
        assert all(set(each["codes"]) == {"OK"} for each in step["kinds"])
    for step in closed:
        counts = {each["kind"]: each["codes"]["OK"] for each in step["kinds"]}
        assert counts.pop("sweep") >= 1
        assert counts["explain"] == pytest.approx(counts["stream"], abs=2 * step["clients"])  # 2 to 2 to 1
        assert counts["explain"] == pytest.approx(2 * counts["score"], abs=2 * step["clients"])
    for step in triton:
        assert step["row_steps_per_s"] == pytest.approx(2 * step["calls_per_s"])
        assert 0 < step["triton_busy_share"] <= 1
        assert step["triton_batch_rows"] >= 2
    timed = [each for step in (*closed, *triton) for each in step["kinds"] if each["p50_s"] is not None]
    assert {"infer"} < {each["kind"] for each in timed}
    assert all(0 < each["p50_s"] <= each["p95_s"] <= each["p99_s"] for each in timed)
    assert found["backend"].startswith("triton at ")
    assert found["conclusions"]["knee"]["clients"] in (1, 2)
    with (out / "bench.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(len(step["kinds"]) for step in (*closed, *triton))
    page = (out / "index.html").read_text()
    for sentence in found["conclusions"]["sentences"]:
        assert sentence in page

    same = run("bench", "--compare", out, out / "bench.json", "--json").json()
    assert same["comparable"] is True
    assert {each["ratio"] for each in same["figures"]} - {None} == {1.0}
    assert "calls/s at the knee" in run("bench", "--compare", out, out).stdout


@asynccontextmanager
async def small_services(models: Path, folder: Path) -> AsyncIterator[Target]:
    """Both services in this process; one search at a time, and none that waits."""
    settings = ExplainerSettings(
        port=0, metrics_port=0, backend="local", model_repository=models, data_dir=folder, local_threads=1,
        max_concurrent_searches=1, max_waiting_searches=0,
    )  # fmt: skip
    async with (
        await build_explainer(settings) as explainer,
        await build_scorer(ScorerSettings(port=0, metrics_port=0, data_dir=folder)) as scorer,
    ):
        ports = {"explainer": explainer.metrics_port, "scorer": scorer.metrics_port}
        metrics = {name: f"http://127.0.0.1:{port}/metrics" for name, port in ports.items()}
        yield Target(f"127.0.0.1:{explainer.port}", f"127.0.0.1:{scorer.port}", None, metrics, {}, "of a test")


async def test_refusals_are_counted_and_timed(models: Path, tmp_path: Path) -> None:
    """Calls that come three times as fast as they are answered: those that find a search running are refused."""
    plan = Plan(
        "tiny", clients=(1,), rate_shares=(3.0,), mix={"explain": 1}, sweeping=False, rows=2, steps=20,
        seconds=1.0, warm_up_s=0.0,
    )  # fmt: skip
    async with small_services(models, tmp_path) as target:
        report = await run_bench(plan, target, Watch(tmp_path / "watch", find_prometheus(None)))
    (unloaded,), (flooded,) = report.closed, report.opened
    for step in (unloaded, flooded):
        assert step.calls_by_servers == step.calls_by_clients
        assert step.errors == 0
    assert set(unloaded.kinds[0].codes) == {"OK"}
    (calls,) = flooded.kinds
    assert set(calls.codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert 0 < flooded.refused_share < 1
    assert 0 < (calls.refused_p50_s or 0) <= (calls.refused_p99_s or 0)
    overload = conclude(report).overload
    assert overload is not None
    assert (overload.refused_share, overload.refused_p99_s) == (flooded.refused_share, calls.refused_p99_s)


async def test_prometheus_that_watches_already_is_asked(models: Path, tmp_path: Path) -> None:
    """It knows nothing of the clients: times are the servers'. One that does not know the services is refused."""
    plan = Plan("tiny", clients=(2,), rate_shares=(), mix={"score": 1}, sweeping=False, seconds=1.0, warm_up_s=0.0)
    async with small_services(models, tmp_path) as target:
        targets = {name: [url.split("/")[2]] for name, url in target.metrics.items()}
        async with PrometheusServer(find_prometheus(None), tmp_path / "own", targets, scrape_s=0.25) as prometheus:
            await prometheus.scraped(await prometheus.now(), {"explainer": 1, "scorer": 1}, PATIENCE_S, times=2)
            report = await run_bench(plan, target, Watch(tmp_path / "watch", running=prometheus.url))
            with pytest.raises(BenchError, match="has not scraped the explainer"):
                await run_bench(plan, target, Watch(tmp_path / "watch", running=prometheus.url, labels='job="x"'))
    (step,) = report.closed
    assert (step.calls_by_clients, step.begun_per_s) == (None, None)
    assert step.calls_per_s > 0
    assert 0 < (step.kinds[0].p99_s or 0) < PATIENCE_S


async def test_nothing_is_left_in_the_stack_of_one_that_is_given_up(models: Path, tmp_path: Path) -> None:
    plan = Plan("tiny", clients=(1,), mix={"score": 1}, rows=4, steps=1_000, seconds=300)
    async with (
        small_services(models, tmp_path) as target,
        SweepClient(target.explainer) as sweeps,
        ScorerClient(target.scorer) as scorer,
    ):
        assert await sweeps.list() == ()
        assert await scorer.list_references() == []
        running = asyncio.create_task(run_bench(plan, target, Watch(tmp_path / "watch", find_prometheus(None))))
        while not await sweeps.list():
            assert not running.done()
            await asyncio.sleep(0.1)
        assert len(await scorer.list_references()) == 1
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await sweeps.list() == ()
        assert await scorer.list_references() == []


async def test_a_sweep_that_fails_is_deleted_and_what_cannot_be_is_at_the_end(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = RpcFailure(StatusCode.UNAVAILABLE, "the explainer is away")

    async def refuse(*of: object, **options: object) -> AsyncIterator[SweepProgress]:
        raise away
        yield

    async def refuse_all(*of: object, **options: object) -> None:
        raise away

    monkeypatch.setattr(SweepClient, "watch", refuse)
    async with small_services(models, tmp_path) as target, SweepClient(target.explainer) as sweeps:
        work = Work("tiny", "", "fc3", rows=2, steps=10_000, score_layer="fc3", score_units=2, reference="")
        async with Calls(Access(target.explainer, target.scorer, None, None, None), work, seed=0) as calls:
            with pytest.raises(RpcFailure, match="is away"):
                await calls.make("sweep")
            assert await sweeps.list() == ()
            with monkeypatch.context() as patched:
                patched.setattr("earwitness.bench.calls.CLEAR_S", 0.1)
                patched.setattr(SweepClient, "delete", refuse_all)
                with pytest.raises(RpcFailure, match="is away"):
                    await calls.make("sweep")
            assert len(await sweeps.list()) == 1
        assert await sweeps.list() == ()


async def test_a_sweep_whose_creation_has_no_answer_is_deleted(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, created = SweepClient.create, []

    async def lose_the_first(self: SweepClient, plan: SweepPlan, *, request_id: str | None = None) -> SweepProgress:
        created.append(await create(self, plan, request_id=request_id))
        if len(created) == 1:
            raise RpcFailure(StatusCode.UNAVAILABLE, "the answer is lost")
        return created[-1]

    async def refuse(self: SweepClient, plan: SweepPlan, *, request_id: str | None = None) -> SweepProgress:
        raise RpcFailure(StatusCode.RESOURCE_EXHAUSTED, "too many sweeps wait")

    async with small_services(models, tmp_path) as target, SweepClient(target.explainer) as sweeps:
        work = Work("tiny", "", "fc3", rows=2, steps=10_000, score_layer="fc3", score_units=2, reference="")
        async with Calls(Access(target.explainer, target.scorer, None, None, None), work, seed=0) as calls:
            monkeypatch.setattr(SweepClient, "create", lose_the_first)
            with pytest.raises(RpcFailure, match="is lost"):
                await calls.make("sweep")
            assert await sweeps.list() == ()
            first, again = created
            assert again.sweep_id == first.sweep_id
            monkeypatch.setattr(SweepClient, "create", refuse)
            with pytest.raises(RpcFailure, match="too many"):
                await calls.make("sweep")
            assert await sweeps.list() == ()


def test_ctrl_c_ends_all_that_was_started(models: Path, tmp_path: Path) -> None:
    mark = f"EARWITNESS_TEST_MARK={uuid4()}"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ("bench", "tiny", "--model-repository", str(models), "--backend", "local", "--seconds", "300")
    name, _, value = mark.partition("=")
    process = subprocess.Popen(
        [sys.executable, "-m", "earwitness.cli", *words],
        env={**os.environ, name: value, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + PATIENCE_S
    while not {"prometheus", "earwitness.bench.generator", "earwitness.explainer"} <= set(marked(mark).values()):
        assert process.poll() is None
        assert time.monotonic() < give_up, marked(mark)
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "Aborted" in said
    assert marked(mark) == {}
    assert list(scratch.glob("earwitness*")) == []


def marked(mark: str) -> dict[int, str]:
    """The processes with a mark in their environment: program or module by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{mark}\0".encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_text().split("\0")
                found[int(folder.name)] = command[command.index("-m") + 1] if "-m" in command else Path(command[0]).name
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--clients", "0"), "clients: got 0; give 1 to 1024"),
        (("--clients", "many"), "clients: got 'many'; give whole numbers"),
        (("--mix", "dance=3"), "mix: got 'dance'; the kinds are explain, stream, score"),
        (("--rates", "fast"), "rates: got 'fast'"),
        (("--model-repository", "{models}"), "MODEL: got 'svd-r1'; "),
        (("--explainer", "127.0.0.1:1"), "metrics: say where the explainer shows them: --metrics explainer=http"),
        (("--explainer", "127.0.0.1:1", "--metrics", "disk=http://x"), "metrics: got 'disk=http://x'"),
        (("--explainer", "127.0.0.1:1", "--backend", "local"), "backend: is for a stack that is started"),
        (("--prometheus-url", "http://127.0.0.1:1"), "--prometheus-url: is of a stack that runs"),
        (("--prometheus-url", "127.0.0.1"), "--prometheus-url: got '127.0.0.1'; give http://HOST:PORT"),
        (("--prometheus", "{models}"), "{models} is no program: install it (Debian: apt-get install prometheus)"),
        (("--out", "{models}"), "holds something else than an earlier output"),
        (("--compare", "{models}/x", "{models}/y"), "x: No such file or directory"),
    ],
)
def test_refused_before_any_work(run: Run, models: Path, words: tuple[str, ...], complaint: str) -> None:
    said = run("bench", *(each.format(models=models) for each in words)).error()
    assert complaint.format(models=models) in said


def test_without_prometheus_it_is_said_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    said = run("bench").error()
    assert "there is none on PATH" in said
    for way in ("apt-get install prometheus", "--prometheus FILE", "--prometheus-url URL"):
        assert way in said
