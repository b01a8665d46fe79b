"""The one way the services run a model: `InferenceBackend`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import Internal, Unavailable
from earwitness.inference.metadata import BundleMetadata

FloatArray = NDArray[np.float32]


class InferenceUnavailable(Unavailable):
    """The inference server cannot be reached or is not ready."""

    reason = "INFERENCE_UNAVAILABLE"


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

        Raises: InferenceUnavailable; InferenceFailed; TimeoutError after `timeout_s` seconds.
        """

    async def ready(self) -> bool:
        """True when the server answers and at least one bundle can be run; never raises."""

    async def close(self) -> None:
        """Release connections and sessions."""
