"""Threads and micro-batches change how a batch is run, never what comes out."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from earwitness.inference.repository import read_repository
from earwitness.inference.session import CPU, CUDA, OnnxSession, SessionSettings, _deal
from tests.helpers.tiny_bundle import write_tiny_bundle


def test_settings_are_read_from_parameters():
    settings = SessionSettings.from_parameters(
        {
            "earwitness": "{}",
            "intra_op_thread_count": "3",
            "inter_op_thread_count": "2",
            "execution_mode": "1",
            "micro_batch": "4",
            "session.intra_op.allow_spinning": "1",
        }
    )
    assert (settings.threads, settings.inter_op_threads, settings.micro_batch) == (3, 2, 4)
    assert settings.parallel_operators
    assert settings.ort_entries["session.intra_op.allow_spinning"] == "1"


def test_threads_do_not_spin_unless_told():
    assert SessionSettings.from_parameters({}).ort_entries == {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }


@pytest.mark.parametrize("text", ["-1", "two", "", "1.5"])
def test_a_count_that_is_none_is_refused_by_name(text):
    with pytest.raises(ValueError, match="'micro_batch'"):
        SessionSettings.from_parameters({"micro_batch": text})


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 50, 256])
@pytest.mark.parametrize(("most", "workers"), [(1, 4), (4, 2), (8, 4), (8, 1)])
def test_rows_are_dealt_out_evenly(rows, most, workers):
    parts = _deal(rows, most, workers)
    sizes = [part.stop - part.start for part in parts]
    assert np.concatenate([np.arange(rows)[part] for part in parts]).tolist() == list(range(rows))
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) % workers == 0 or len(parts) == rows


@pytest.mark.parametrize(("threads", "micro_batch"), [(1, 0), (2, 0), (1, 1), (2, 1), (2, 3)])
def test_every_way_of_running_gives_the_closed_form(tmp_path: Path, threads: int, micro_batch: int):
    bundle = write_tiny_bundle(tmp_path)
    model_file = read_repository(tmp_path)["tiny_search"].model_file
    session = OnnxSession(model_file, SessionSettings(threads=threads, micro_batch=micro_batch))
    rng = np.random.default_rng(3)
    z, weights = (rng.normal(size=(11, size)).astype(np.float32) for size in (6, 10))
    prior = rng.uniform(0, 0.1, (11, 1)).astype(np.float32)
    found = session.run({"z": z, "unit_weights": weights, "prior_weight": prior}, ["gradient", "activation"])
    session.close()
    activation, _, gradient = bundle.search(z, weights, prior)
    assert list(found) == ["gradient", "activation"]
    np.testing.assert_allclose(found["gradient"], gradient, atol=5e-6)
    np.testing.assert_allclose(found["activation"], activation, atol=5e-6)


def test_with_runs_of_one_row_a_row_does_not_depend_on_its_batch(tmp_path: Path):
    write_tiny_bundle(tmp_path)
    session = OnnxSession(
        read_repository(tmp_path)["tiny_generator"].model_file, SessionSettings(threads=2, micro_batch=1)
    )
    z = np.random.default_rng(4).normal(size=(9, 6)).astype(np.float32)
    together = session.run({"z": z}, ["spectrogram"])["spectrogram"]
    alone = [session.run({"z": row[None]}, ["spectrogram"])["spectrogram"][0] for row in z]
    session.close()
    np.testing.assert_array_equal(together, np.stack(alone))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """onnxruntime-gpu has the provider wherever it is installed, and passes over it where CUDA cannot be loaded."""
    write_tiny_bundle(tmp_path)
    model_file = read_repository(tmp_path)["tiny_generator"].model_file
    OnnxSession(model_file, SessionSettings(), device_id=0).close()
    assert "CUDA" not in caplog.text
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    session = OnnxSession(model_file, SessionSettings(), device_id=0)
    assert session.provider == CPU
    assert f"{model_file}: no GPU, or not its CUDA and cuDNN on LD_LIBRARY_PATH; the CPU is used" in caplog.text


@pytest.mark.parametrize("entry", ["earwitness.inference.session", "earwitness.bench.machine"])
def test_onnxruntime_tells_nobody_what_it_runs(entry: str, tmp_path: Path) -> None:
    """From 1.29 on its wheels keep an id of the machine in the cache folder, the sign that they report."""
    bundle = write_tiny_bundle(tmp_path / "models")
    (model,) = bundle.repository.glob("*_classifier/1/model.onnx")
    silencing = {"CI", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "XDG_CACHE_HOME"}
    env = {name: value for name, value in os.environ.items() if name not in silencing}
    home = tmp_path / "home"
    home.mkdir()
    program = f"import {entry}, onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    subprocess.run([sys.executable, "-c", program], env={**env, "HOME": str(home)}, check=True)
    assert not [path for path in home.rglob("*") if "onnxruntime" in path.name]
