"""The operator's contract: what can fail, beside the tests that make it fail."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
CONTRACT = FOLDER.parents[1] / "deploy/README.md"


def test_every_fault_has_its_row_in_the_contract_and_every_row_its_test() -> None:
    section = CONTRACT.read_text().partition("\n## What can fail\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]
    assert all(len(row) == 4 and all(row) for row in rows)
    promised = {name for row in rows for name in re.findall(r"`([\w/.]+)`", row[3])}
    elsewhere = {name for name in promised if "/" in name}
    sources = [path.read_text() for path in FOLDER.glob("test_*.py") if path != Path(__file__)]
    tests = {name for source in sources for name in re.findall(r"^async def test_(\w+)\(", source, re.MULTILINE)}
    assert promised - elsewhere == tests
    assert all((FOLDER.parent / name).is_file() for name in elsewhere)
