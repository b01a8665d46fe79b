"""What images install, run in fresh environments elsewhere than /opt/earwitness, and what runs there."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.chart import ROOT

DOCKER = ROOT / "deploy/docker"
USER = 10001
VENV = "/opt/earwitness"
PATIENCE_S = 120.0
ROOM_BYTES = 8 << 30
"""Three times what all the environments take."""


def instructions(text: str, name: str) -> list[str]:
    """The arguments of every instruction of that name, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]


def own_stages(dockerfile: str) -> dict[str, str]:
    """The instructions of each stage by its name."""
    parts = re.split(r"^(?=FROM )", (DOCKER / dockerfile).read_text(), flags=re.MULTILINE)[1:]
    return {re.match(r"FROM \S+ AS (\S+)", part)[1]: part for part in parts}


def stages(dockerfile: str) -> dict[str, str]:
    """The instructions of each stage by its name, with those of the stages it is built on."""
    found: dict[str, str] = {}
    for name, part in own_stages(dockerfile).items():
        found[name] = found.get(part.split()[1], "") + part
    return found


@dataclass(frozen=True)
class Installed:
    """A virtual environment with what images install, in a folder that anybody may read."""

    folder: Path
    dry: bool = False
    """Packages are resolved, and neither fetched nor installed."""

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    def run(self, *names: str) -> "Installed":
        """The RUN lines of stages in turn, with this folder's places for the image's; itself.

        Without the index of torch for CPUs alone: whoever runs the tests may get torch from another.
        """
        programs = self.folder / "bin"
        if not programs.exists():
            subprocess.run([interpreter(), "-m", "venv", "--without-pip", self.folder / "venv"], check=True)
            programs.mkdir()
            pip = [sys.executable, "-m", "pip", "--python", str(self.python)]
            for name, command in (("pip", pip), ("python", [str(self.python)])):
                (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
                (programs / name).chmod(0o755)
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PIP_QUIET": "1", "PIP_NO_COMPILE": "1"}
        found = own_stages("python.Dockerfile")
        for line in [line for name in names for line in instructions(found[name], "RUN")]:
            line = re.sub(r"--mount=\S+|--extra-index-url \S+", "", line)
            line = line.replace("/wheels", str(self.folder.parent / "wheels")).replace(VENV, str(self.folder / "venv"))
            if self.dry:
                line = line.replace("pip install", "pip install --dry-run").replace("pip uninstall --yes", "pip show")
            done = subprocess.run(["sh", "-ec", line], cwd=self.folder.parent / "tree", env=env, stderr=subprocess.PIPE)
            assert done.returncode == 0, done.stderr.decode()
        return self

    def home(self, stage: str) -> Path:
        """The one folder that the image's user owns."""
        folder = self.folder / f"home-{stage}"
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, USER, USER)
        return folder

    def environment(self, stage: str) -> dict[str, str]:
        """What the image's ENV sets, the folders moved here."""
        words = " ".join(instructions(stages("python.Dockerfile")[stage], "ENV")).split()
        home = self.home(stage)
        moved = {"PATH": str(self.python.parent), "XDG_DATA_HOME": str(home)}
        return dict(word.replace(VENV, str(self.folder / "venv")).split("=", 1) for word in words) | moved

    @asynccontextmanager
    async def running(self, service: str, **settings: str) -> AsyncIterator[int]:
        """An image's entry point, run by its user; the port of its gRPC server."""
        env = self.environment(service)
        for name, value in {"port": "0", "metrics_port": "0", **settings}.items():
            env[f"EARWITNESS_{service.upper()}_{name.upper()}"] = value
        (entry_point,) = instructions(stages("python.Dockerfile")[service], "ENTRYPOINT")
        process = await asyncio.create_subprocess_exec(
            *json.loads(entry_point), env=env, cwd=self.home(service), stderr=asyncio.subprocess.PIPE, **as_user()
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                log = b""
                while not (listening := re.search(rb"listening on \S+:(\d+)", log)):
                    line = await process.stderr.readline()
                    assert line, log.decode()
                    log += line
            yield int(listening[1])
            process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await process.communicate()
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def as_user() -> dict[str, int]:
    """Makes root's child processes the image's user's; whoever else runs the tests is not root already."""
    return {"user": USER, "group": USER} if os.geteuid() == 0 else {}


def interpreter() -> str:
    """A Python of this version that the image's user may run: the tests' own may lie in root's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/local/bin/{name}", f"/usr/bin/{name}"):
        with suppress(OSError):
            if subprocess.run([candidate, "-c", "import ssl, sqlite3"], cwd="/", **as_user()).returncode == 0:
                return candidate
    pytest.fail(f"no {name} here can be run by a user other than root; install Debian's python3", pytrace=False)


def roomy_memory() -> str | None:
    """Linux's folder in memory if it has room enough: some disks take minutes to write and delete this many files."""
    with suppress(OSError):
        state = os.statvfs("/dev/shm")
        if state.f_bavail * state.f_frsize > ROOM_BYTES and not state.f_flag & os.ST_NOEXEC:
            return "/dev/shm"
    return None
