"""Processes that we start: they end with us, and are ended with patience. And what ours does with its memory."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: the program ends with the thread that started it
if os.getppid() != int(sys.argv[1]): sys.exit('the parent process ended')
os.execv(sys.argv[2], sys.argv[2:])
"""

_M_MMAP_THRESHOLD = -3  # of malloc.h


def give_memory_back(from_bytes: int = 2**20) -> None:
    """Have this process return memory that came in such large pieces as soon as it is free.

    glibc would keep more and more of it for the next time, in as many places as there are threads. Elsewhere: nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, from_bytes)


def with_parent() -> Sequence[str]:
    """On Linux, the start of a command that makes the child end with this process, however that ends."""
    if sys.platform != "linux":
        return ()
    return (sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()))


class ManagedProcess:
    """A program that we started, in a session of its own: Ctrl-C reaches us alone, and we end it in our order.

    It ends with us, however we end, and writes to `log_file` what it has to say.
    """

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path) -> None:
        """For `start`."""
        self.process = process
        self.log_file = log_file
        self.ended = asyncio.create_task(process.wait())
        """Its exit status, negative for a signal; shield it, or what stops waiting ends the watch for all."""

    @classmethod
    async def start(
        cls, command: Sequence[str], log_file: Path, *, env: Mapping[str, str] | None = None, piped: bool = False
    ) -> Self:
        """Starts `command`. Its standard output goes to the log like its errors, or to us where it is `piped`, and so
        does its input come from us.

        Raises: OSError.
        """
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *with_parent(),
                *command,
                env=env,
                stdin=asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if piped else log,
                stderr=log,
                start_new_session=True,
            )
        return cls(process, log_file)

    @property
    def pid(self) -> int:
        """Its process id, and that of its process group."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    async def stop(self, grace_s: float) -> bool:
        """SIGTERM, and SIGKILL after the grace time: whether it came to that. Ended already, it is left alone."""
        with suppress(ProcessLookupError):
            if self.is_running:
                self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), grace_s)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.ended
            return True
        return False

    def last_lines(self, count: int) -> str:
        """The end of its log, in one line; empty where there is none."""
        return last_lines(self.log_file, count)


def last_lines(log_file: Path, count: int) -> str:
    """The last `count` lines of a log, in one line; empty where there is none."""
    if not log_file.is_file():
        return ""
    return " | ".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
