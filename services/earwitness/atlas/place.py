"""Where the models run, as a value that travels to worker processes, each of which connects once and stays so."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from earwitness.client.references import bundle_of, layers_activations
from earwitness.errors import InvalidArgument
from earwitness.inference.backend import FloatArray, InferenceBackend, InferenceOverloaded, InferenceUnavailable
from earwitness.inference.factory import open_backend
from earwitness.inference.metadata import BundleMetadata

Result = TypeVar("Result")
PATIENCE_S, RETRY_S = 60.0, 1.0
"""How long a server that is down or full is asked again, and how often: hours of work do not end with its restart."""


@dataclass(frozen=True)
class Place:
    """A model at Triton's address, or in a folder that is run in process; exactly one of them is given.

    Raises: InvalidArgument for both or none.
    """

    model: str
    triton: str | None = None
    model_repository: Path | None = None

    def __post_init__(self) -> None:
        if (self.triton is None) == (self.model_repository is None):
            raise InvalidArgument("triton", "give either --triton or --model-repository")

    def bundle(self) -> BundleMetadata:
        """The model's bundle. Raises: as `bundle_of`."""
        return run(bundle_of(_backend(self.triton, self.model_repository), self.model))

    def generate(self, bundle: BundleMetadata, latents: FloatArray) -> FloatArray:
        """`latents` [n, Z] → spectrograms [n, bands, frames], of the bundle's weights. Raises: as `infer`."""
        backend, name = _backend(self.triton, self.model_repository), bundle.served_name("generator")
        inputs, weights = {"z": np.ascontiguousarray(latents, np.float32)}, bundle.weights_sha256
        return _patiently(lambda: backend.infer(name, inputs, ["spectrogram"], weights_sha256=weights))["spectrogram"]

    def classify(self, bundle: BundleMetadata, spectrograms: FloatArray) -> FloatArray:
        """`spectrograms` [n, bands, frames] → activations [n, U] of all layers in the bundle's order. Raises: as
        `infer`."""
        if not len(spectrograms):
            return np.empty((0, bundle.unit_count), np.float32)
        backend, names = _backend(self.triton, self.model_repository), [layer.name for layer in bundle.layers]
        return _patiently(lambda: layers_activations(backend, bundle, names, spectrograms))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What asynchronous work gives, waited for in any thread: all of it is done on one loop of this process, as
    connections belong to the loop that opened them."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


def close() -> None:
    """End the connections of this process; the next use opens others."""
    if _opened.cache_info().currsize:
        run(_close())


async def _close() -> None:
    for backend in _BACKENDS:
        await backend.close()
    _BACKENDS.clear()
    _opened.cache_clear()


def _patiently(ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """What `ask` gives; a server that is down or full is asked again for a while. Raises: what it raised last."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return run(ask())
        except (InferenceUnavailable, InferenceOverloaded):
            if time.monotonic() > until:
                raise
            time.sleep(RETRY_S)


_ONE = threading.Lock()
_BACKENDS: list[InferenceBackend] = []
"""Those that are open; touched on the loop alone."""


def _loop() -> asyncio.AbstractEventLoop:
    with _ONE:
        return _started_loop()


@cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="atlas-models", daemon=True).start()
    return loop


def _backend(triton: str | None, model_repository: Path | None) -> InferenceBackend:
    async def opened() -> InferenceBackend:
        return _opened(triton, model_repository)

    return run(opened())


@cache
def _opened(triton: str | None, model_repository: Path | None) -> InferenceBackend:
    """Called on the loop alone, so that there is one of each."""
    if model_repository is not None:
        backend = open_backend("local", model_repository=model_repository, threads=1)
    else:
        backend = open_backend("triton", triton_url=triton or "")
    _BACKENDS.append(backend)
    return backend
