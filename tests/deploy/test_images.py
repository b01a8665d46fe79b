"""The images, as far as that goes without a container engine: their files, their packages, their entry points.

What the services' images install is really installed, beside a wheel of what git tracks, and run by a user who owns
nothing, in the environment that the Dockerfile gives.
"""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

from earwitness.client import ExplainerClient, Objective, Search, Settings
from tests.deploy.chart import FOLDER as CHART
from tests.deploy.chart import ROOT
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.scorer.running import Running, rows_of, scorer_pb2_grpc, scoring

DOCKER = ROOT / "deploy/docker"
DOCKERFILES = ("python.Dockerfile", "triton.Dockerfile")
USER = 10001
PATIENCE_S = 120.0
NOWHERE = {"trace_endpoint": "http://127.0.0.1:1"}
"""A setting that takes the packages of an extra."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BAKE = json.loads((DOCKER / "bake.json").read_text())["target"]


def instructions(text: str, name: str) -> list[str]:
    """The arguments of every instruction of that name, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]


def stages(dockerfile: str) -> dict[str, str]:
    """The instructions of each stage by its name, with those of the stages it is built on."""
    found: dict[str, str] = {}
    for part in re.split(r"^(?=FROM )", (DOCKER / dockerfile).read_text(), flags=re.MULTILINE)[1:]:
        base, name = re.match(r"FROM (\S+) AS (\S+)", part).groups()
        found[name] = found.get(base, "") + part
    return found


def pins(name: str) -> dict[str, str]:
    """Versions by package in a file of requirements/."""
    lines = (DOCKER / f"requirements/{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_finds_nothing(dockerfile: str) -> None:
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), DOCKER / dockerfile], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_bases_are_pinned_and_users_are_not_root(dockerfile: str) -> None:
    own = stages(dockerfile)
    for base in (each.split()[0] for each in instructions((DOCKER / dockerfile).read_text(), "FROM")):
        assert base in own or re.search(r":[\w.-]*\d+\.\d+[\w.-]*$", base)
    for image in (each for each in BAKE.values() if each["dockerfile"].endswith(dockerfile)):
        *_, user = instructions(own[image["target"]], "USER")
        assert all(int(number) > 0 for number in user.split(":"))


