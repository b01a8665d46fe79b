#!/usr/bin/env bash
# grpcio 1.85.3 and proxies.
#
# Guess: as curl, requests, urllib and Go do, gRPC goes past an http_proxy for hosts in NO_PROXY, for all with
# no_proxy=*, and somehow for 127.0.0.1.
# Seen: gRPC's core asks the proxy for "CONNECT 127.0.0.1:1" in each of these cases. It reads grpc_proxy, https_proxy
# and http_proxy, no_grpc_proxy and no_proxy, all in lower case alone, and knows no star; networks (127.0.0.0/8) it does
# know, which urllib does not. A channel goes past proxies with the option grpc.enable_http_proxy=0.
#
#   http_proxy                                    asked: CONNECT 127.0.0.1:1 HTTP/1.1
#   http_proxy, no_proxy=*                        asked: CONNECT 127.0.0.1:1 HTTP/1.1
#   http_proxy, NO_PROXY=127.0.0.1                asked: CONNECT 127.0.0.1:1 HTTP/1.1
#   HTTP_PROXY                                    asked: nothing
#   http_proxy, no_proxy=127.0.0.0/8              asked: nothing
#   http_proxy, grpc.enable_http_proxy=0          asked: nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet grpcio==1.85.3
cat > "$folder/ask.py" <<'PYTHON'
import os
import socket
import sys
import threading

import grpc

for name in list(os.environ):
    if "proxy" in name.lower():
        del os.environ[name]
asked = []
server = socket.create_server(("127.0.0.1", 0))


def refuse():
    while True:
        connection, _ = server.accept()
        asked.append(connection.recv(1000).partition(b"\r\n")[0].decode())
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        connection.close()


threading.Thread(target=refuse, daemon=True).start()
options = []
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    if name.startswith("grpc."):
        options.append((name, int(value)))
    else:
        os.environ[name] = value or f"http://127.0.0.1:{server.getsockname()[1]}"
try:
    grpc.insecure_channel("127.0.0.1:1", options).unary_unary("/a/b")(b"", timeout=5)
except grpc.RpcError:
    pass
found = asked[0] if asked else "nothing"
print(f"{', '.join(sys.argv[1:]):45} asked: {found}")
sys.exit(0 if found != "nothing" else 3)
PYTHON
expect() {
    local wanted=$1 status=0
    shift
    "$folder/venv/bin/python" "$folder/ask.py" "$@" || status=$?
    [ "$status" = "$wanted" ] || { echo "no longer so"; exit 1; }
}
expect 0 http_proxy
expect 0 http_proxy 'no_proxy=*'
expect 0 http_proxy NO_PROXY=127.0.0.1
expect 3 HTTP_PROXY
expect 3 http_proxy no_proxy=127.0.0.0/8
expect 3 http_proxy grpc.enable_http_proxy=0
