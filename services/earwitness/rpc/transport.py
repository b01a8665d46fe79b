"""gRPC's options for a server: sizes, keepalive, connections, TLS, the port."""

import grpc
import grpc.aio

from earwitness.errors import Unavailable
from earwitness.rpc.channel import KEEPALIVE_TIME_S, KEEPALIVE_TIMEOUT_S
from earwitness.rpc.settings import ServerSettings
from earwitness.rpc.tls import server_credentials

MIN_PING_INTERVAL_S = 30
"""Clients ping an idle connection every 60 s; oftener than this is taken as abuse."""
HANDSHAKE_S = 10
"""What a new connection has for TLS and the first words of HTTP/2."""
MAX_PENDING_CALLS = 512
"""Calls that wait, by their headers, until the server looks at them; more are refused by gRPC itself."""


class CannotListen(Unavailable):
    """A port cannot be had."""

    reason = "CANNOT_LISTEN"


def options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Channel arguments of a server: sizes, keepalive, and what of connections gRPC itself bounds."""
    told = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_response_bytes),
        # Otherwise a second server on the same port silently starts and takes half of the calls.
        ("grpc.so_reuseport", 0),
        # The calls of a peer that vanished are cancelled.
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_S * 1000),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.max_connection_streams),
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    ]
    if settings.max_connection_idle_s is not None:
        told.append(("grpc.max_connection_idle_ms", round(settings.max_connection_idle_s * 1000)))
    if settings.max_connection_age_s is not None:
        told.append(("grpc.max_connection_age_ms", round(settings.max_connection_age_s * 1000)))
    return told


def transport(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """TLS as the settings say; None for plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return server_credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    """The port that `server` will listen on, with TLS where there are `credentials`. Raises: CannotListen."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as err:
        raise CannotListen(
            f"cannot listen on {address}: the port is taken or not ours, or a TLS file is broken"
        ) from err
