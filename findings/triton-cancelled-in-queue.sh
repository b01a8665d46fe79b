#!/usr/bin/env bash
# Triton 2.51 (wheel nvidia-pytriton 0.7.0, tritonclient 2.51.0): who drops a request that is cancelled while it waits?
#
# The guess: Triton does, wherever it waits; its documentation of request cancellation says that the core checks at
# "strategic points", such as the dynamic batcher's queue, and a `max_queue_size` then counts those who still wait.
#
# Seen: with `dynamic_batching { }` Triton hands most requests that were cancelled long ago to the backend, which computes
# them for nobody, and counts them as successes. As soon as the model has any `default_queue_policy`, even one that bounds the
# queue at 100 and never refuses anybody, Triton drops such requests and counts them as failures, reason CANCELED. And it
# does so only when the model is free next: until then they take room in the queue, so that `max_queue_size: 2`, filled by
# two requests that were cancelled a second ago, refuses the next caller ("Exceeds maximum queue size").
#
#   no policy            ran 3 of 4 requests, 2 of them for nobody; cancelled by Triton's count: 1
#   max_queue_size: 100  ran 1 of 4 requests, 0 of them for nobody; cancelled by Triton's count: 3
#   max_queue_size: 2    a request after two that were cancelled: UNAVAILABLE, Exceeds maximum queue size
#
# Needs Linux on x86_64 or aarch64, glibc 2.35, Python 3.11 with its shared library.
set -euo pipefail

work="$(mktemp -d)"
trap 'kill "$(cat "$work/pid" 2>/dev/null)" 2>/dev/null || true; rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'tritonclient[grpc]==2.51.0' 'numpy==1.26.4'
pip download --quiet --disable-pip-version-check --no-deps --dest "$work" 'nvidia-pytriton==0.7.0'
cat > "$work/measure.py" <<'PYTHON'
import os, re, signal, socket, subprocess, sys, sysconfig, threading, time, urllib.request, zipfile
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

work = Path(sys.argv[1])
(wheel,) = work.glob("nvidia_pytriton-*.whl")
zipfile.ZipFile(wheel).extractall(work / "wheel")
server = work / "wheel/pytriton/tritonserver"
(work / "backends").mkdir()
(work / "backends/python").symlink_to(server / "backends/python")
stub = server / "backends/python/triton_python_backend_stub"
(server / "python_backend_stubs/3.11/triton_python_backend_stub").rename(stub)
for program in (stub, server / "bin/tritonserver"):
    program.chmod(0o755)
MODEL = '''
import time
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            open("RAN", "a").write("x")
        time.sleep(4)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy())])
                for r in requests]
'''
CONFIG = '''
backend: "python"  max_batch_size: 1  instance_group { count: 1 kind: KIND_CPU }
input { name: "x" data_type: TYPE_FP32 dims: 1 }  output { name: "y" data_type: TYPE_FP32 dims: 1 }
dynamic_batching { %s }
'''

def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

def request(client, done):
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    return client.async_infer("m", [tensor], lambda result, error: done.append(error))

def measure(policy, waiting, then):
    repository, ran = work / f"models{time.time_ns()}", work / f"ran{time.time_ns()}"
    (repository / "m/1").mkdir(parents=True)
    (repository / "m/1/model.py").write_text(MODEL.replace("RAN", str(ran)))
    (repository / "m/config.pbtxt").write_text(CONFIG % policy)
    grpc, metrics = port(), port()
    libraries = f"{work}/wheel/nvidia_pytriton.libs:{sysconfig.get_config_var('LIBDIR')}"
    process = subprocess.Popen(
        [server / "bin/tritonserver", f"--model-repository={repository}", f"--backend-directory={work}/backends",
         "--allow-http=false", f"--grpc-port={grpc}", f"--metrics-port={metrics}", "--disable-auto-complete-config"],
        env={**os.environ, "LD_LIBRARY_PATH": libraries}, stdout=(work / "log").open("w"), stderr=subprocess.STDOUT)
    (work / "pid").write_text(str(process.pid))
    client, done = triton.InferenceServerClient(f"127.0.0.1:{grpc}"), []
    try:
        for _ in range(600):
            try:
                if client.is_model_ready("m"):
                    break
            except triton.InferenceServerException:
                pass
            assert process.poll() is None, (work / "log").read_text()[-3000:]
            time.sleep(0.1)
        request(client, done)
        time.sleep(1)  # it runs, alone
        for each in [request(client, done) for _ in range(waiting)]:
            time.sleep(0.3)
            each.cancel()
        time.sleep(1)
        if then:
            late = []
            request(client, late)
            while not late:
                time.sleep(0.1)
            return str(late[0])
        while not any(error is None for error in done):
            time.sleep(0.1)
        time.sleep(4 * waiting + 3)
        page = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
        cancelled = int(re.search(r'request_failure{model="m",reason="CANCELED",version="1"} (\d+)', page)[1])
        return len(ran.read_text()), cancelled
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

found = {}
for name, policy in (("no policy", ""), ("max_queue_size: 100", "default_queue_policy { max_queue_size: 100 }")):
    count, cancelled = found[name] = measure(policy, 3, False)
    print(f"{name:20} ran {count} of 4 requests, {count - 1} of them for nobody; cancelled by Triton's count: {cancelled}")
late = measure("default_queue_policy { max_queue_size: 2 }", 2, True)
print(f"max_queue_size: 2    a request after two that were cancelled: {late}")
assert found["no policy"][0] > 1
assert found["max_queue_size: 100"] == (1, 3)
assert "Exceeds maximum queue size" in late
PYTHON
python "$work/measure.py" "$work"
echo "as described above"
