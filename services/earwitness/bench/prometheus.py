"""A real Prometheus: found, started on what it is to scrape, asked over its HTTP API, stopped."""

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

from earwitness.bench.errors import BenchError
from earwitness.bench.window import UP, Series, Window
from earwitness.folders import cache_folder
from earwitness.processes import ManagedProcess
from earwitness.rpc.proxies import past_proxy, told_of_url

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 20.0
ANSWER_TIMEOUT_S = 30.0
POLL_S = 0.05
LOG_TAIL_LINES = 5


def find_prometheus(given: Path | None) -> Path:
    """The program: `given`, the one on PATH, or the one that the tests fetched into the cache folder.

    Raises: BenchError saying how to get it.
    """
    fetched = cache_folder() / "tools/prometheus"
    found = str(given) if given is not None else shutil.which("prometheus") or str(fetched)
    if shutil.which(found) is None:
        what = f"{given} is no program" if given is not None else "there is none on PATH"
        raise BenchError(
            f"this needs Prometheus, and {what}: install it (Debian: apt-get install prometheus), say where it is "
            "(--prometheus FILE), or that of one that watches the stack already (--prometheus-url URL)"
        )
    return Path(found)


class Prometheus:
    """A server at `url`, asked over its HTTP API.

    `labels` narrows every question to the series that have them, e.g. `namespace="audio"`.
    """

    def __init__(self, url: str, labels: str = "") -> None:
        """Raises: BenchError for an address that is none of HTTP."""
        self.url = url.rstrip("/")
        self._labels = labels
        try:
            scheme = urlsplit(self.url).scheme
        except ValueError:  # a bracket without its other
            scheme = ""
        if scheme not in ("http", "https"):
            raise BenchError(f"prometheus_url: got {url!r}; give http://HOST:PORT")

    async def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series that an expression gives, at a time or now.

        Raises: BenchError when it cannot be reached, or does not take the expression.
        """
        asked = {"query": expression} if at is None else {"query": expression, "time": f"{at:.3f}"}
        return await asyncio.to_thread(self._ask, asked)

    async def window(self, names: str, begin: float, end: float, jobs: Mapping[str, int] | None = None) -> Window:
        """The samples between two moments, seconds since 1970, of the metrics whose names match an expression.

        Raises: BenchError as `query` and `Window`.
        """
        return Window(await self._series(f"{UP}|{names}", begin, end), jobs)

    async def scraped(self, since: float, jobs: Mapping[str, int], patience_s: float, *, times: int = 1) -> None:
        """Return when every target of the jobs, so many of each, has been scraped so often after a moment.

        Raises: BenchError naming what cannot be scraped.
        """
        deadline = since + patience_s
        while True:
            now = await self.now()
            found = await self._series(UP, since, max(now, since + POLL_S))
            scraped = [each.instance[0] for each in found if list(each.samples.values()).count(1) >= times]
            missing = [job for job, count in jobs.items() if scraped.count(job) < count]
            if not missing:
                return
            if now > deadline:
                raise BenchError(
                    f"Prometheus at {self.url} could not scrape {', '.join(missing)} within {patience_s:g} s; see "
                    f"{self.url}/targets"
                )
            await asyncio.sleep(POLL_S)

    async def now(self) -> float:
        """Its clock, seconds since 1970."""
        return float((await self.query("vector(time())"))[0]["value"][1])

    async def _series(self, names: str, begin: float, end: float) -> list[Series]:
        matchers = ",".join(filter(None, (f'__name__=~"{names}"', self._labels)))
        span_ms = round((end - begin) * 1000)
        return [Series.of(each) for each in await self.query(f"{{{matchers}}}[{span_ms}ms]", at=end)]

    def _ask(self, asked: Mapping[str, str]) -> list[dict[str, Any]]:
        request = urllib.request.Request(f"{self.url}/api/v1/query", urlencode(asked).encode())  # noqa: S310 - checked above
        try:
            with _opener(self.url).open(request, timeout=ANSWER_TIMEOUT_S) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as err:
            with closing(err):
                said = err.read().decode(errors="replace")[:200] + told_of_url(self.url)
            raise BenchError(f"Prometheus at {self.url} does not answer {asked['query']}: {said}") from err
        except (OSError, ValueError, KeyError) as err:
            raise BenchError(f"Prometheus at {self.url} cannot be asked: {err}{told_of_url(self.url)}") from err
        return found


class PrometheusServer:
    """A Prometheus of our own on a free port of 127.0.0.1; an asynchronous context manager.

    It scrapes `targets`, addresses HOST:PORT by the name of their job, and itself as the job `prometheus`. Its
    configuration, samples and log are in `folder`.

    Raises: BenchError when it does not start.
    """

    def __init__(self, program: Path, folder: Path, targets: Mapping[str, list[str]], *, scrape_s: float) -> None:
        self._program = program
        self._folder = folder
        self._targets = targets
        self._scrape_s = scrape_s
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Prometheus:
        async with AsyncExitStack() as starting:
            started = await self._start(starting)
            self._exit = starting.pop_all()
        return started

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _start(self, starting: AsyncExitStack) -> Prometheus:
        address = f"127.0.0.1:{_free_port()}"
        jobs = {**self._targets, "prometheus": [address]}
        scraping = [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()]
        interval = f"{round(self._scrape_s * 1000)}ms"
        config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": scraping}
        self._folder.mkdir(parents=True, exist_ok=True)
        config_file = self._folder / "prometheus.yaml"
        config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")  # JSON is YAML
        command = (
            str(self._program),
            f"--config.file={config_file}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={address}",
        )
        managed = await ManagedProcess.start(command, self._folder / "prometheus.log")
        starting.push_async_callback(managed.stop, STOP_GRACE_S)
        server = Prometheus(f"http://{address}")
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while not await asyncio.to_thread(_ready, server.url):
            tail = managed.last_lines(LOG_TAIL_LINES)
            if managed.ended.done():
                raise BenchError(f"{self._program} ended with status {managed.ended.result()}; its log ends: {tail}")
            if asyncio.get_running_loop().time() > deadline:
                raise BenchError(f"{self._program} was not ready within {START_TIMEOUT_S:g} s; its log ends: {tail}")
            await asyncio.sleep(POLL_S)
        return server


def _ready(url: str) -> bool:
    try:
        with _opener(url).open(f"{url}/-/ready", timeout=1):
            return True
    except OSError:
        return False


def _opener(url: str) -> urllib.request.OpenerDirector:
    """What opens a URL: through the proxies of the environment, but for this machine."""
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if past_proxy(url) else []))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
