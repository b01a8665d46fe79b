"""The generated code is what protos/ says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    protos = sorted(str(p.relative_to(ROOT / "protos")) for p in (ROOT / "protos").rglob("*.proto"))
    outputs = [f"--{kind}_out={prefix}{tmp_path}" for kind, prefix in [
        ("python", ""), ("grpc_python", ""), ("mypy", "quiet:"), ("mypy_grpc", "quiet:"),
    ]]  # fmt: skip
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos"), *outputs, *protos],
        check=True, env={**os.environ, "PATH": path},
    )  # fmt: skip
    generated = {p.relative_to(tmp_path) for p in tmp_path.rglob("*_pb2*")}
    committed = {p.relative_to(ROOT / "services") for p in (ROOT / "services").rglob("*_pb2*") if p.suffix != ".pyc"}
    assert generated == committed
    stale = [str(p) for p in sorted(generated) if (tmp_path / p).read_bytes() != (ROOT / "services" / p).read_bytes()]
    assert not stale, f"run `make protos`: {stale} differ from protos/"
