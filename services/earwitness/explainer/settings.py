"""`ExplainerSettings`: what the explainer can be told, by environment variables EARWITNESS_EXPLAINER_*."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from earwitness.rpc.settings import ServerSettings


class ExplainerSettings(ServerSettings):
    """Read once, in `__main__`."""

    model_config = SettingsConfigDict(env_prefix="EARWITNESS_EXPLAINER_")

    port: int = Field(default=50051, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=9101, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one, unset serves none."""
    backend: Literal["triton", "local"] = "triton"
    """Where models run: on a Triton server, or in this process with ONNX Runtime."""
    triton_url: str = "127.0.0.1:8001"
    """Address of Triton's gRPC service; for the backend triton."""
    model_repository: Path = Path("model_repository")
    """Folder with the served models; for the backend local."""
    local_threads: int | None = Field(default=None, ge=1)
    """Threads of ONNX Runtime; for the backend local. Unset: what the models' configurations say."""
    max_rows: int = Field(default=256, ge=1)
    """Rows of a search."""
    max_steps: int = Field(default=10_000, ge=1)
    """Steps of a row."""
    max_concurrent_searches: int = Field(default=4, ge=1)
    """Searches that run at once; more wait for their turn."""
    max_waiting_searches: int = Field(default=16, ge=0)
    """Searches that wait; more are refused with RESOURCE_EXHAUSTED."""
    max_batch: int = Field(default=256, ge=1)
    """Rows of one call to a served model, at most its max_batch_size; more rows take several calls."""
    calls_in_flight: int = Field(default=2, ge=1)
    """Calls to a served model at once, when the rows of a search take several."""
    inference_timeout_s: float = Field(default=120.0, gt=0)
    """A served model without an answer for so long, in seconds, makes the call UNAVAILABLE."""
    render_threads: int = Field(default=2, ge=1)
    """Threads that make sounds and pictures."""
    progress_interval_s: float = Field(default=0.2, gt=0)
    """Seconds between two progress events of a stream, at least."""
