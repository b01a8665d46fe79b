"""What the channels to our servers have in common, whoever opens them: balance, keepalive, what is tried again."""

import json
from collections.abc import Sequence
from typing import Any

KEEPALIVE_TIME_S = 60
KEEPALIVE_TIMEOUT_S = 20
"""The other side, or the network, that hangs is taken for gone after both together; servers take callers so, too."""
RECONNECT_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
"""A server that is back is found again within two seconds; gRPC's own default is two minutes, when it was away long."""

RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def channel_options(service: str, idempotent_methods: Sequence[str], max_response_bytes: int) -> list[tuple[str, Any]]:
    """Options of a channel that retries the idempotent methods of `service` while it is unavailable."""
    methods = [{"service": service, "method": method} for method in idempotent_methods]
    return [
        # Several replicas behind one name share the calls.
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.max_receive_message_length", max_response_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        *RECONNECT_OPTIONS,
        ("grpc.enable_retries", 1),
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": methods, "retryPolicy": RETRY_POLICY}]})),
    ]
