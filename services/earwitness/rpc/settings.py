"""`ServerSettings`: the settings of both servers; read once, in `__main__`."""

import math
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, FilePath, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class ServerSettings(BaseSettings):
    """Read from environment variables with the subclass's `env_prefix`, or given by name."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True, frozen=True, cli_kebab_case=True, cli_implicit_flags=True
    )

    trace_service: ClassVar[str] = "earwitness"
    """Name of the service in its traces, unless OTEL_SERVICE_NAME gives another."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all interfaces."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 takes a free one, unset serves none."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """Port that serves only health checks, without TLS: for probes that do not support it, such as Kubernetes'; 0 takes
    a free one, unset serves none."""
    max_message_bytes: int = Field(default=16 * MIB, ge=MIB)
    """Largest request message accepted, in bytes."""
    max_response_bytes: int = Field(default=64 * MIB, ge=MIB)
    """Largest response message sent, in bytes."""
    max_concurrent_rpcs: int = Field(default=64, ge=1)
    """Calls in flight; one more is refused with RESOURCE_EXHAUSTED. Health and reflection do not count."""
    max_connections: int = Field(default=1000, ge=1)
    """Open connections; one more is closed at once. From three quarters of the limit on, connections without any
    admitted call are closed within seconds."""
    peer_connections: int = Field(default=500, ge=1)
    """Connections of one address; if it has more, they are closed within a second, those without any admitted call
    first. Callers behind one proxy or translated address count as one."""
    max_connection_streams: int = Field(default=128, ge=1)
    """Calls open on one connection; clients hold more back until one ends."""
    max_connection_idle_s: float | None = Field(default=300.0, gt=0)
    """Connections without a call for this long, in seconds, are closed; clients reconnect with their next call. Unset:
    never."""
    first_message_s: float = Field(default=10.0, gt=0)
    """Seconds that the first message of a call may take to arrive, before the call is ended with DEADLINE_EXCEEDED."""
    max_slow_messages: int = Field(default=16, ge=1)
    """Concurrent messages that arrive slowly, in more than 250 ms; each takes up to max_message_bytes of memory. A call
    with one more is refused with RESOURCE_EXHAUSTED; quick messages do not count."""
    max_watches: int = Field(default=256, ge=1)
    """Open streams of health and reflection; one more is refused with RESOURCE_EXHAUSTED. Single health checks do not
    count."""
    peer_watches: int = Field(default=32, ge=1)
    """The same limit for one peer's address."""
    max_connection_age_s: float | None = Field(default=None, gt=0)
    """Connections older than this, in seconds, are asked to reconnect, so that new replicas get calls; unset: never."""
    reflection: bool = False
    """Serve gRPC reflection, so that tools such as grpcurl know the methods."""
    drain_notice_s: float = Field(default=0.5, ge=0)
    """On SIGTERM, seconds between reporting NOT_SERVING and refusing new calls, for load balancers to react."""
    drain_s: float = Field(default=10.0, ge=0)
    """On SIGTERM, seconds that calls in flight have to finish before they are cancelled."""
    tls_certificate: FilePath | None = None
    """PEM file with the server's certificate chain; turns TLS on."""
    tls_key: FilePath | None = None
    """PEM file with the certificate's private key."""
    tls_client_ca: FilePath | None = None
    """PEM file with the authorities of client certificates; turns mutual TLS on."""
    token_file: FilePath | None = None
    """File with the accepted bearer tokens, one per line: TOKEN, or TOKEN ROLE, or TOKEN ROLE NAME; the role is read,
    explain or admin, by default read. Blank lines and lines that start with # are ignored. The file is read again when
    it changes: removing a line revokes its token."""
    jwt_jwks_file: FilePath | None = None
    """Key set (JWKS) of an issuer of JSON Web Tokens, which are then accepted as bearer tokens. The file is read again
    when it changes. Needs jwt_issuer and jwt_audience."""
    jwt_issuer: str = ""
    """What the claim `iss` of JSON Web Tokens must be."""
    jwt_audience: str = ""
    """What the claim `aud` of JSON Web Tokens must hold."""
    jwt_role_claim: str = Field(default="earwitness_role", min_length=1)
    """Claim of JSON Web Tokens with the role: read, explain or admin; if there are several, the highest counts."""
    caller_rpcs_per_s: float | None = Field(default=None, gt=0)
    """Sustained calls per second of one caller, by token, certificate or address; unset: unlimited."""
    caller_burst_rpcs: int = Field(default=20, ge=1)
    """Calls that one caller may make at once after a pause, if caller_rpcs_per_s is set."""
    caller_concurrent_rpcs: int | None = Field(default=None, ge=1)
    """Calls in flight of one caller; unset: three quarters of max_concurrent_rpcs, so that none can lock others out."""
    caller_slow_messages: int = Field(default=4, ge=1)
    """Concurrent slow messages of one caller, as for max_slow_messages; all callers without credentials together may
    have half as many."""
    log_format: Literal["text", "json"] = "text"
    """Lines of text, or one JSON object per line."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe message that is logged."""

    trace_endpoint: str = ""
    """Address of an OpenTelemetry collector that accepts OTLP over HTTP, such as http://localhost:4318; unset: no
    traces. Needs the extra `tracing`. Sampling, headers and certificates are set by OpenTelemetry's own variables, such
    as OTEL_TRACES_SAMPLER."""

    @property
    def caller_share_rpcs(self) -> int | None:
        """Calls in flight that one caller may have, `caller_concurrent_rpcs` or what follows where that is unset; None
        where this is no less than all may have."""
        share = self.caller_concurrent_rpcs or math.ceil(self.max_concurrent_rpcs * 3 / 4)
        return share if share < self.max_concurrent_rpcs else None

    @field_validator("trace_endpoint")
    @classmethod
    def _endpoint_is_http(cls, endpoint: str) -> str:
        return require_endpoint(endpoint) if endpoint else endpoint

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or none")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    @model_validator(mode="after")
    def _tokens_are_for_somebody(self) -> Self:
        if self.jwt_jwks_file is not None and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("jwt_jwks_file needs jwt_issuer and jwt_audience: tokens for others would be accepted")
        return self


def require_endpoint(endpoint: str) -> str:
    """`endpoint` when traces can be sent there.

    Raises: ValueError.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"got {endpoint!r}; give an address such as http://localhost:4318")
    return endpoint
