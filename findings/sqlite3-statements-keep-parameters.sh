#!/usr/bin/env bash
# sqlite3 of CPython 3.11.7 (SQLite 3.40.1) keeps what a finished statement was given;
# psutil 7.0.0 to look at the memory.
#
# Behaviour: every connection keeps its last 128 statements (cached_statements=128) to spare it their preparation. They
#   are reset after use, but their bindings are not cleared, and SQLite holds copies of them: after
#   execute("INSERT ... VALUES (?)", [64 MiB]), commit, cursor.close() and `del` of the bytes, 64 MiB stay in the process
#   until the same statement is bound again, is pushed out by 128 others, or the connection is closed. A pool of 16
#   connections holds 16 times as much.
# Guess: with the cursor closed and the bytes gone, the memory is free again.
# Seen (CPython 3.11.7, SQLite 3.40.1):
#   default:              66 MiB kept after the insert, 0 MiB once the statement was given something small
#   cached_statements=0:   0 MiB kept after the insert
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet psutil==7.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sqlite3
import sys

import psutil

MIB = 2**20


def kept(**options: int) -> tuple[float, float]:
    """MiB more than before: after a large insert is over, and after the same statement was given something small."""
    connection = sqlite3.connect(f"{len(options)}.db", isolation_level=None, **options)
    connection.execute("CREATE TABLE t (body BLOB)")
    before = psutil.Process().memory_info().rss
    body = bytes(64 * MIB)
    cursor = connection.execute("INSERT INTO t VALUES (?)", [body])
    cursor.close()
    del cursor, body
    after = psutil.Process().memory_info().rss
    connection.execute("INSERT INTO t VALUES (?)", [b""]).close()
    again = psutil.Process().memory_info().rss
    connection.close()
    return (after - before) / MIB, (again - before) / MIB


print(f"CPython {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
usual, none = kept(), kept(cached_statements=0)
print(f"default: {usual[0]:.0f} MiB kept after the insert, {usual[1]:.0f} MiB once the statement was given something small")
print(f"cached_statements=0: {none[0]:.0f} MiB kept after the insert")
if not (usual[0] > 48 and usual[1] < 16 and none[0] < 16):
    sys.exit("the behaviour has changed")
PYTHON
