#!/usr/bin/env bash
# Installs the programs that tests run for real and that PyPI does not carry. Does nothing where they are there.
set -euo pipefail

missing=()
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0

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
