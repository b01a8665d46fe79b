"""Real explainer and scorer on the tiny bundle, in a thread of their own, found by commands through the data folder."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.cli.connection import Endpoints, hold
from earwitness.explainer.server import build_server as build_explainer
from earwitness.explainer.settings import ExplainerSettings
from earwitness.features import write_wav
from earwitness.scorer.server import build_server as build_scorer
from earwitness.scorer.settings import ScorerSettings
from tests.helpers.tiny_bundle import PROFILE, TinyBundle, write_tiny_bundle


@dataclass(frozen=True)
class Served:
    """A running pair of services; `data` is what `--data` takes."""

    tiny: TinyBundle
    data: Path
    explainer: str
    scorer: str


@contextmanager
def served(folder: Path, model_repository: Path | None = None) -> Iterator[Served]:
    """Serve the tiny bundle, or what is in another folder, until the block ends."""
    tiny = write_tiny_bundle(folder / "models")
    repository = model_repository or tiny.repository
    data = folder / "data"
    data.mkdir()
    started: threading.Event = threading.Event()
    running: dict[str, Served] = {}
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as opened:
            scorer = await opened.enter_async_context(
                await build_scorer(ScorerSettings(port=0, metrics_port=None, data_dir=data))
            )
            settings = ExplainerSettings(
                port=0,
                metrics_port=None,
                backend="local",
                model_repository=repository,
                local_threads=1,
                data_dir=data,
                scorer_address=f"127.0.0.1:{scorer.port}",
            )
            explainer = await opened.enter_async_context(await build_explainer(settings))
            targets = [f"127.0.0.1:{server.port}" for server in (explainer, scorer)]
            endpoints = Endpoints("local", str(repository), *targets, None, {}, {"earwitness": os.getpid()})
            endpoints.write(data)
            running["it"] = Served(tiny, data, *targets)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        with hold(data):  # as the stack does
            yield running["it"]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def write_recording(path: Path, excerpts: float, seed: int = 0) -> Path:
    """Coloured noise of so many excerpts of the tiny bundle's features."""
    frames = max(1, round(excerpts * PROFILE.excerpt_frames))
    noise = np.random.default_rng(seed).standard_normal(PROFILE.sample_count(frames))
    waveform = np.cumsum(noise) * np.linspace(0.002, 0.02, len(noise))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, (0.5 * waveform / np.abs(waveform).max()).astype(np.float32), PROFILE.sample_rate_hz)
    return path
