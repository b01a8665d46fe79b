"""The commands as a user types them: the stack that they find by themselves."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

READY = "Ctrl-C stops everything"


@contextmanager
def stack_up(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """`earwitness up`, until the block ends; it ends cleanly on Ctrl-C."""
    with subprocess.Popen(command.split(), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if READY in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
