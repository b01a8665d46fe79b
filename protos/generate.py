"""Generates the code of protos/ into a folder, and a descriptor set of it for buf.

    python protos/generate.py --out services               the Python code
    python protos/generate.py --descriptors out/protos.binpb

Those of google/ are googleapis' own and not ours to generate: in Python the package googleapis-common-protos has them.
"""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
KINDS = {"python": "", "grpc_python": "", "mypy": "quiet:", "mypy_grpc": "quiet:"}


def installed(package: str) -> Path:
    """The folder that holds an installed package's folder."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))).parents[package.count(".")]


def compile_protos(*options: str) -> None:
    """Runs protoc on every file of protos/ with `options`.

    Raises: SystemExit when it fails.
    """
    files = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("earwitness/**/*.proto"))
    known = installed("grpc_tools") / "grpc_tools" / "_proto"
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if status := protoc.main(["protoc", f"-I{PROTOS}", f"-I{known}", *options, *files]):
        raise SystemExit(status)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the code")
    parser.add_argument("--descriptors", type=Path, help="file of the descriptor set, imports and comments included")
    chosen = parser.parse_args()
    if chosen.out:
        compile_protos(*(f"--{kind}_out={prefix}{chosen.out}" for kind, prefix in KINDS.items()))
    if chosen.descriptors:
        chosen.descriptors.parent.mkdir(parents=True, exist_ok=True)
        compile_protos("--include_imports", "--include_source_info", f"--descriptor_set_out={chosen.descriptors}")


if __name__ == "__main__":
    main()
