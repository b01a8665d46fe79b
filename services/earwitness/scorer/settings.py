"""The scorer's settings, read from `EARWITNESS_SCORER_*`."""

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
    """Memory for factored versions, and for rows that nearness is measured to, kept between calls; the one in use is
    kept whatever its size. Rows take 8 bytes for each unit: 10 000 rows of 4096 units take 313 MiB."""
    max_concurrent_appends: int = Field(default=8, ge=1)
    """Shards received at once, by AppendActivations and MergeStatistics; one more is refused with RESOURCE_EXHAUSTED.
    Each takes up to 64 MiB of memory, a partial 320 MiB, and three matrices of units x units float64 if every row is
    selected."""
    max_concurrent_reads: int = Field(default=32, ge=1)
    """Statistics sent at once, by ReadStatistics; one more is refused with RESOURCE_EXHAUSTED. Each takes a few
    MiB of memory, however slowly it is read."""
    append_idle_s: float = Field(default=30.0, gt=0)
    """Seconds that a shard may stall while it is received before the call ends with DEADLINE_EXCEEDED."""
    max_concurrent_freezes: int = Field(default=1, ge=1)
    """Concurrent freezes of large references (more than 512 units, 500 new shards or 16 MiB of them), each in a process
    of its own, on one low-priority thread. One of 4096 units takes 450 MiB of memory."""
    max_waiting_freezes: int = Field(default=8, ge=0)
    """Freezes of large references that wait for their turn; one more is refused with RESOURCE_EXHAUSTED. Equal ones
    count once."""
    compute_threads: int = Field(default=4, ge=1)
    """Threads that compute scores, versions and shards."""
