"""What the explainer can be told, and how little it loads to be told it."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from earwitness.explainer.settings import ExplainerSettings


def test_defaults() -> None:
    settings = ExplainerSettings()
    assert (settings.port, settings.metrics_port, settings.backend) == (50051, 9101, "triton")
    assert (settings.max_rows, settings.max_steps) == (256, 10_000)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_EXPLAINER_BACKEND", "local")
    monkeypatch.setenv("EARWITNESS_EXPLAINER_MAX_CONCURRENT_SEARCHES", "7")
    settings = ExplainerSettings()
    assert (settings.backend, settings.max_concurrent_searches) == ("local", 7)


@pytest.mark.parametrize("whom", ["scorer", "triton"])
def test_a_certificate_to_show_needs_its_key_and_an_authority(tmp_path: Path, whom: str) -> None:
    file = tmp_path / "file.pem"
    file.touch()
    certificate, key, authority = (f"{whom}_tls_{each}" for each in ("certificate", "key", "ca"))
    for given in ({certificate: file}, {key: file, authority: file}):
        with pytest.raises(ValidationError, match=f"{certificate} and {key} go together"):
            ExplainerSettings(**given)
    with pytest.raises(ValidationError, match=f"{certificate} needs {authority}"):
        ExplainerSettings(**{certificate: file, key: file})


def test_the_server_starts_without_the_heavy_libraries() -> None:
    heavy = ["librosa", "matplotlib", "onnxruntime", "scipy", "soundfile", "torch"]
    code = f"import sys, earwitness.explainer.server; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
