"""`ServerSettings`: what both servers can be told; read once, in `__main__`."""

from typing import Literal, Self

from pydantic import Field, FilePath, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class ServerSettings(BaseSettings):
    """Read from environment variables with the subclass's `env_prefix`, or given by name."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True, frozen=True, cli_kebab_case=True, cli_implicit_flags=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all interfaces."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one, unset serves none."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """Port that serves nothing but health, without TLS: for probes that speak none, such as Kubernetes'; 0 takes a
    free one, unset serves none."""
    max_message_bytes: int = Field(default=16 * MIB, ge=MIB)
    """Largest request message accepted, in bytes."""
    max_response_bytes: int = Field(default=64 * MIB, ge=MIB)
    """Largest response message sent, in bytes."""
    max_concurrent_rpcs: int = Field(default=64, ge=1)
    """Calls in flight; one more is refused with RESOURCE_EXHAUSTED. Health and reflection do not count."""
    max_connection_age_s: float | None = Field(default=None, gt=0)
    """Connections older than this, in seconds, are asked to reconnect, so that new replicas get calls; unset: never."""
    reflection: bool = True
    """Serve gRPC reflection, so that tools such as grpcurl know the methods."""
    drain_notice_s: float = Field(default=0.5, ge=0)
    """On SIGTERM, seconds between saying NOT_SERVING and refusing new calls: time for balancers to look elsewhere."""
    drain_s: float = Field(default=10.0, ge=0)
    """On SIGTERM, seconds that calls in flight have to finish before they are cancelled."""
    tls_certificate: FilePath | None = None
    """PEM file with the server's certificate chain; turns TLS on."""
    tls_key: FilePath | None = None
    """PEM file with the certificate's private key."""
    tls_client_ca: FilePath | None = None
    """PEM file with the authorities of client certificates; turns mutual TLS on."""
    token_file: FilePath | None = None
    """File with the bearer tokens accepted, one per line; blank lines and lines that start with # are skipped."""
    log_format: Literal["text", "json"] = "text"
    """Lines of text, or one JSON object per line."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe message that is logged."""

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or none")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self
