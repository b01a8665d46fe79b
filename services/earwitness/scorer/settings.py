"""What the scorer can be told, read from `EARWITNESS_SCORER_*`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from earwitness.rpc.settings import MIB, ServerSettings
from earwitness.storage.settings import StoreSettings


class ScorerSettings(StoreSettings, ServerSettings):
    """Settings of `python -m earwitness.scorer`."""

    model_config = SettingsConfigDict(env_prefix="EARWITNESS_SCORER_")
    trace_service = "earwitness-scorer"
    store_file = "scorer.db"

    port: int = Field(default=50052, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=9102, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one."""
    cache_bytes: int = Field(default=256 * MIB, ge=0)
    """Memory for factored versions, kept between scores; the one in use is kept whatever its size."""
    max_concurrent_appends: int = Field(default=8, ge=1)
    """Shards received at once, by AppendActivations and MergeStatistics; one more is refused with RESOURCE_EXHAUSTED.
    Each takes up to 64 MiB of memory, a partial 320 MiB, and three matrices of units x units float64 when every row is
    selected."""
    append_idle_s: float = Field(default=30.0, gt=0)
    """Seconds that a shard being received may stand still before the call is ended with DEADLINE_EXCEEDED."""
    compute_threads: int = Field(default=4, ge=1)
    """Threads that compute scores, versions and shards."""
