"""Processes that we start: they end with us, and are ended with patience. And what ours does with its memory."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

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


async def stop(process: asyncio.subprocess.Process, ended: "asyncio.Task[int]", grace_s: float) -> None:
    """SIGTERM, and SIGKILL after the grace time."""
    with suppress(ProcessLookupError):
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(asyncio.shield(ended), grace_s)
    except TimeoutError:
        process.kill()
        await ended
