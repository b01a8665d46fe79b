"""What the scorer can be told, read from `EARWITNESS_SCORER_*`."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from earwitness.folders import data_folder
from earwitness.rpc.settings import MIB, ServerSettings
from earwitness.storage.database import require_url


class ScorerSettings(ServerSettings):
    """Settings of `python -m earwitness.scorer`."""

    model_config = SettingsConfigDict(env_prefix="EARWITNESS_SCORER_")
    trace_service = "earwitness-scorer"

    port: int = Field(default=50052, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=9102, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one."""
    data_dir: Path = Field(default_factory=data_folder)
    """Folder of the default database; made when missing. Default: earwitness in the user's data folder."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL of the database, SQLite or PostgreSQL. Default: the SQLite file scorer.db in `data_dir`."""
    cache_bytes: int = Field(default=256 * MIB, ge=0)
    """Memory for factored versions, kept between scores; the one in use is kept whatever its size."""
    max_concurrent_appends: int = Field(default=8, ge=1)
    """Shards received at once; one more is refused with RESOURCE_EXHAUSTED. Each takes up to 64 MiB of memory, and two
    matrices of units x units float64 when every row is selected."""
    append_idle_s: float = Field(default=30.0, gt=0)
    """Seconds that a shard being received may stand still before the call is ended with DEADLINE_EXCEEDED."""
    compute_threads: int = Field(default=4, ge=1)
    """Threads that compute scores, versions and shards."""

    @field_validator("database_url")
    @classmethod
    def _database_is_supported(cls, url: str) -> str:
        return require_url(url) if url else url

    @property
    def store_url(self) -> str:
        """`database_url`, or its default."""
        return self.database_url or f"sqlite:///{self.data_dir / 'scorer.db'}"
