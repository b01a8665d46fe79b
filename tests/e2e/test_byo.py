"""The tutorial "bring your own networks", run as it stands: networks nobody here wrote, from checkpoint to page."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.features import profile_from_dict
from earwitness.inference.metadata import BundleMetadata, complete_bundles
from earwitness.inference.repository import read_repository
from tests.e2e.byo import birds, training
from tests.helpers.commands import stack_up

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "services/earwitness/training/export/README.md"
MOST_LINES = 10
LIMIT_S = 600
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)
SCRIPT, UP, EXPLAIN, FEATURES, EXPORT = (text for _, text in BLOCKS[:5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder: their module, and what their training saved."""
    folder = tmp_path_factory.mktemp("birds")
    shutil.copy(birds.__file__, folder / "birds.py")
    training.train(folder)
    return folder


def run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def served(repository: Path) -> BundleMetadata:
    (bundle,) = complete_bundles({name: model.parameters for name, model in read_repository(repository).items()})
    return bundle


@pytest.fixture(scope="module")
def exported(folder: Path, environment: dict[str, str]) -> BundleMetadata:
    """The bundle, by the tutorial's Python."""
    (folder / "bring.py").write_text(SCRIPT, encoding="utf-8")
    run([sys.executable, "bring.py"], folder, environment)
    return served(folder / "models")


def test_ten_lines() -> None:
    assert [language for language, _ in BLOCKS if language != "text"] == ["python", "sh", "sh", "json", "sh", "json"]
    lines = [line for line in (SCRIPT + UP + EXPLAIN).splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 120


def test_layers_labels_and_features_are_theirs(exported: BundleMetadata) -> None:
    assert [(layer.name, layer.kind, layer.unit_count) for layer in exported.layers] == [
        ("features_0", "conv", 12),
        ("features_4", "conv", 24),
        ("features_8", "conv", 32),
        ("fc1", "dense", 40),
        ("fc2", "output", 2),
    ]
    assert [(label.maximise, label.minimise) for label in exported.labels] == [("no call", "call"), ("call", "no call")]
    assert (exported.latent_size, exported.spectrogram_shape) == (100, (64, 96))
    sound = training.sound(np.random.default_rng(0), call=True)
    ours = profile_from_dict(exported.features).spectrogram(sound).T
    np.testing.assert_allclose(ours, training.spectrogram(sound), atol=1e-4)


@pytest.mark.parametrize("backend", ["local", "triton"])
def test_from_checkpoint_to_page(
    exported: BundleMetadata, folder: Path, environment: dict[str, str], backend: str
) -> None:
    out = folder / "out/calls"
    shutil.rmtree(out, ignore_errors=True)
    ports = "".join(
        f" --{name}-port 0"
        for name in ("explainer", "scorer", "triton", "explainer-metrics", "scorer-metrics", "triton-metrics")
    )
    with stack_up(f"{UP.strip()} --backend {backend}{ports}", folder, environment):
        said = run(EXPLAIN.split(), folder, environment)
        minimised = run([*EXPLAIN.split()[:-2], "--minimise", "--json"], folder, environment)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert (out / "index.html").as_uri() in said
    assert "call" in page
    arrays = np.load(out / "explanations.npz")
    assert arrays["spectrograms"].shape == (4, 64, 96)
    least = [row["activation"] for row in json.loads(minimised)["rows"]]
    assert (arrays["activations"] > np.array(least)).all()
    sounds = sorted(out.glob("*.wav"))
    assert len(sounds) == 4
    for file in sounds:
        assert file.name in page
        samples, rate_hz = soundfile.read(file)
        assert rate_hz == 16_000
        assert len(samples) == 95 * 160 + 1
        loudness_db = 20 * np.log10(np.sqrt(np.mean(samples**2)))
        assert loudness_db == pytest.approx(-23, abs=1)


def test_the_same_without_python(exported: BundleMetadata, folder: Path, environment: dict[str, str]) -> None:
    (folder / "birds.json").write_text(FEATURES, encoding="utf-8")
    shutil.rmtree(folder / "models")
    run(["bash", "-euo", "pipefail", "-c", EXPORT], folder, environment)
    assert served(folder / "models") == exported
