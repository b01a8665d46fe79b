#!/usr/bin/env bash
# ONNX Runtime's wheel for Linux gives the machine an id and reports to its maker, unless told not to.
#
# Seen with onnxruntime 1.32.0 (PyPI, manylinux x86_64), Python 3.11, 2026-12-01.
# Guess: as ever since 2018, telemetry is a matter of the Windows builds; on Linux, loading a model writes nothing, and
#   InferenceSession leaves the home folder as it was.
# Seen: the first session of a process writes .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid, an id that stays, and
#   onnxruntime.db, a queue of events (a session, its model's hash and operators, the processor). Neither is written with
#   ORT_DISABLE_TELEMETRY=1 in the environment, nor where CI is set, so no continuous integration shows it.
#   disable_telemetry_events(), the call that the Python package offers, comes too late: importing has made the id.
# Uploads are sent to a port of this machine where nobody listens, so that trying it tells nobody anything.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.2 2> /dev/null
cd "$folder"

cat > load.py << 'PY'
import sys

import onnx
from onnx import TensorProto, helper

import onnxruntime

if "disabled" in sys.argv:
    onnxruntime.disable_telemetry_events()
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString())
PY

# files NAME [argument] [VARIABLE=value ...]: what one process left in a home folder of its own.
files() {
  local home="$folder/home-$1" argument="$2"
  shift 2
  mkdir "$home"
  env --ignore-environment PATH="$PATH" HOME="$home" https_proxy=http://127.0.0.1:9 "$@" venv/bin/python load.py "$argument"
  (cd "$home" && find . -type f | sort)
}

status=0
expect() {
  printf '%s:\n%s\n' "$1" "${2:-(nothing)}"
  [ "$2" = "$3" ] || { echo "  not what was seen: ${3:-(nothing)}"; status=1; }
}

left='./.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid
./.cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db'
expect 'as it comes' "$(files plain '')" "$left"
expect 'after disable_telemetry_events()' "$(files late disabled)" "$left"
expect 'ORT_DISABLE_TELEMETRY=1' "$(files off '' ORT_DISABLE_TELEMETRY=1)" ''
expect 'CI=true' "$(files ci '' CI=true)" ''
exit "$status"
