"""A PostgreSQL server of one's own: in a folder of its own, on a socket of its own, gone with the tests."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

PATIENCE_S = 60.0


class PostgresServer:
    """Listens on a socket in its folder, not on the network; it forgets nothing when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root; Debian's package brings a user for it.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        who = ("--username=earwitness", "--auth=trust")
        self._run("initdb", f"--pgdata={self._data}", *who, "--no-sync", "--encoding=UTF8")

    def start(self) -> None:
        """Returns when it takes connections."""
        words = ("listen_addresses=", "fsync=off", "shared_buffers=16MB", "max_connections=100")
        self._process = subprocess.Popen(
            [installed("postgres"), "-D", str(self._data), "-k", str(self._folder), *(f"-c{word}" for word in words)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, **self._user,
        )  # fmt: skip
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self._conninfo("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PostgreSQL ended"
                assert time.monotonic() < give_up, "PostgreSQL takes no connections"
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, as a crash would: what was committed is there after the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_S)
            self._process = None

    def create_database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://earwitness@/{name}?host={self._folder}"

    def _conninfo(self, database: str) -> str:
        return f"host={self._folder} user=earwitness dbname={database} connect_timeout=5"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [installed(program), *arguments], check=True, capture_output=True, cwd=self._folder, **self._user
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs until the block ends."""
    # A socket's path is short, and its user must reach it: neither is sure of pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="earwitness-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def installed(name: str) -> str:
    """Debian keeps the server's programs off the PATH, one folder for each major version: the newest's."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(kept[-1]) if kept else shutil.which(name)
    assert found is not None, f"{name} is not installed; tests/install-tools.sh installs it"
    return found
