"""How a client reaches a service: address and TLS."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from earwitness.errors import InvalidArgument
from earwitness.rpc.channel import channel_options
from earwitness.rpc.proxies import proxy_options

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""What a client accepts in one message: a unary Explain answer of a full batch with sound and pictures."""


@dataclass(frozen=True)
class Tls:
    """Certificates in PEM files: who to trust (`None`: the system's), and what to show for mutual TLS."""

    certificate_authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def open_channel(target: str, *, tls: Tls | None, service: str, idempotent_methods: Sequence[str]) -> grpc.aio.Channel:
    """A channel to `target` (`host:port`) that retries the idempotent methods of `service` while it is unavailable.

    Raises: InvalidArgument when the target has no port, or a certificate cannot be read.
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidArgument("target", f"got {target!r}; give host:port, e.g. 127.0.0.1:50051")
    options = [*channel_options(service, idempotent_methods, MAX_MESSAGE_BYTES), *proxy_options(target)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        _read(tls.certificate_authority, "tls.certificate_authority"),
        _read(tls.key, "tls.key"),
        _read(tls.certificate, "tls.certificate"),
    )
    return grpc.aio.secure_channel(target, credentials, options=options)


def _read(path: Path | None, field: str) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as err:
        raise InvalidArgument(field, f"{path} cannot be read ({err.strerror}); give a PEM file") from err
