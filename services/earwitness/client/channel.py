"""How a client reaches a service: address, TLS, token, keepalive and what is tried again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from earwitness.errors import InvalidArgument

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""What a client accepts in one message: a unary Explain answer of a full batch with sound and pictures."""

KEEPALIVE_TIME_S = 60
KEEPALIVE_TIMEOUT_S = 20

RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


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
    options: list[tuple[str, Any]] = [
        # Several replicas behind one name share the calls.
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", _service_config(service, idempotent_methods)),
    ]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        _read(tls.certificate_authority, "tls.certificate_authority"),
        _read(tls.key, "tls.key"),
        _read(tls.certificate, "tls.certificate"),
    )
    return grpc.aio.secure_channel(target, credentials, options=options)


def _service_config(service: str, idempotent_methods: Sequence[str]) -> str:
    names = [{"service": service, "method": method} for method in idempotent_methods]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": RETRY_POLICY}]})


def _read(path: Path | None, field: str) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as err:
        raise InvalidArgument(field, f"{path} cannot be read ({err.strerror}); give a PEM file") from err
