#!/usr/bin/env bash
# Triton 2.51.0 (from the wheel nvidia-pytriton 0.7.0) and its python backend; Linux x86_64 or aarch64, glibc 2.35,
# Python 3.11 to 3.13 with its shared library.
#
# Guess: a request that a model answers with InferenceResponse(error=...) counts as a failure in Triton's metrics; the
# caller gets an error, after all. A counter that a model makes has a family of its own.
# Seen: one good request, five answered with an error: success 6, failure 0. Only an exception, which fails the whole
# batch, counts as failures. And a MetricFamily with the name of one of Triton's own joins it, so that a model can count
# there what Triton missed; its Metric objects are dead as soon as the MetricFamily object is collected.
#
#   nv_inference_request_success{model="m",version="1"} 6
#   nv_inference_request_failure{...,reason="BACKEND",...} 3        one exception for each of three requests
#   nv_inference_request_failure{counted_by="m",...} 5              ours, in the same family
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy<2' 2> /dev/null
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" nvidia-pytriton==0.7.0 2> /dev/null
"$folder/venv/bin/python" -m zipfile -e "$folder"/nvidia_pytriton-*.whl "$folder/wheel"
triton=$folder/wheel/pytriton/tritonserver
python=$("$folder/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
library=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
[ "$python" = 3.13 ] || rm -f "$folder"/wheel/nvidia_pytriton.libs/libpython3*
cp "$triton/python_backend_stubs/$python/triton_python_backend_stub" "$triton/backends/python/"
chmod +x "$triton/bin/tritonserver" "$triton/backends/python/triton_python_backend_stub"

mkdir -p "$folder/models/m/1"
cat > "$folder/models/m/config.pbtxt" <<'CONFIG'
backend: "python"
max_batch_size: 8
input [{name: "x", data_type: TYPE_FP32, dims: [1]}]
output [{name: "y", data_type: TYPE_FP32, dims: [1]}]
CONFIG
cat > "$folder/models/m/1/model.py" <<'MODEL'
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.family = pb_utils.MetricFamily("nv_inference_request_failure", "", pb_utils.MetricFamily.COUNTER)
        self.failures = self.family.Metric(labels={"model": "m", "version": "1", "counted_by": "m"})

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            if x[0, 0] == 2:
                raise ValueError("raised")
            if x[0, 0] == 1:
                self.failures.increment(1)
                answers.append(pb_utils.InferenceResponse(error=pb_utils.TritonError("answered")))
            else:
                answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]))
        return answers
MODEL

read -r http metrics < <("$folder/venv/bin/python" -c '
import socket
a, b = (socket.create_server(("127.0.0.1", 0)) for _ in "ab")
print(a.getsockname()[1], b.getsockname()[1])')
PATH="$folder/venv/bin:$PATH" LD_LIBRARY_PATH="$library" "$triton/bin/tritonserver" --model-repository="$folder/models" \
    --backend-directory="$triton/backends" --http-address=127.0.0.1 --http-port="$http" --allow-grpc=false \
    --metrics-address=127.0.0.1 --metrics-port="$metrics" > "$folder/log" 2>&1 &
server=$!
ask() { curl --noproxy '*' --silent --show-error "$@"; }
for _ in $(seq 300); do
    [ "$(ask --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$http/v2/health/ready" 2> /dev/null)" = 200 ] && break
    kill -0 "$server" || { tail -5 "$folder/log"; exit 1; }
    sleep 0.2
done
for x in 0 1 1 1 1 1 2 2 2; do
    ask --output /dev/null --write-out "x=$x: HTTP %{http_code}\n" "http://127.0.0.1:$http/v2/models/m/infer" \
        --data "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1, 1], \"data\": [$x]}]}"
done
sleep 1 # a request is counted after its answer
ask "http://127.0.0.1:$metrics/metrics" > "$folder/metrics"
grep -E '^nv_inference_request_(success|failure)' "$folder/metrics"
expect() { grep -qE "$1" "$folder/metrics" || { echo "no longer so: $1"; exit 1; }; }
expect '^nv_inference_request_success\{model="m",version="1"\} 6$'
expect '^nv_inference_request_failure\{model="m",reason="BACKEND",version="1"\} 3$'
expect '^nv_inference_request_failure\{counted_by="m",model="m",version="1"\} 5$'
[ "$(grep -c '^# TYPE nv_inference_request_failure ' "$folder/metrics")" = 1 ]
