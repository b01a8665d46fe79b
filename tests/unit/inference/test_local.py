"""The in-process backend on real ONNX models."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import (
    InferenceBackend,
    InferenceFailed,
    InferenceUnavailable,
    ModelExchanged,
    ModelNotServed,
    ModelUnusable,
)
from earwitness.inference.factory import open_backend
from earwitness.inference.local import LocalBackend
from earwitness.inference.repository import RepositoryError
from tests.helpers.probe_model import probe_inputs, write_probe_model
from tests.helpers.tiny_bundle import write_tiny_bundle

HOURS = 10**9
"""Iterations of the probe model that no test could wait for."""


@pytest.fixture
async def probe(tmp_path: Path):
    write_probe_model(tmp_path)
    backend = LocalBackend(tmp_path)
    yield backend
    await backend.close()


async def test_a_bundle_is_listed_and_run(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path)
    backend: InferenceBackend = open_backend("local", model_repository=tmp_path, threads=2)
    assert list(await backend.bundles()) == [bundle.metadata]
    assert await backend.ready()
    assert "in process" in backend.description
    z = np.random.default_rng(0).normal(size=(5, 6))  # float64 on purpose
    spectrogram = (await backend.infer("tiny_generator", {"z": z}, ["spectrogram"]))["spectrogram"]
    assert spectrogram.dtype == np.float32
    np.testing.assert_allclose(spectrogram, bundle.spectrogram(z), atol=1e-5)
    names = ["fc3", "conv1", "probability"]
    found = await backend.infer("tiny_classifier", {"spectrogram": spectrogram}, names)
    assert list(found) == names
    np.testing.assert_allclose(found["conv1"], bundle.layers(spectrogram)["conv1"], atol=1e-5)
    np.testing.assert_allclose(found["probability"], bundle.probability(spectrogram), atol=1e-5)
    await backend.close()


async def test_what_the_model_does_not_take_is_refused(probe):
    with pytest.raises(ModelNotServed, match=r"prob does not exist; .* has probe"):
        await probe.infer("prob", probe_inputs(1), ["y"])
    with pytest.raises(InferenceFailed, match="input 'x' has shape"):
        await probe.infer("probe", probe_inputs(1) | {"x": np.ones((1, 2))}, ["y"])
    with pytest.raises(InferenceFailed, match="out of data bounds"):
        await probe.infer("probe", probe_inputs(1, index=99), ["y"])
    assert (await probe.infer("probe", probe_inputs(1, index=3), ["y"]))["y"] == 4


async def test_the_time_limit_ends_the_run_and_frees_the_model(probe):
    with pytest.raises(TimeoutError, match=r"probe did not answer within 0\.2 s"):
        await probe.infer("probe", probe_inputs(1, iterations=HOURS), ["y"], timeout_s=0.2)
    assert (await probe.infer("probe", probe_inputs(2), ["y"], timeout_s=10))["y"] == 2


async def test_cancelling_ends_the_run_and_frees_the_model(probe):
    running = asyncio.create_task(probe.infer("probe", probe_inputs(1, iterations=HOURS), ["y"]))
    waiting = asyncio.create_task(probe.infer("probe", probe_inputs(1, iterations=HOURS), ["y"]))
    await asyncio.sleep(0.2)  # the event loop is free while the model runs
    for task in (running, waiting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await probe.infer("probe", probe_inputs(2), ["y"], timeout_s=10))["y"] == 2


async def test_closing_ends_what_runs_and_what_waits(probe):
    tasks = [asyncio.create_task(probe.infer("probe", probe_inputs(1, iterations=HOURS), ["y"])) for _ in range(3)]
    await asyncio.sleep(0.1)
    await probe.close()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, InferenceUnavailable)
    with pytest.raises(InferenceUnavailable, match="closed"):
        await probe.infer("probe", probe_inputs(1), ["y"])
    with pytest.raises(InferenceUnavailable, match="closed"):
        await probe.bundles()
    assert not await probe.ready()


async def test_many_calls_at_once_each_get_their_own_answer(probe):
    answers = await asyncio.gather(*(probe.infer("probe", probe_inputs(i, rows=2), ["y"]) for i in range(40)))
    assert [answer["y"].tolist() for answer in answers] == [[[i], [i]] for i in range(40)]


async def test_a_batch_is_cut_to_what_the_model_takes(probe):
    inputs = {"x": np.arange(40.0)[:, None], "iterations": np.zeros((40, 1)), "index": np.ones((40, 1))}
    np.testing.assert_array_equal((await probe.infer("probe", inputs, ["y"]))["y"], inputs["x"] + 1)  # it takes 16
    with pytest.raises(InferenceFailed, match="out of data bounds"):
        await probe.infer("probe", inputs | {"index": inputs["x"]}, ["y"])


async def test_a_model_that_cannot_be_loaded_says_so(tmp_path: Path):
    folder = write_probe_model(tmp_path)
    (folder / "1" / "model.onnx").write_bytes(b"no model")
    backend = LocalBackend(tmp_path)
    for _ in range(2):
        with pytest.raises(ModelUnusable, match=r"models/probe cannot be used: .*probe/1/model\.onnx cannot be loaded"):
            await backend.infer("probe", probe_inputs(1), ["y"])
    await backend.close()


async def test_a_cut_file_without_digest_is_not_listed(tmp_path: Path, caplog):
    """An earlier version exported it, so that only ONNX Runtime can tell."""
    good = write_tiny_bundle(tmp_path, "good", seed=1, digests=False)
    write_tiny_bundle(tmp_path, digests=False)
    file = tmp_path / "tiny_classifier" / "1" / "model.onnx"
    file.write_bytes(file.read_bytes()[:500])
    backend = LocalBackend(tmp_path)
    assert list(await backend.bundles()) == [good.metadata]
    assert await backend.ready()
    assert f"models/good in {tmp_path} carries no digests" in caplog.text
    left_out = await backend.left_out()
    assert left_out.keys() == {"tiny"}
    assert f"{file} cannot be loaded" in left_out["tiny"]
    with pytest.raises(ModelUnusable, match=f"models/tiny cannot be used: {file}"):
        await backend.infer("tiny_classifier", {"spectrogram": np.ones((1, 8, 12))}, ["fc3"])
    await backend.close()


async def test_a_file_of_another_model_without_digest_is_not_listed(tmp_path: Path):
    write_tiny_bundle(tmp_path, digests=False)
    file = tmp_path / "tiny_classifier" / "1" / "model.onnx"
    file.write_bytes((tmp_path / "tiny_search" / "1" / "model.onnx").read_bytes())
    backend = LocalBackend(tmp_path)
    assert list(await backend.bundles()) == []
    assert f"{file} has the inputs" in (await backend.left_out())["tiny"]
    await backend.close()


async def test_a_file_exchanged_before_its_first_request_is_not_run(tmp_path: Path):
    """Models are loaded when they are asked for: hours after the repository was read, perhaps."""
    write_tiny_bundle(tmp_path)
    backend = LocalBackend(tmp_path)
    assert await backend.ready()
    other = write_tiny_bundle(tmp_path / "other", seed=7)
    file = tmp_path / "tiny_generator" / "1" / "model.onnx"
    file.write_bytes((other.repository / "tiny_generator" / "1" / "model.onnx").read_bytes())
    with pytest.raises(ModelUnusable, match=f"{file} is not the file that was exported"):
        await backend.infer("tiny_generator", {"z": np.ones((2, 6))}, ["spectrogram"])
    assert list(await backend.bundles()) == []
    assert not await backend.ready()
    await backend.close()


async def test_one_broken_parameter_keeps_no_other_model_from_being_served(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path)
    write_probe_model(tmp_path, micro_batch="many")
    backend = LocalBackend(tmp_path)
    assert list(await backend.bundles()) == [bundle.metadata]
    await backend.close()


def test_a_repository_that_cannot_be_served_is_refused_at_once(tmp_path: Path):
    write_probe_model(tmp_path, micro_batch="many")
    with pytest.raises(RepositoryError, match="model 'probe': parameter 'micro_batch'"):
        LocalBackend(tmp_path)
    with pytest.raises(InvalidArgument, match="model_repository"):
        open_backend("local")


async def test_other_weights_than_those_asked_for_give_no_answer(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path)
    write_probe_model(tmp_path)
    backend = LocalBackend(tmp_path)
    z = {"z": np.ones((2, 6))}
    own = bundle.metadata.weights_sha256
    assert "spectrogram" in await backend.infer("tiny_generator", z, ["spectrogram"], weights_sha256=own)
    with pytest.raises(ModelExchanged, match=f"tiny_generator has weights {own[:12]} now, .* weights abcdefabcdef"):
        await backend.infer("tiny_generator", z, ["spectrogram"], weights_sha256="abcdef" * 10)
    with pytest.raises(ModelExchanged, match="probe has no weights of a bundle now"):
        await backend.infer("probe", probe_inputs(1), ["y"], weights_sha256=own)
    await backend.close()
