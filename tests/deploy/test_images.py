"""The images, as far as that goes without a container engine: their files, their packages, their entry points.

The RUN lines that install something are run as they stand, on a clean tree, in fresh environments elsewhere than
/opt/earwitness; what they installed is run by a user who owns nothing, in the environment that the Dockerfile gives.
Only the gigabytes of a GPU's packages are resolved and not fetched, and Debian's packages simulated.
"""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

from earwitness import __version__
from earwitness.client import ExplainerClient, Objective, Search, Settings
from tests.deploy.chart import FOLDER as CHART
from tests.deploy.chart import ROOT
from tests.deploy.images import DOCKER, USER, Installed, as_user, instructions, own_stages, roomy_memory, stages
from tests.helpers.tiny_bundle import flip_a_bit, write_tiny_bundle
from tests.integration.scorer.running import Running, rows_of, scorer_pb2_grpc, scoring

DOCKERFILES = ("python.Dockerfile", "triton.Dockerfile")
OPTIONAL = {"av"}
"""What an extra alone brings, and no image has: `codecs`."""
NOWHERE = {"trace_endpoint": "http://127.0.0.1:1"}
"""A setting that takes the packages of an extra."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RELEASE = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
BAKE = json.loads((DOCKER / "bake.json").read_text())["target"]


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
    assert {tag.partition(":")[2].removesuffix("-gpu") for tag in tags} == {__version__}
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


def build_models(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the image of the models does with those that were copied into it."""
    (line,) = instructions(own_stages("triton.Dockerfile")["models"], "RUN")
    return subprocess.run(["sh", "-ec", line.replace("/models", str(folder))], capture_output=True, text=True)


def test_an_image_with_a_wrong_model_is_not_built(tmp_path: Path) -> None:
    assert build_models(ROOT / "model_repository").stdout == ""
    models = tmp_path / "models"
    write_tiny_bundle(models)
    write_tiny_bundle(models, "old", digests=False)
    done = build_models(models)
    assert (done.returncode, done.stdout.count("old_")) == (0, 3)
    assert f"WARNING: {models}/old_search has no digests" in done.stdout
    for spoil in (flip_a_bit, lambda file: file.write_bytes((models / "tiny_search/1/model.onnx").read_bytes())):
        write_tiny_bundle(models)
        spoil(models / "tiny_classifier/1/model.onnx")
        done = build_models(models)
        assert done.returncode == 1
        assert f"{models}/tiny_classifier/1/model.onnx is not the file that was exported" in done.stdout
    for image in ("models", "triton"):  # the second takes them from the first
        copies = instructions(own_stages("triton.Dockerfile")[image], "COPY")
        assert copies == [{"models": "model_repository/ /models/", "triton": "--from=models /models/ /models/"}[image]]


def test_services_carry_no_torch() -> None:
    for name in ("explainer", "scorer", "gpu"):
        assert not {"torch", "onnx", "onnxscript", "tensorflow"} & pins(name).keys()
    assert pins("scorer").items() <= pins("explainer").items()
    assert "torch" in pins("trainer")


