"""One bundle as it is served: its three models, called in batches that it takes."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.explainer.errors import NonFiniteModel
from earwitness.explainer.search import Budget
from earwitness.inference.backend import FloatArray, InferenceBackend, InferenceUnavailable, in_batches
from earwitness.inference.metadata import BundleMetadata, Role

Observe = Callable[[Role, float, str], None]
"""Told the seconds that each call of a served model took, and the reason of a failure, "" where there was none."""


class ServedBundle:
    """Calls the models of `bundle` with at most `max_batch` rows at once, `calls_in_flight` calls at a time.

    A call without an answer after `call_timeout_s` seconds means that the backend is unavailable; an answer of other
    weights than the bundle's is none, but ModelExchanged.
    """

    def __init__(
        self,
        bundle: BundleMetadata,
        backend: InferenceBackend,
        *,
        max_batch: int,
        calls_in_flight: int,
        call_timeout_s: float,
        observe: Observe,
    ) -> None:
        self._bundle = bundle
        self._backend = backend
        self._max_batch = max_batch
        self._calls = asyncio.Semaphore(calls_in_flight)
        self._call_timeout_s = call_timeout_s
        self._observe = observe

    async def evaluate(
        self,
        latents: FloatArray,
        unit_weights: FloatArray,
        prior_weights: FloatArray,
        *,
        timeout_s: float | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """See `search.Evaluate`. Raises: also InferenceUnavailable, InferenceFailed."""
        inputs = {"z": latents, "unit_weights": unit_weights, "prior_weight": prior_weights}
        found = await self._run("search", inputs, ("activation", "gradient"), timeout_s)
        return found["activation"][:, 0], found["gradient"]

    async def forward(
        self, latents: FloatArray, layers: Sequence[str], budget: Budget
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """The spectrograms [B, bands, frames] of the latents [B, Z] that a search found, and their activations
        [B, units] of each of the layers.

        Raises: NonFiniteModel; TimeoutError; InferenceUnavailable, InferenceFailed.
        """
        made = await self._run("generator", {"z": latents}, ("spectrogram",), budget.left_s())
        activations = await self._run("classifier", made, layers, budget.left_s())
        spectrograms = made["spectrogram"]
        if not all(np.isfinite(array).all() for array in (spectrograms, *activations.values())):
            raise NonFiniteModel(
                f"models/{self._bundle.name} makes NaN or infinity of latents whose activation is finite: its models "
                "do not fit each other, export it again"
            )
        return spectrograms, activations

    async def activate(self, latents: FloatArray, layers: Sequence[str], budget: Budget) -> dict[str, FloatArray]:
        """See `search.Classify`. Raises: also InferenceUnavailable, InferenceFailed."""
        made = await self._run("generator", {"z": latents}, ("spectrogram",), budget.left_s())
        return await self._run("classifier", made, layers, budget.left_s())

    async def classify(self, latents: FloatArray, layers: Sequence[str]) -> dict[str, FloatArray]:
        """See `probe.Classify`. Raises: NonFiniteModel; InferenceUnavailable, InferenceFailed."""
        return (await self.forward(latents, layers, Budget()))[1]

    async def _run(
        self, role: Role, inputs: Mapping[str, FloatArray], outputs: Sequence[str], timeout_s: float | None
    ) -> dict[str, FloatArray]:
        return await in_batches(lambda batch: self._call(role, batch, outputs, timeout_s), inputs, self._max_batch)

    async def _call(
        self, role: Role, inputs: Mapping[str, FloatArray], outputs: Sequence[str], timeout_s: float | None
    ) -> dict[str, FloatArray]:
        end_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        async with self._calls:  # the wait for the other calls is part of the caller's time
            begun = time.monotonic()
            limit_s = min(end_s - begun, self._call_timeout_s)
            failure = ""
            try:
                return await self._backend.infer(
                    self._bundle.served_name(role),
                    inputs,
                    outputs,
                    weights_sha256=self._bundle.weights_sha256,
                    timeout_s=limit_s,
                )
            except EarwitnessError as err:
                failure = err.reason
                raise
            except TimeoutError as err:
                if limit_s < self._call_timeout_s:  # the caller's time was short
                    raise
                failure = InferenceUnavailable.reason
                raise InferenceUnavailable(
                    f"{self._bundle.served_name(role)} gave no answer within {limit_s:g} s; the inference server hangs "
                    "or is overloaded"
                ) from err
            finally:
                self._observe(role, time.monotonic() - begun, failure)
