"""The one way the services run a model: `InferenceBackend`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import Aborted, FailedPrecondition, Internal, NotFound, ResourceExhausted, Unavailable
from earwitness.inference.metadata import BundleMetadata, weights_in

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
        super().__init__("served model", served_name, hint)


class ModelExchanged(Aborted):
    """Other weights are served under the model's name since its bundle was asked for."""

    reason = "MODEL_EXCHANGED"

    def __init__(self, served_name: str, expected: str, found: str | None) -> None:
        has = f"weights {found[:12]}" if found else "no weights of a bundle"
        super().__init__(
            f"{served_name} has {has} now, this began with weights {expected[:12]}: the model was exchanged meanwhile; "
            "ask again, of the model as it is now"
        )


class ModelUnusable(FailedPrecondition):
    """The model is there, and its files are damaged, incomplete or not those that were exported."""

    reason = "MODEL_UNUSABLE"

    def __init__(self, bundle: str, why: str) -> None:
        super().__init__(f"models/{bundle} cannot be used: {why}", metadata={"model": bundle})
        self.why = why


class InconsistentModel(FailedPrecondition):
    """The activations of a bundle's search graph are not those of its classifier over what its generator makes."""

    reason = "INCONSISTENT_MODEL"


class InferenceFailed(Internal):
    """The inference server refused or failed a request that was well formed for its model."""

    reason = "INFERENCE_FAILED"


class InferenceBackend(Protocol):
    """Runs the models of each bundle; all calls are asyncio and cancellable."""

    @property
    def description(self) -> str:
        """For people and logs, e.g. `triton at 127.0.0.1:8001 (2.51.0)`."""

    @property
    def generation(self) -> int:
        """Another number as soon as another server, or one that was started again, may answer: whatever was found out
        about a model beyond what it says of itself is to be found out again."""

    async def bundles(self) -> Sequence[BundleMetadata]:
        """Every ready bundle (all of its models are ready), sorted by name.

        Raises: InferenceUnavailable.
        """

    async def left_out(self) -> Mapping[str, str]:
        """The bundles that are there and cannot be used, by name, each with the reason.

        Raises: InferenceUnavailable.
        """

    async def infer(
        self,
        served_name: str,
        inputs: Mapping[str, FloatArray],
        outputs: Sequence[str],
        *,
        weights_sha256: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, FloatArray]:
        """The named outputs of one served model for a batch; every array is float32 with the batch first.

        A batch of more rows than the model's max_batch_size is run in several. With `weights_sha256`, that of the
        model's bundle, the answer is of those weights or there is none: a search never mixes two versions of a model.

        Raises: InferenceUnavailable; InferenceOverloaded; ModelNotServed; ModelUnusable; ModelExchanged;
        InferenceFailed; TimeoutError after `timeout_s` seconds.
        """

    async def ready(self) -> bool:
        """True when the server answers and at least one bundle can be run; never raises."""

    async def close(self) -> None:
        """Release connections and sessions."""


def require_weights(served_name: str, parameters: Mapping[str, str], expected: str | None) -> None:
    """Raises: ModelExchanged unless the served model of those config.pbtxt parameters has the expected weights."""
    if expected is not None and (found := weights_in(parameters)) != expected:
        raise ModelExchanged(served_name, expected, found)


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
