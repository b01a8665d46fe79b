"""The README's blocks, run as they stand: what a newcomer types works."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import stack_up

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
def stack(checkout: Path, environment: dict[str, str]) -> Iterator[None]:
    """`earwitness up`, until the tests are done."""
    with stack_up(UP, checkout, environment):
        yield


def shape(printed: str) -> list[str]:
    """Lines that every run prints: without figures, how a verdict goes on, what it ran on, and the page's address."""
    lines = (line for line in printed.splitlines() if not line.startswith(("ran on", "look and listen")))
    plain = (re.sub(r"[−\d.,\u202f]+|─+", "#", re.sub(r"(: The batch) .*", r"\1", line)) for line in lines)
    return [" ".join(line.split()) for line in plain if line.strip()]


def test_readme_starts_the_stack() -> None:
    assert [text.strip() for language, text in blocks()].count(UP) == 1
    assert {language for language, _ in blocks()} <= {"sh", "python", "text"}


@pytest.mark.parametrize("block", runnable(), ids=lambda block: block[1].strip().splitlines()[0][:40])
def test_block_runs(stack: None, checkout: Path, environment: dict[str, str], block: Block) -> None:
    language, text = block
    interpreter = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*interpreter, text],
        cwd=checkout,
        env=environment | {"COLUMNS": "110"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "--out out/vocal" in text:
        assert len(list((checkout / "out/vocal").glob("*.wav"))) == 8
        assert (checkout / "out/vocal/index.html").is_file()
    if text.strip() == "make demo":
        assert "look and listen" in done.stdout
        (shown,) = [text for _, text in blocks() if "noise floor" in text]
        assert [line for line in shape(shown) if line not in shape(done.stdout)] == []
        assert (checkout / "out/demo/index.html").is_file()
