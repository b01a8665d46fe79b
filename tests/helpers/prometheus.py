"""A real Prometheus that scrapes what it is told, and its answers."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

PATIENCE_S = 60.0
SCRAPE_S = 0.5


@dataclass(frozen=True)
class Prometheus:
    """A server at `url`."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now. Raises: AssertionError for one that Prometheus does not take."""
        try:
            with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}") as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except URLError as err:
            raise AssertionError(f"{expression}: {err}") from err
        return found


@contextmanager
def prometheus(program: Path, folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Scrapes `targets`, HOST:PORT by the name of its job, until the block ends."""
    jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    config = {"global": {"scrape_interval": f"{round(SCRAPE_S * 1000)}ms"}, "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probing.getsockname()[1]}"
    options = (f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data")
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *options, f"--web.listen-address={address}"], stderr=output, stdout=output)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                urlopen(f"http://{address}/-/ready").close()
                break
            except URLError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < give_up, "Prometheus is not ready"
                time.sleep(0.05)
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
