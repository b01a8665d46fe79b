"""Clients that others generate from protos/ alone: its README's blocks, as they stand, against a running explainer."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from earwitness.folders import cache_folder
from tests.integration.cli.served import Served, served

PROTOS = Path(__file__).parents[3] / "protos"
NODE = cache_folder() / "tools/node"
"""Where install-tools.sh puts what Node's block needs."""
SAID = re.compile(r"models/tiny -?\d+\.\d+\n0 sweeps\nINVALID_ARGUMENT search\.objective\.unit\n")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The contract's files alone."""
    shutil.copytree(PROTOS / "earwitness", tmp_path / "protos/earwitness")
    shutil.copytree(PROTOS / "google", tmp_path / "protos/google")
    return tmp_path


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", (PROTOS / "README.md").read_text(), re.M | re.S)
    return text


def run(folder: Path, *words: str | Path, **variables: str) -> str:
    done = subprocess.run(words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_python(stack: Served, folder: Path) -> None:
    run(folder, "bash", "-euc", block("sh"), PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert not (folder / "generated/google").exists()
    # Without this package itself, which the environment's .pth file would bring.
    packages = {"PYTHONPATH": sysconfig.get_path("purelib"), "EARWITNESS_EXPLAINER": stack.explainer}
    assert SAID.fullmatch(run(folder, sys.executable, "-S", "-c", block("python"), **packages))


def test_node(stack: Served, folder: Path) -> None:
    for package in re.findall(r"@grpc/\S+@\S+", (PROTOS / "README.md").read_text()):
        name, version = package.rsplit("@", 1)
        assert f'"version": "{version}"' in (NODE / "node_modules" / name / "package.json").read_text()
    variables = {"NODE_PATH": str(NODE / "node_modules"), "EARWITNESS_EXPLAINER": stack.explainer}
    assert SAID.fullmatch(run(folder, "node", "-e", block("js"), **variables))


@pytest.mark.parametrize("file", sorted((PROTOS / "google").rglob("*.proto")), ids=lambda file: file.name)
def test_copies_are_those_of_the_package_that_serves_them(file: Path) -> None:
    """But for one's name, which googleapis-common-protos changes."""
    import google.longrunning

    (installed,) = google.longrunning.__path__
    theirs = Path(installed).parent / file.relative_to(PROTOS / "google")
    if theirs.name == "operations.proto":
        theirs = theirs.with_name("operations_proto.proto")
    assert file.read_text() == theirs.read_text()
