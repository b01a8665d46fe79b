#!/usr/bin/env bash
# A grpc.aio server with more calls waiting than it may hold ends the others with CANCELLED, and says so nowhere.
#
# Seen with grpcio 1.85.3 (PyPI, manylinux x86_64), Python 3.11, 2026-12-01.
# Guess: calls beyond grpc.server.max_pending_requests (1000 unless set, all above three times as many) are refused with
#   RESOURCE_EXHAUSTED and the words "Too many pending requests for this server", which stand in the source of gRPC's
#   core; clients that retry by status would come again later.
# Seen: they read CANCELLED with the details "CANCELLED", as if their own side had given up, so no retry policy takes
#   them up; the server's interceptors and log never see them. A server whose event loop is busy for a moment does this
#   to whoever calls then. The words belong to another call stack of the core than the one that grpc.aio uses.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.3 2> /dev/null
cd "$folder"

cat > server.py << 'PY'
import asyncio
import time

import grpc
import grpc.aio

OPTIONS = [("grpc.server.max_pending_requests", 2), ("grpc.server.max_pending_requests_hard_limit", 4)]


async def handle(messages, context):
    time.sleep(0.3)  # the loop is busy, so that calls wait in gRPC
    await context.write(b"")


async def main():
    handler = grpc.stream_stream_rpc_method_handler(handle)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a", {"b": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


asyncio.run(main())
PY

cat > client.py << 'PY'
import sys
from collections import Counter

import grpc

with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
    calls = [channel.stream_stream("/a/b")(iter([b""]), timeout=30) for _ in range(20)]
    found = Counter()
    for call in calls:
        try:
            list(call)
        except grpc.RpcError:
            pass
        found[call.code().name, call.details()] += 1
for (code, details), count in sorted(found.items()):
    print(f"{count:3} calls: {code} {details!r}")
assert {code for code, _ in found} == {"OK", "CANCELLED"}, "gRPC has changed: look again"
PY

mkfifo ports
venv/bin/python server.py > ports &
server=$!
trap 'kill "$server" 2> /dev/null || true; rm -rf "$folder"' EXIT
read -r port < ports
venv/bin/python client.py "$port"
