"""The stack as other code embeds it, on a real Triton and where none can be had."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from earwitness.cli.connection import inference_backend
from earwitness.cli.stack import Backend, Ports, Stack, StackError, StackSettings
from earwitness.client import (
    ExplainerClient,
    Objective,
    ScorerClient,
    Search,
    Selection,
    Settings,
    build_reference,
)
from earwitness.client.explaining import explain_and_score
from earwitness.inference.triton_install import TritonInstallError
from tests.helpers.proxies import Proxy
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.served import write_recording

FREE_PORTS = Ports(0, 0, 0, 0, 0, 0)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "models").repository


@pytest.fixture
def without_triton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache where the server is not, on a machine whose package index does not have it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cache"


async def test_triton_from_audio_to_score(models: Path, tmp_path: Path, proxy: Proxy) -> None:
    data = tmp_path / "data"
    log_file = data / "logs/explainer.log"
    log_file.parent.mkdir(parents=True)
    log_file.write_text("how it ended last time")
    async with Stack(StackSettings(models, data, "triton", ports=FREE_PORTS, restarts=1)) as stack:
        assert set(stack.endpoints.metrics) == set(stack.endpoints.process_ids) - {"earwitness"} == {
            "triton", "scorer", "explainer",
        }  # fmt: skip
        backend = inference_backend(None, None, data)  # found through the data folder
        try:
            async with (
                ExplainerClient(stack.endpoints.explainer) as explainer,
                ScorerClient(stack.endpoints.scorer) as scorer,
            ):
                built = await build_reference(
                    scorer,
                    backend,
                    "top",
                    model="tiny",
                    layer="fc3",
                    selection=Selection("top", 0, 5),
                    recordings=[write_recording(tmp_path / "a.wav", 8)],
                )
                assert built.version.selected_count == 5
                search = Search.of("tiny", Objective("fc3", 0), row_count=3, settings=Settings(steps=10))
                run = await explain_and_score(explainer, search, scorer=scorer, reference="top", artefacts=())
        finally:
            await backend.close()
        assert run.scoring is not None
        assert run.scoring.scored.score.reference_row_count == 5
        assert run.result.summary.backend.startswith(f"triton at {stack.endpoints.triton}")
        watching = asyncio.create_task(stack.watch())
        killed = stack.endpoints.process_ids["triton"]
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(120):
            while stack.endpoints.process_ids["triton"] == killed:  # noqa: ASYNC110 -- nobody is told
                await asyncio.sleep(0.1)
        async with ExplainerClient(stack.endpoints.explainer) as explainer:  # which finds Triton where it was
            async with asyncio.timeout(60):
                while not await explainer.serving():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert len((await explainer.explain(search)).explanations) == 3
        os.kill(stack.endpoints.process_ids["triton"], signal.SIGKILL)
        with pytest.raises(StackError, match=r"the triton ended.*; new starts \(1 in ten minutes\) were no help"):
            await asyncio.wait_for(watching, 30)
    assert list(data.glob("stack.json")) == []
    assert log_file.with_name("explainer.log.1").read_text() == "how it ended last time"
    assert "listening on" in log_file.read_text()
    assert proxy.asked == []


async def test_without_triton_models_run_in_process_and_it_is_said(
    models: Path, tmp_path: Path, without_triton: Path
) -> None:
    said: list[str] = []
    settings = StackSettings(models, tmp_path / "data", cache=without_triton, ports=FREE_PORTS)
    async with Stack(settings, say=said.append) as stack:
        assert (stack.endpoints.backend, stack.endpoints.triton) == ("local", None)
    assert any("Triton cannot run here, models run in process instead: " in words for words in said)


async def test_triton_that_was_asked_for_is_not_replaced(models: Path, tmp_path: Path, without_triton: Path) -> None:
    settings = StackSettings(models, tmp_path / "data", "triton", cache=without_triton, ports=FREE_PORTS)
    with pytest.raises(TritonInstallError, match="could not be downloaded"):
        await Stack(settings).__aenter__()


async def test_models_that_triton_cannot_run_run_in_process(models: Path, tmp_path: Path) -> None:
    """Its own checks are stricter: of this one it wants a warm-up that the model does not take."""
    config = models / "tiny_search/config.pbtxt"
    config.write_text(config.read_text().replace('key: "prior_weight"', 'key: "prior_wait"'))
    said: list[str] = []
    settings = StackSettings(models, tmp_path / "data", ports=FREE_PORTS)
    async with Stack(settings, say=said.append) as stack:
        assert stack.endpoints.backend == "local"
    (words,) = [each for each in said if "Triton does not start here" in each]
    assert "Triton can run no model; models/tiny cannot be used: tiny_search: " in words


@pytest.mark.parametrize("backend", ["local", None])
async def test_service_that_cannot_start_is_named(
    models: Path, tmp_path: Path, without_triton: Path, backend: Backend | None
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/scorer.db").write_bytes(b"not a database, whatever its name says" * 100)
    settings = StackSettings(models, tmp_path / "data", backend, cache=without_triton, ports=FREE_PORTS)
    with pytest.raises(StackError, match=r"the scorer ended with status 1 \(log: .*; its log ends: .*database"):
        await Stack(settings).__aenter__()
    assert not (tmp_path / "data/stack.json").exists()
