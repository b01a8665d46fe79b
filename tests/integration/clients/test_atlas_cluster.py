"""The atlas on a real Dask cluster: workers that are killed and that join late change no byte of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import distributed
import pytest

import earwitness
from earwitness.atlas import Place, Request, make_atlas
from earwitness.atlas import executing as atlas_executing
from earwitness.atlas.executing import Workers, cluster, threads
from earwitness.atlas.place import close
from earwitness.atlas.tasks import listen
from earwitness.client import ExplainerClient, Model
from earwitness.errors import FailedPrecondition, Unavailable
from tests.integration.cli.served import Served, served, write_recording
from tests.integration.cli.test_atlas import content

REQUEST = Request(count=3, excerpt_count=2, draws=1500)
PATIENCE_S = 120
OnProgress = Callable[[int, int, str], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("music")
    return [write_recording(folder / f"r{seed}.wav", 8, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def make(stack: Served, music: list[Path]) -> Callable[[Path, Workers, OnProgress], dict[str, str]]:
    """Makes the atlas of a layer, and gives its bytes."""

    async def described() -> Model:
        async with ExplainerClient(stack.explainer) as client:
            return await client.get_model("tiny")

    model, place = asyncio.run(described()), Place("tiny", model_repository=stack.tiny.repository)

    def made(folder: Path, workers: Workers, on_progress: OnProgress) -> dict[str, str]:
        make_atlas(place, model, ["fc2"], [], music, folder, workers, REQUEST, on_progress=on_progress)
        return content(folder)

    return made


@pytest.fixture(scope="module")
def alone(
    make: Callable[[Path, Workers, OnProgress], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The atlas as one process makes it."""
    with threads(2) as workers:
        return make(tmp_path_factory.mktemp("alone") / "out", workers, lambda *event: None)


class Programs:
    """A scheduler, and workers, each a program of its own."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder, self._opened = folder, opened
        self._file = folder / "scheduler.json"
        # Their environment is ours: workers find the same earwitness.
        self._start("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", self._file)
        with distributed.Client(scheduler_file=str(self._file), timeout=PATIENCE_S, set_as_default=False) as client:
            self.address = str(client.scheduler.address)

    def worker(self) -> "subprocess.Popen[bytes]":
        """One more, without a nanny that would start it again."""
        return self._start(
            "distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard"
        )

    def _start(self, module: str, *words: object) -> "subprocess.Popen[bytes]":
        log = self._opened.enter_context((self._folder / "programs.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *map(str, words)], stdout=log, stderr=log, cwd=self._folder
        )
        self._opened.callback(process.wait)
        self._opened.callback(process.kill)
        return process


def test_on_programs_one_killed_and_one_late(
    make: Callable[[Path, Workers, OnProgress], dict[str, str]], alone: dict[str, str], tmp_path: Path
) -> None:
    with ExitStack() as opened:
        programs = Programs(tmp_path, opened)
        first = programs.worker()
        client = opened.enter_context(distributed.Client(programs.address, set_as_default=False))
        client.wait_for_workers(1, timeout=PATIENCE_S)
        events: list[tuple[int, int, str]] = []

        def told(done: int, total: int, words: str) -> None:
            events.append((done, total, words))
            if done == 1 and "draws classified" in words:
                programs.worker()
                client.wait_for_workers(2, timeout=PATIENCE_S)
                first.send_signal(signal.SIGKILL)

        with cluster(programs.address) as workers:
            found = make(tmp_path / "out", workers, told)
    assert first.wait() == -signal.SIGKILL
    assert max(total for _, total, words in events if "draws" in words) > 2  # there was more to do
    assert found == alone


def test_on_a_local_cluster_of_processes_one_of_which_is_killed(
    make: Callable[[Path, Workers, OnProgress], dict[str, str]],
    alone: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
        ) as running,
        cluster(running.scheduler_address) as workers,
    ):
        assert workers.description == f"2 Dask workers at {running.scheduler_address}"

        killed: list[int] = []

        def told(done: int, total: int, words: str) -> None:
            if "sounds made" in words and 0 < done < total and not killed:
                killed.append(next(iter(running.workers.values())).process.pid)
                os.kill(killed[0], signal.SIGKILL)

        assert make(tmp_path / "out", workers, told) == alone
        assert killed
        versions(running.scheduler_address, monkeypatch)


def versions(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of other versions are refused, both being named."""
    ours = distributed.__version__
    with monkeypatch.context() as patched:
        patched.setattr(distributed, "__version__", "1.2.3")
        with pytest.raises(FailedPrecondition, match=rf"has distributed {ours}, here is 1\.2\.3"), cluster(address):
            pass
    with monkeypatch.context() as patched:
        theirs = earwitness.__version__
        patched.setattr(atlas_executing, "__version__", "9.9.9")
        with pytest.raises(FailedPrecondition, match=rf"has earwitness {theirs}, here is 9\.9\.9"), cluster(address):
            pass


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas_executing, "CONNECT_S", 1.0)
    begun = time.monotonic()
    with (
        pytest.raises(Unavailable, match=r"cluster tcp://127\.0\.0\.1:9: no scheduler answers"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass
    assert time.monotonic() - begun < PATIENCE_S
    with pytest.raises(Unavailable, match="cluster http://x:1"), cluster("http://x:1"):
        pass


def test_recordings_that_a_worker_does_not_see_are_not_left_out(stack: Served, tmp_path: Path) -> None:
    place = Place("tiny", model_repository=stack.tiny.repository)
    with pytest.raises(FailedPrecondition, match=r"gone\.wav is not on .*; workers need the recordings"):
        listen(place, place.bundle(), tmp_path / "gone.wav")
    close()
