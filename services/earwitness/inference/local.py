"""Runs the models of a repository in this process: the embedded default where no Triton can run."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import onnxruntime as ort

from earwitness.inference.backend import (
    FloatArray,
    InferenceFailed,
    InferenceUnavailable,
    ModelNotServed,
    in_batches,
    require_weights,
)
from earwitness.inference.metadata import BundleMetadata, complete_bundles
from earwitness.inference.repository import RepositoryError, ServedModel, read_repository
from earwitness.inference.session import CPU, CUDA, OnnxSession, SessionSettings

CLOSED = "the in-process backend is closed"


class LocalBackend:
    """ONNX Runtime in process, an `InferenceBackend`.

    Like Triton it runs at most `instance_group.count` requests of one model at a time; others wait in order. A model is
    loaded by its first request and kept. All work is done in threads, so the event loop stays free.
    """

    def __init__(self, model_repository: Path, threads: int | None = None) -> None:
        """Read `model_repository`; `threads` replaces the thread count in the models' configurations.

        Raises: RepositoryError.
        """
        served = read_repository(model_repository)
        self._repository = model_repository
        self._models = {name: _LocalModel(model, threads) for name, model in served.items()}
        self._bundles = complete_bundles({name: model.parameters for name, model in served.items()})
        self._closed = False

    @property
    def description(self) -> str:
        loaded = {model.provider for model in self._models.values()} - {None}
        planned = CUDA if CUDA in ort.get_available_providers() else CPU
        return f"onnxruntime {ort.__version__} in process ({', '.join(sorted(map(str, loaded))) or planned})"

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every complete bundle of the repository, as it was when the backend was opened."""
        self._require_open()
        return self._bundles

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        """The named outputs of one served model for a batch; see `InferenceBackend.infer`.

        A call that is cancelled or runs out of time stops at the next operator of the graph.
        """
        self._require_open()
        if served_name not in self._models:
            raise ModelNotServed(served_name, f"{self._repository} has {', '.join(sorted(self._models))}")
        model = self._models[served_name]
        require_weights(served_name, model.served.parameters, weights_sha256)

        async def run(batch: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
            return await model.infer(model.served.check(batch, list(outputs)), outputs)

        try:
            async with asyncio.timeout(timeout_s):
                return await in_batches(run, inputs, model.served.max_batch_size)
        except TimeoutError as err:
            raise TimeoutError(f"{served_name} did not answer within {timeout_s} s") from err

    async def ready(self) -> bool:
        """True while the backend is open and its repository holds a complete bundle."""
        return not self._closed and bool(self._bundles)

    async def close(self) -> None:
        """Stop what runs and release the sessions."""
        self._closed = True
        for model in self._models.values():
            model.terminate()
        await asyncio.gather(*(asyncio.to_thread(model.close) for model in self._models.values()))

    def _require_open(self) -> None:
        if self._closed:
            raise InferenceUnavailable(CLOSED)


class _LocalModel:
    """One served model, its session and the threads its requests run in."""

    def __init__(self, served: ServedModel, threads: int | None) -> None:
        self.served = served
        try:
            settings = SessionSettings.from_parameters(served.parameters)
        except ValueError as err:
            raise RepositoryError(f"model {served.name!r}: {err}") from err
        self._settings = settings if threads is None else replace(settings, threads=threads)
        self._instances = ThreadPoolExecutor(served.instance_count, thread_name_prefix=f"infer-{served.name}")
        self._session: OnnxSession | None = None
        self._loading = threading.Lock()
        self._running: set[ort.RunOptions] = set()
        self._closed = False

    @property
    def provider(self) -> str | None:
        """The execution provider in use; None before the first request."""
        return None if self._session is None else self._session.provider

    async def infer(self, inputs: Mapping[str, FloatArray], outputs: Sequence[str]) -> dict[str, FloatArray]:
        options = ort.RunOptions()
        self._running.add(options)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._instances, self._run, inputs, outputs, options)
        finally:  # reached early when the caller gave up: the run ends at its next operator
            options.terminate = True
            self._running.discard(options)

    def _run(
        self, inputs: Mapping[str, FloatArray], outputs: Sequence[str], options: ort.RunOptions
    ) -> dict[str, FloatArray]:
        try:
            with self._loading:
                if self._session is None and not self._closed:
                    self._session = OnnxSession(self.served.model_file, self._settings, device_id=0)
            if self._session is not None and not self._closed:
                return self._session.run(inputs, outputs, options)
        except Exception as err:  # ONNX Runtime's exceptions share no base of their own
            if not self._closed:
                raise InferenceFailed(f"{self.served.name}: {err}") from err
        raise InferenceUnavailable(CLOSED)

    def terminate(self) -> None:
        """Make what runs and what waits fail."""
        self._closed = True
        for options in self._running:
            options.terminate = True

    def close(self) -> None:
        """Wait for the threads to end."""
        self._instances.shutdown()
        if self._session is not None:
            self._session.close()
