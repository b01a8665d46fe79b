"""`ExplainerSettings`: what the explainer can be told, by environment variables EARWITNESS_EXPLAINER_*."""

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
    """Where models run: on a Triton server, or in this process with ONNX Runtime."""
    triton_url: str = "127.0.0.1:8001"
    """Address of Triton's gRPC service; for the backend triton."""
    triton_tls_ca: FilePath | None = None
    """PEM file of the authority of Triton's certificate; turns TLS to Triton on."""
    triton_tls_certificate: FilePath | None = None
    """PEM file with this explainer's certificate for Triton, where that wants mutual TLS."""
    triton_tls_key: FilePath | None = None
    """PEM file with that certificate's private key."""
    model_repository: Path = Path("model_repository")
    """Folder with the served models; for the backend local."""
    local_threads: int | None = Field(default=None, ge=1)
    """Threads of ONNX Runtime; for the backend local. Unset: what the models' configurations say."""
    max_rows: int = Field(default=256, ge=1)
    """Rows of a search."""
    max_steps: int = Field(default=10_000, ge=1)
    """Steps of a row."""
    max_draws: int = Field(default=100_000, ge=1)
    """Latents that are drawn from the prior for one search."""
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
    max_waiting_sweeps: int = Field(default=16, ge=1)
    """Sweeps that run or wait; more are refused with RESOURCE_EXHAUSTED."""
    max_sweep_settings: int = Field(default=1000, ge=1, le=1000)
    """Settings of a sweep; the scorer ranks 1000 at once."""
    max_sweep_explanations: int = Field(default=50_000, ge=1)
    """Objectives × settings × seeds of a sweep."""
    max_sweep_row_steps: int = Field(default=20_000_000, ge=1)
    """Steps of a sweep, summed over its rows; each takes 12 bytes of the database for its trajectory."""
    sweep_rows: int = Field(default=128, ge=1)
    """Rows of a sweep that go forward together, each such block with its own checkpoint: enough to fill the machine,
    and few enough that a caller's search does not wait long behind one step."""
    sweep_blocks_in_flight: int = Field(default=2, ge=1)
    """Blocks of a sweep that go forward side by side: while one is in the models, the next is made ready."""
    sweep_checkpoint_s: float = Field(default=10.0, gt=0)
    """Seconds between checkpoints of a block: what a killed explainer loses of it at most."""
    sweep_heartbeat_s: float = Field(default=1.0, gt=0)
    """Seconds between two words on the progress of a sweep."""
    sweep_lease_s: float = Field(default=15.0, gt=1)
    """Seconds after which another explainer of the same database, or this one started again, takes over the sweep of
    one that was killed, by the database's clock; longer than any pause of the database. The same for all explainers of
    one database: a lease that reaches further from now is not believed."""
    sweep_yield_s: float = Field(default=1.0, ge=0)
    """Seconds that each step of a sweep waits at most for callers' searches to end."""
    scorer_address: str = ""
    """Address, HOST:PORT, of the scorer that ranks sweeps; unset: sweeps end without a ranking."""
    scorer_token_file: FilePath | None = None
    """File with the bearer token for the scorer."""
    scorer_tls_ca: FilePath | None = None
    """PEM file of the authority of the scorer's certificate; turns TLS to the scorer on."""
    scorer_tls_certificate: FilePath | None = None
    """PEM file with this explainer's certificate for the scorer, where that wants mutual TLS."""
    scorer_tls_key: FilePath | None = None
    """PEM file with that certificate's private key."""
    progress_interval_s: float = Field(default=0.2, gt=0)
    """Seconds between two progress events of a stream, at least."""

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
