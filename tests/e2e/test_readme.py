"""The README's blocks, run as they stand: what a newcomer types works."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UP = "earwitness up"
LIMIT_S = 600
Block = tuple[str, str]


def blocks() -> list[Block]:
    """(language, text) of every fenced block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def runnable() -> list[Block]:
    """What is run while the stack is up."""
    return [(language, text) for language, text in blocks() if language in ("sh", "python") and text.strip() != UP]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as links, with an output folder of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if entry.name not in ("out", ".git"):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The commands first on PATH, state of its own, and none of the caller's settings but where Triton is kept."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("EARWITNESS_") or key.endswith("_CACHE")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "XDG_DATA_HOME": str(tmp_path_factory.mktemp("data"))}


@pytest.fixture(scope="module")
def stack(checkout: Path, environment: dict[str, str]) -> Iterator[None]:
    """`earwitness up`, until the tests are done; it ends cleanly on Ctrl-C."""
    process = subprocess.Popen(UP.split(), cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C stops everything" in line:
            break
    else:
        pytest.fail("".join(said))
    yield
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stderr.close()


def test_readme_starts_the_stack() -> None:
    assert [text.strip() for language, text in blocks()].count(UP) == 1
    assert {language for language, _ in blocks()} <= {"sh", "python", "text"}


@pytest.mark.parametrize("block", runnable(), ids=lambda block: block[1].strip().splitlines()[0][:40])
def test_block_runs(stack: None, checkout: Path, environment: dict[str, str], block: Block) -> None:
    language, text = block
    interpreter = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*interpreter, text], cwd=checkout, env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "--out out/vocal" in text:
        assert len(list((checkout / "out/vocal").glob("*.wav"))) == 8
        assert (checkout / "out/vocal/index.html").is_file()
    if text.strip() == "make demo":
        assert "look and listen" in done.stdout
        assert (checkout / "out/demo/index.html").is_file()
