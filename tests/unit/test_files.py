"""Files that are whole or not there: interrupted, killed, and written by several processes at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.files import remove_orphans, whole_file

KILLED = """
import os, signal, sys
from pathlib import Path
from earwitness.files import whole_file
with whole_file(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_file_goes(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.f16"
    path.write_text("earlier")

    def interrupted() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.f16", "earlier")]
    with whole_file(path) as partial:
        partial.write_text("whole")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.f16", "whole")]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path, other = tmp_path / "a[1].f16", tmp_path / "a[1].json"
    for each in (path, other):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(each)], check=False)
        assert killed.returncode == -signal.SIGKILL
    elsewhere = tmp_path / "a[1].f16.another-machine-1.part"
    elsewhere.touch()
    with whole_file(path) as partial:
        partial.write_text("of a process that is alive")
        assert str(os.getpid()) in partial.name
        remove_orphans(path)
        (of_other,) = {each.name for each in tmp_path.iterdir()} - {partial.name, elsewhere.name}
        assert of_other.startswith("a[1].json.")


def test_a_file_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.pt"
    with whole_file(path, durable=True) as partial:
        partial.write_bytes(b"all of it")
        assert not path.exists()
    assert [(each.name, each.read_bytes()) for each in path.parent.iterdir()] == [("state.pt", b"all of it")]
