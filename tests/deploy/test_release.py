"""`make release`, for real: what it makes, and that nothing is half there when a part of it fails."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from earwitness import __version__
from tests.deploy.chart import ROOT, tool

IMAGES = ("explainer", "gpu", "scorer", "trainer")


def release(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The script, with this Python and the tests' helm."""
    return subprocess.run(
        [ROOT / "deploy/release.sh", folder],
        env={**os.environ, "PYTHON": sys.executable, "HELM": str(tool("helm")), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "dist"
    done = release(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_wheel_sdist_chart_and_checksums(made: Path) -> None:
    name = f"earwitness-{__version__}"
    boms = {f"{name}-wheel.cdx.json", *(f"{name}-image-{each}.cdx.json" for each in IMAGES)}
    files = {f"{name}-py3-none-any.whl", f"{name}.tar.gz", f"{name}.tgz", *boms}
    assert {path.name for path in made.iterdir()} == {*files, "SHA256SUMS"}
    sums = dict(reversed(line.split()) for line in (made / "SHA256SUMS").read_text().splitlines())
    assert sums == {each: hashlib.sha256((made / each).read_bytes()).hexdigest() for each in files}
    with zipfile.ZipFile(made / f"{name}-py3-none-any.whl") as wheel:
        assert "earwitness/shipped/model_repository/svd_r1_search/1/model.onnx" in wheel.namelist()
    with tarfile.open(made / f"{name}.tgz") as chart:
        described = chart.extractfile("earwitness/Chart.yaml")
        assert described is not None
        assert yaml.safe_load(described)["version"] == __version__


def test_bills_of_materials_name_what_is_installed(made: Path) -> None:
    def components(what: str) -> dict[str, str]:
        bom = json.loads((made / f"earwitness-{__version__}-{what}.cdx.json").read_text())
        assert bom["bomFormat"] == "CycloneDX"
        return {each["name"].lower(): each["version"] for each in bom["components"]}

    assert {"grpcio", "onnxruntime", "numpy"} <= components("wheel").keys()
    for image in IMAGES:
        pins = (ROOT / f"deploy/docker/requirements/{image}.txt").read_text().splitlines()[1:]
        assert components(f"image-{image}") == dict(line.split("==") for line in pins)


def test_nothing_is_made_where_a_part_fails(tmp_path: Path) -> None:
    done = release(tmp_path / "dist", HELM="/bin/false")
    assert done.returncode != 0
    assert not (tmp_path / "dist").exists()
