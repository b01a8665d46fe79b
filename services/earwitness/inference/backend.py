"""The one way the services run a model: `InferenceBackend`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import Internal, NotFound, ResourceExhausted, Unavailable
from earwitness.inference.metadata import BundleMetadata

FloatArray = NDArray[np.float32]


class InferenceUnavailable(Unavailable):
    """The inference server cannot be reached or is not ready."""

    reason = "INFERENCE_UNAVAILABLE"


class InferenceOverloaded(ResourceExhausted):
    """The inference server has as many requests waiting as it takes."""

    reason = "INFERENCE_OVERLOADED"


class ModelNotServed(NotFound):
    """The inference server does not have the model, or not any more."""

    reason = "MODEL_NOT_SERVED"

    def __init__(self, served_name: str, hint: str) -> None:
        super().__init__("earwitness.ServedModel", served_name, hint)


class InferenceFailed(Internal):
    """The inference server refused or failed a request that was well formed for its model."""

    reason = "INFERENCE_FAILED"


class InferenceBackend(Protocol):
    """Runs the three models of each bundle; all calls are asyncio and cancellable."""

    @property
    def description(self) -> str:
        """For people and logs, e.g. `triton at 127.0.0.1:8001 (2.51.0)`."""

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every ready bundle (all three of its models are ready), sorted by name.

        Raises: InferenceUnavailable.
        """

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        """The named outputs of one served model for a batch; every array is float32 with the batch first.

        A batch of more rows than the model's max_batch_size is run in several.

        Raises: InferenceUnavailable; InferenceOverloaded; ModelNotServed; InferenceFailed; TimeoutError after
        `timeout_s` seconds.
        """

    async def ready(self) -> bool:
        """True when the server answers and at least one bundle can be run; never raises."""

    async def close(self) -> None:
        """Release connections and sessions."""


async def in_batches(
    run: Callable[[Mapping[str, FloatArray]], Awaitable[dict[str, FloatArray]]],
    inputs: Mapping[str, FloatArray],
    max_batch_size: int,
) -> dict[str, FloatArray]:
    """What `run` gives for `inputs`, in batches of at most `max_batch_size` rows, all at once; all end if one fails."""
    rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
    if rows <= max_batch_size:
        return await run(inputs)
    batches = (slice(start, start + max_batch_size) for start in range(0, rows, max_batch_size))
    runs = [asyncio.ensure_future(run({name: array[rows] for name, array in inputs.items()})) for rows in batches]
    try:
        parts = await asyncio.gather(*runs)
    finally:
        for each in runs:
            each.cancel()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
