"""The generated code is what protos/ says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "protos" / "generate.py", "--out", tmp_path], check=True)
    generated = {p.relative_to(tmp_path) for p in tmp_path.rglob("*_pb2*")}
    committed = {p.relative_to(ROOT / "services") for p in (ROOT / "services").rglob("*_pb2*") if p.suffix != ".pyc"}
    assert generated == committed
    stale = [str(p) for p in sorted(generated) if (tmp_path / p).read_bytes() != (ROOT / "services" / p).read_bytes()]
    assert not stale, f"run `make protos`: {stale} differ from protos/"
