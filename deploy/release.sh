#!/usr/bin/env bash
# What a release consists of, into the folder given: wheel and sdist, the chart as helm pushes it to an OCI registry, a
# software bill of materials (CycloneDX) of the wheel and of each image, and checksums of all. Publishes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: deploy/release.sh FOLDER}
python=${PYTHON:-.venv/bin/python}
# helm on PATH, or the one that `make tools` fetches.
helm=${HELM:-$(command -v helm || echo "${EARWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/earwitness}/tools/helm")}
version=$("$python" -c 'import earwitness; print(earwitness.__version__)')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
made=$work/dist
mkdir "$made"

"$python" -m build --outdir "$made" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
"$helm" package deploy/helm/earwitness --version "$version" --app-version "$version" --destination "$made" >/dev/null

# Both of pins: the images' own, and what pip resolves for the wheel today.
bom() { "$python" -m cyclonedx_py requirements "$1" --output-reproducible --output-file "$made/earwitness-$version-$2.cdx.json"; }
resolve='import sys, lock; print("\n".join(lock.pins([sys.argv[1]])))'
PYTHONPATH=deploy/docker "$python" -c "$resolve" "$made"/*.whl >"$work/wheel.txt"
bom "$work/wheel.txt" wheel
for pins in deploy/docker/requirements/*.txt; do
  bom "$pins" "image-$(basename "$pins" .txt)"
done

(cd "$made" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
mkdir -p "$out"
cp -- "$made"/* "$out"/
(cd "$out" && sha256sum --quiet --check SHA256SUMS && cat SHA256SUMS)
