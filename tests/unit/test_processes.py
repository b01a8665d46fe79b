"""Processes that we start: ended with patience, without it, and with us."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from earwitness.processes import ManagedProcess

PATIENCE_S = 60.0
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(3)))
print("ready", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from earwitness.processes import ManagedProcess
async def main():
    child = await ManagedProcess.start((sys.executable, "-c", sys.argv[1]), Path(sys.argv[2]))
    print(child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.01)


async def said(log_file: Path, words: str) -> None:
    await until(lambda: log_file.is_file() and words in log_file.read_text())


def has_ended(process: int) -> bool:
    """True for one that nobody has waited for, too."""
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def started(program: str, folder: Path) -> ManagedProcess:
    process = await ManagedProcess.start((sys.executable, "-c", program), folder / "logs" / "it.log")
    await said(process.log_file, "ready")
    return process


async def test_a_process_may_clear_up_before_it_ends(tmp_path: Path) -> None:
    process = await started(POLITE, tmp_path)
    assert process.is_running
    assert os.getpgid(process.pid) == process.pid, "Ctrl-C must not reach it"
    assert not await process.stop(PATIENCE_S)
    assert (await process.ended, process.is_running) == (3, False)
    assert process.last_lines(5) == "ready | bye"
    assert not await process.stop(PATIENCE_S), "once more is no harm"


async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    process = await started(STUBBORN, tmp_path)
    assert await process.stop(0.05)
    assert await process.ended == -signal.SIGKILL


async def test_what_is_piped_is_told_and_answers(tmp_path: Path) -> None:
    echo = "import sys; sys.stderr.write('to the log'); print(input().upper())"
    process = await ManagedProcess.start((sys.executable, "-c", echo), tmp_path / "log", piped=True)
    assert process.process.stdin is not None
    assert process.process.stdout is not None
    process.process.stdin.write(b"order\n")
    assert await process.process.stdout.readline() == b"ORDER\n"
    assert await process.ended == 0
    assert process.last_lines(1) == "to the log"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    log_file = tmp_path / "child.log"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, POLITE, str(log_file), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    await said(log_file, "ready")
    parent.kill()
    await parent.wait()
    await said(log_file, "bye")
    await until(lambda: has_ended(child))


async def test_a_program_that_is_not_there_is_an_error_of_the_log(tmp_path: Path) -> None:
    process = await ManagedProcess.start((str(tmp_path / "gone"),), tmp_path / "log")
    assert await process.ended != 0
    assert "No such file" in process.last_lines(1)