def test_images_are_those_of_the_chart_and_of_this_version() -> None:
    tags = {image["tags"][0] for image in BAKE.values()}
    assert {tag.partition(":")[2].removesuffix("-gpu") for tag in tags} == {PROJECT["version"]}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    used = {values["explainer"]["image"]["repository"], values["scorer"]["image"]["repository"]}
    used.add(values["models"]["image"]["repository"])
    assert used <= {tag.partition(":")[0] for tag in tags}
    triton = f"{values['triton']['image']['repository']}:{values['triton']['image']['tag']}"
    assert f"FROM {triton} AS triton" in (DOCKER / "triton.Dockerfile").read_text()
    uid = str(USER)
    assert f"USER {uid}:{uid}" in stages("python.Dockerfile")["explainer"]
    assert f'"userId" {uid}' in (CHART / "templates/workload.yaml").read_text()


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_copied_is_there_and_let_through(dockerfile: str) -> None:
    ignored, *rules = (DOCKER / f"{dockerfile}.dockerignore").read_text().splitlines()
    assert ignored == "*"
    through = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    sources = [
        s
        for each in instructions((DOCKER / dockerfile).read_text(), "COPY")
        if "--from" not in each
        for s in each.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert any(f"{source}/".startswith(f"{each}/") for each in through), source
        assert (
            subprocess.run(["git", "ls-files", "--error-unmatch", source], cwd=ROOT, capture_output=True).returncode
            == 0
        )


def test_services_carry_no_torch() -> None:
    for name in ("explainer", "scorer", "gpu"):
        assert not {"torch", "onnx", "onnxscript", "tensorflow"} & pins(name).keys()
    assert pins("scorer").items() <= pins("explainer").items()
    assert "torch" in pins("trainer")


@pytest.mark.parametrize(
    ("image", "extras"), [("explainer", ["postgresql", "tracing"]), ("trainer", ["train", "sweep"])]
)
def test_pins_are_what_the_package_asks_for(image: str, extras: list[str]) -> None:
    pinned = {name.replace("_", "-"): version for name, version in pins(image).items()}
    wanted = [*PROJECT["dependencies"], *(each for extra in extras for each in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement}: run `python deploy/docker/lock.py`"


def test_the_trainers_packages_resolve() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", DOCKER / "requirements/trainer.txt"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Installed:
    """A virtual environment with what an image installs, in a folder that anybody may read."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    def add(self, *requirements: str | Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-compile"]
        subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True, stderr=subprocess.PIPE)

    def home(self, stage: str) -> Path:
        """The one folder that the image's user owns."""
        folder = self.folder / f"home-{stage}"
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, USER, USER)
        return folder

    def environment(self, stage: str) -> dict[str, str]:
        """What the image's ENV sets, the folders moved here."""
        words = " ".join(instructions(stages("python.Dockerfile")[stage], "ENV")).split()
        moved = {"PATH": str(self.python.parent), "XDG_DATA_HOME": str(self.home(stage))}
        return dict(word.split("=", 1) for word in words) | moved

    @asynccontextmanager
    async def running(self, service: str, **settings: str) -> AsyncIterator[int]:
        """An image's entry point, run by its user; the port of its gRPC server."""
        env = self.environment(service)
        for name, value in {"port": "0", "metrics_port": "0", **settings}.items():
            env[f"EARWITNESS_{service.upper()}_{name.upper()}"] = value
        (entry_point,) = instructions(stages("python.Dockerfile")[service], "ENTRYPOINT")
        process = await asyncio.create_subprocess_exec(
            *json.loads(entry_point), env=env, cwd=self.home(service), stderr=asyncio.subprocess.PIPE, **as_user()
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                log = b""
                while not (listening := re.search(rb"listening on \S+:(\d+)", log)):
                    line = await process.stderr.readline()
                    assert line, log.decode()
                    log += line
            yield int(listening[1])
            process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await process.communicate()
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def as_user() -> dict[str, int]:
    """Makes root's child processes the image's user's; whoever else runs the tests is not root already."""
    return {"user": USER, "group": USER} if os.geteuid() == 0 else {}


def interpreter() -> str:
    """A Python of this version that the image's user may run: the tests' own may lie in root's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/local/bin/{name}", f"/usr/bin/{name}"):
        with suppress(OSError):
            if subprocess.run([candidate, "-c", "import ssl, sqlite3"], cwd="/", **as_user()).returncode == 0:
                return candidate
    pytest.fail(f"no {name} here can be run by a user other than root; install Debian's python3", pytrace=False)


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """The scorer's packages and the package itself, from a clean tree; the explainer's come to them later."""
    with tempfile.TemporaryDirectory(prefix="earwitness-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        tree = folder / "tree"
        for file in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
            if file.startswith(("services/", "deploy/triton/", "pyproject.toml", "README.md", "LICENSE")):
                (tree / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, tree / file)
        here = Installed(folder)
        subprocess.run([interpreter(), "-m", "venv", "--without-pip", folder / "venv"], check=True)
        here.add("--requirement", DOCKER / "requirements/scorer.txt")
        here.add("--no-deps", tree)
        yield here


async def test_the_scorer_runs_on_its_packages_alone(installed: Installed) -> None:
    async with (
        installed.running("scorer", **NOWHERE) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        scorer = Running(scorer_pb2_grpc.ScorerServiceStub(channel), channel, CollectorRegistry())
        await scorer.frozen_reference(rows_of(64))
        answer = await scorer.stub.Score(scoring(rows_of(32, seed=1)))
        assert answer.version.row_count == 64


@pytest.fixture(scope="module")
def with_explainer(installed: Installed) -> Installed:
    """The same, with the explainer's packages."""
    installed.add("--requirement", DOCKER / "requirements/explainer.txt")
    return installed


async def test_the_explainer_runs_on_its_packages_alone(with_explainer: Installed) -> None:
    models = with_explainer.folder / "models"
    models.mkdir()
    write_tiny_bundle(models)
    async with (
        with_explainer.running("explainer", backend="local", model_repository=str(models), **NOWHERE) as port,
        ExplainerClient(f"127.0.0.1:{port}") as explainer,
    ):
        search = Search.of("tiny", Objective("fc3", unit=0), row_count=1, settings=Settings(steps=2))
        assert (await explainer.explain(search)).explanations


def test_what_the_explainer_imports_late_is_there(with_explainer: Installed) -> None:
    """Found, not imported: that takes long where nothing is compiled."""
    wanted = sorted(imported_by("explainer", "features", "inference", "rpc", "storage"))
    assert {"librosa", "matplotlib", "onnxruntime"} <= set(wanted)
    missing = "import sys, importlib.util as u; print([name for name in sys.argv[1:] if not u.find_spec(name)])"
    assert subprocess.check_output([with_explainer.python, "-c", missing, *wanted], text=True).strip() == "[]"


def imported_by(*rooms: str) -> set[str]:
    """The packages that these rooms import, at any place; not those of type stubs."""
    found = set()
    for room in rooms:
        for file in (ROOT / "services/earwitness" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                found |= {name.partition(".")[0] for name in names}
    return {name for name in found if not name.startswith("_")}