@pytest.mark.parametrize(
    ("image", "extras"), [("explainer", ["postgresql", "tracing"]), ("trainer", ["train", "sweep", "evidence"])]
)
def test_pins_are_what_the_package_asks_for(image: str, extras: list[str]) -> None:
    pinned = {name.replace("_", "-"): version for name, version in pins(image).items()}
    wanted = [*PROJECT["dependencies"], *(each for extra in extras for each in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement}: run `python deploy/docker/lock.py`"


@pytest.mark.skipif("VERSION_CODENAME=bookworm" not in RELEASE.split("\n"), reason="the images are of Debian bookworm")
def test_debians_packages_are_there(tmp_path: Path) -> None:
    private = [f"-oDir::State::lists={tmp_path}/lists", f"-oDir::Cache={tmp_path}/cache"]
    for folder in ("lists/partial", "cache/archives/partial"):
        (tmp_path / folder).mkdir(parents=True)
    (line,) = instructions(own_stages("python.Dockerfile")["compilers"], "RUN")
    update, install, _ = (shlex.split(command) for command in line.split("&&"))
    for words in (update, [*install, "--simulate"]):
        done = subprocess.run([words[0], *private, *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A clean tree, in `tree`, and the wheel that is built of it, in `wheels`."""
    with tempfile.TemporaryDirectory(prefix="earwitness-image-", dir=roomy_memory()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        copied = (
            "services/",
            "deploy/triton/",
            "deploy/demo/audio/",
            "model_repository/",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        )
        for file in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
            if file.startswith(copied):
                (folder / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, folder / "tree" / file)
        (folder / "tree/requirements").symlink_to(DOCKER / "requirements")
        Installed(folder / "package").run("package")
        yield folder


@pytest.fixture(scope="module")
def installed(folder: Path) -> Installed:
    """The scorer's packages and the package itself; the explainer's come to them later."""
    return Installed(folder / "services").run("build-scorer", "scorer")


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
    return installed.run("build-explainer")


async def test_the_explainer_runs_on_its_packages_alone(with_explainer: Installed) -> None:
    models = with_explainer.folder / "models"
    models.mkdir()
    write_tiny_bundle(models)
    async with (
        with_explainer.running("explainer", backend="local", model_repository=str(models), **NOWHERE) as port,
        ExplainerClient(f"127.0.0.1:{port}") as explainer,
    ):
        search = Search.of("tiny", Objective("fc3", unit=0), row_count=1, settings=Settings(steps=2))
        (explanation,) = (await explainer.explain(search, artefacts=["audio"])).explanations
        assert explanation.audio_wav


def test_the_wheel_brings_a_model_and_music_of_its_own(with_explainer: Installed, tmp_path: Path) -> None:
    """No checkout in sight: what `pip install` and `earwitness demo` give."""
    env = {**with_explainer.environment("explainer"), "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [with_explainer.python.with_name("earwitness"), "demo", "--backend", "local", "-n", "2", "--steps", "2"]
    document = json.loads(subprocess.check_output([*command, "--json"], env=env, cwd=tmp_path))
    assert [run["model"] for run in document["runs"]] == ["svd-r1", "svd-r1"]
    assert [run["score"]["reference_row_count"] for run in document["runs"]] == [50, 50]
    assert (tmp_path / "out/demo/index.html").is_file()
    (package,) = with_explainer.folder.glob("venv/lib/python*/site-packages/earwitness")
    assert (package / "py.typed").is_file()
    assert (package / "shipped/deploy/demo/audio/CREDITS.md").is_file()


def test_what_the_explainer_imports_late_is_there(with_explainer: Installed) -> None:
    wanted = imported_by("explainer", "features", "inference", "rpc", "storage")
    assert {"matplotlib", "onnxruntime", "scipy", "soundfile"} <= wanted
    assert not missing(with_explainer, wanted)


def missing(installed: Installed, wanted: Iterable[str]) -> list[str]:
    """Packages that are not there: looked for, not imported, which takes long."""
    look = "import sys, importlib.util as u; print(*(name for name in sys.argv[1:] if not u.find_spec(name)))"
    return subprocess.check_output([installed.python, "-c", look, *sorted(wanted)], text=True).split()


def test_the_explainers_gpu_packages_resolve(with_explainer: Installed) -> None:
    Installed(with_explainer.folder, dry=True).run("build-explainer-gpu")


@pytest.fixture(scope="module")
def trainer(folder: Path) -> Installed:
    """What the trainer's image installs, torch among it."""
    return Installed(folder / "trainer").run("build-trainer", "trainer")


def test_the_trainer_trains_on_its_packages_alone(trainer: Installed) -> None:
    home = trainer.home("trainer")
    (entry_point,) = instructions(stages("python.Dockerfile")["trainer"], "ENTRYPOINT")
    for line in (
        "corpus build corpus --clips 48",
        "train svd --corpus corpus --out svd --epochs 1 --updates 2 --batch-size 4 --threads 1",
    ):
        words = [trainer.python.with_name(*json.loads(entry_point)), *line.split()]
        subprocess.run(words, env=trainer.environment("trainer"), cwd=home, check=True, **as_user())
    assert (home / "svd/best.pt").is_file()
    clusters = {"distributed"}  # the extra `dask`: an atlas on a cluster is asked for elsewhere
    assert not missing(trainer, imported_by("cli", "evidence", "features", "training") - clusters)


def test_the_trainers_gpu_packages_resolve(trainer: Installed) -> None:
    Installed(trainer.folder, dry=True).run("build-trainer-gpu")


def imported_by(*rooms: str) -> set[str]:
    """The packages that these rooms import, at any place; not those of type stubs, nor optional ones."""
    found = set()
    for room in rooms:
        for file in (ROOT / "services/earwitness" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                found |= {name.partition(".")[0] for name in names}
    return {name for name in found if not name.startswith("_")} - OPTIONAL
