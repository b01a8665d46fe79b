"""Runs the models of a repository in this process: the embedded default where no Triton can run."""

import asyncio
import hashlib
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
    ModelUnusable,
    in_batches,
    require_weights,
)
from earwitness.inference.integrity import mismatch, take_inventory, unloadable
from earwitness.inference.metadata import BundleMetadata, bundle_name, warn_once
from earwitness.inference.repository import RepositoryError, ServedModel
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
        inventory = take_inventory(model_repository)
        self._repository = model_repository
        self._bundles = {bundle.name: bundle for bundle in inventory.bundles}
        self._left_out = dict(inventory.left_out)
        self._models: dict[str, _LocalModel] = {}
        self._closed = False
        problems = []
        for name, model in inventory.models.items():
            try:
                self._models[name] = _LocalModel(model, threads, inventory.digest(name))
            except RepositoryError as err:
                problems.append(err.message)
                self._leave_out(name, err.message)
        if not self._models and problems:
            raise RepositoryError("; ".join(problems))

    @property
    def description(self) -> str:
        loaded = {model.provider for model in self._models.values()} - {None}
        planned = CUDA if CUDA in ort.get_available_providers() else CPU
        return f"onnxruntime {ort.__version__} in process ({', '.join(sorted(map(str, loaded))) or planned})"

    @property
    def generation(self) -> int:
        """Always 0: files are loaded once, and held against their digests then."""
        return 0

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every usable bundle of the repository, as it was when the backend was opened."""
        self._require_open()
        return list(self._bundles.values())

    async def left_out(self) -> Mapping[str, str]:
        """The bundles of the repository that cannot be used, by name, each with the reason."""
        self._require_open()
        return self._left_out

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
            if (bundle := bundle_name(served_name)) in self._left_out:
                raise ModelUnusable(bundle, self._left_out[bundle])
            raise ModelNotServed(served_name, f"{self._repository} has {', '.join(sorted(self._models))}")
        model = self._models[served_name]
        require_weights(served_name, model.served.parameters, weights_sha256)

        async def run(batch: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
            return await model.infer(model.served.check(batch, list(outputs)), outputs)

        try:
            async with asyncio.timeout(timeout_s):
                return await in_batches(run, inputs, model.served.max_batch_size)
        except ModelUnusable as err:
            self._leave_out(served_name, err.why)
            raise
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

    def _leave_out(self, served_name: str, why: str) -> None:
        """Its bundle is not told of any more, where it is one's."""
        bundle = bundle_name(served_name)
        if self._bundles.pop(bundle, None) is not None:
            self._left_out[bundle] = why
        warn_once(f"models/{bundle} is left out: {why}")

    def _require_open(self) -> None:
        if self._closed:
            raise InferenceUnavailable(CLOSED)


class _LocalModel:
    """One served model, its session and the threads its requests run in."""

    def __init__(self, served: ServedModel, threads: int | None, sha256: str | None) -> None:
        """`sha256` is the digest that the file must have, if one is recorded. Raises: RepositoryError."""
        self.served = served
        self._sha256 = sha256
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
            self.load()
            if self._session is not None and not self._closed:
                return self._session.run(inputs, outputs, options)
        except ModelUnusable:
            raise
        except Exception as err:  # ONNX Runtime's exceptions share no base of their own
            if not self._closed:
                raise InferenceFailed(f"{self.served.name}: {err}") from err
        raise InferenceUnavailable(CLOSED)

    def load(self) -> None:
        """Make the session, where there is none yet and the model is not closed.

        Raises: ModelUnusable for a file that is not the one that was exported, or that ONNX Runtime does not load.
        """
        with self._loading:
            if self._session is None and not self._closed:
                try:
                    self._session = OnnxSession(
                        self.served.model_file, self._settings, device_id=0, content=self._read()
                    )
                except ModelUnusable:
                    raise
                except Exception as err:  # ONNX Runtime's exceptions share no base of their own
                    raise ModelUnusable(bundle_name(self.served.name), unloadable(self.served.model_file, err)) from err

    def _read(self) -> bytes | None:
        """The file, where it can be held against its digest: it may be another since the repository was read."""
        if self._sha256 is None:
            return None
        content = self.served.model_file.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != self._sha256:
            raise ModelUnusable(bundle_name(self.served.name), mismatch(self.served.model_file, self._sha256, found))
        return content

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
