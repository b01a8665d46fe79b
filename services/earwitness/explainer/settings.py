"""`ExplainerSettings`: the explainer's settings, from environment variables EARWITNESS_EXPLAINER_*."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, FilePath, model_validator
from pydantic_settings import SettingsConfigDict

from earwitness.rpc.dialled import ClientTls
from earwitness.rpc.settings import ServerSettings
from earwitness.storage.settings import StoreSettings


class ExplainerSettings(StoreSettings, ServerSettings):
    """Read once, in `__main__`."""

    model_config = SettingsConfigDict(env_prefix="EARWITNESS_EXPLAINER_")
    trace_service = "earwitness-explainer"
    store_file = "explainer.db"

    port: int = Field(default=50051, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=9101, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one, unset serves none."""
    backend: Literal["triton", "local"] = "triton"
    """Where models run: on a Triton server, or in this process on ONNX Runtime."""
    triton_url: str = "127.0.0.1:8001"
    """Address of Triton's gRPC service; for the backend triton."""
    triton_tls_ca: FilePath | None = None
    """PEM file of the authority of Triton's certificate; turns TLS to Triton on."""
    triton_tls_certificate: FilePath | None = None
    """PEM file with this explainer's certificate for Triton, if that requires mutual TLS."""
    triton_tls_key: FilePath | None = None
    """PEM file with that certificate's private key."""
    model_repository: Path = Path("model_repository")
    """Folder with the served models; for the backend local."""
    local_threads: int | None = Field(default=None, ge=1)
    """Threads of ONNX Runtime; for the backend local. Unset: as in the models' configurations."""
    max_rows: int = Field(default=256, ge=1)
    """Maximum rows of a search."""
    max_steps: int = Field(default=10_000, ge=1)
    """Maximum steps of a row."""
    max_draws: int = Field(default=100_000, ge=1)
    """Maximum latents drawn from the prior for one search."""
    max_concurrent_searches: int = Field(default=4, ge=1)
    """Concurrent searches; more wait for their turn."""
    max_waiting_searches: int = Field(default=16, ge=0)
    """Searches that wait; more are refused with RESOURCE_EXHAUSTED."""
    max_batch: int = Field(default=256, ge=1)
    """Rows in one call to a served model, at most its max_batch_size; more rows take several calls."""
    calls_in_flight: int = Field(default=2, ge=1)
    """Concurrent calls to a served model, if the rows of a search take several."""
    inference_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds to wait for a served model before the call fails with UNAVAILABLE."""
    render_threads: int = Field(default=2, ge=1)
    """Threads that render sounds and pictures."""
    max_waiting_sweeps: int = Field(default=16, ge=1)
    """Sweeps that run or wait; more are refused with RESOURCE_EXHAUSTED."""
    max_sweep_settings: int = Field(default=1000, ge=1, le=1000)
    """Maximum settings of a sweep; the scorer ranks 1000 at once."""
    max_sweep_explanations: int = Field(default=50_000, ge=1)
    """Maximum objectives × settings × seeds of a sweep."""
    max_sweep_row_steps: int = Field(default=20_000_000, ge=1)
    """Maximum steps of a sweep, summed over its rows; each takes 12 bytes in the database for its trajectory."""
    sweep_rows: int = Field(default=128, ge=1)
    """Rows of a sweep that advance together, each such block with its own checkpoint: enough to fill the machine, and
    few enough that a caller's search does not wait long behind one step."""
    sweep_blocks_in_flight: int = Field(default=2, ge=1)
    """Blocks of a sweep in flight: while one is in the models, the next is prepared."""
    sweep_checkpoint_s: float = Field(default=10.0, gt=0)
    """Seconds between checkpoints of a block, the most that a killed explainer loses."""
    sweep_heartbeat_s: float = Field(default=1.0, gt=0)
    """Seconds between two progress updates of a sweep."""
    sweep_lease_s: float = Field(default=15.0, gt=1)
    """Seconds, by the database's clock, after which another explainer of the same database, or this one after restart,
    takes over the sweep of a killed one; longer than any pause of the database. It must be the same for all explainers
    of one database: longer leases are considered invalid."""
    sweep_yield_s: float = Field(default=1.0, ge=0)
    """Maximum seconds that each step of a sweep waits for callers' searches to end."""
    scorer_address: str = ""
    """Address, HOST:PORT, of the scorer that ranks sweeps; unset: sweeps end without a ranking."""
    scorer_token_file: FilePath | None = None
    """File with the bearer token for the scorer."""
    scorer_tls_ca: FilePath | None = None
    """PEM file of the authority of the scorer's certificate; turns TLS to the scorer on."""
    scorer_tls_certificate: FilePath | None = None
    """PEM file with this explainer's certificate for the scorer, if that requires mutual TLS."""
    scorer_tls_key: FilePath | None = None
    """PEM file with that certificate's private key."""
    progress_interval_s: float = Field(default=0.2, gt=0)
    """Minimum seconds between two progress events of a stream."""

    @model_validator(mode="after")
    def _client_tls_is_complete(self) -> Self:
        for name in ("triton", "scorer"):
            authority, certificate, key = (getattr(self, f"{name}_tls_{each}") for each in ("ca", "certificate", "key"))
            if (certificate is None) != (key is None):
                raise ValueError(f"{name}_tls_certificate and {name}_tls_key go together: give both or none")
            if certificate is not None and authority is None:
                raise ValueError(f"{name}_tls_certificate needs {name}_tls_ca")
        return self

    @property
    def triton_tls(self) -> ClientTls | None:
        """How Triton is reached; None in plain text."""
        if self.triton_tls_ca is None:
            return None
        return ClientTls(self.triton_tls_ca, self.triton_tls_certificate, self.triton_tls_key)

    @property
    def scorer_tls(self) -> ClientTls | None:
        """How the scorer is reached; None in plain text."""
        if self.scorer_tls_ca is None:
            return None
        return ClientTls(self.scorer_tls_ca, self.scorer_tls_certificate, self.scorer_tls_key)
