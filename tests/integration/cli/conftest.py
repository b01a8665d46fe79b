"""One pair of services for every test of a module, and the commands in this process."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.helpers.proxies import Proxy, refusing_proxy
from tests.integration.cli.served import Served, served


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Its result; stdout must hold one JSON document and nothing else."""
        assert self.exit_code == 0, self.stderr
        return json.loads(self.stdout)

    def error(self) -> str:
        """Its one line of complaint; stdout must be empty."""
        assert (self.exit_code, self.stdout) == (1, "")
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("error: ")
        return lines[0]


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Explainer and scorer on the tiny bundle."""
    with served(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that every variable of the environment names, as in a company; it refuses what it is asked."""
    with refusing_proxy() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `earwitness` with the given words; no setting of this machine reaches it."""
    from earwitness.cli.app import app

    for name in (
        "EXPLAINER",
        "SCORER",
        "TRITON",
        "DATA",
        "MODEL_REPOSITORY",
        "CLUSTER",
        "TOKEN_FILE",
        "TLS_CA",
        "DEBUG",
    ):
        monkeypatch.delenv(f"EARWITNESS_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        "earwitness.cli.console.FIRST_LINE_S", 600.0
    )  # a slow machine has no more lines than a quick one

    def command(*words: object) -> Outcome:
        result = CliRunner().invoke(app, [str(word) for word in words])
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return command
