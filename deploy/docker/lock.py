"""Pins what the images install: `python deploy/docker/lock.py` writes requirements/ anew, on Python 3.11 on Linux.

The explainer's versions hold for the others too, so that what both install is the same.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "requirements"
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "explainer": [".[cluster]"],
    # What it imports: a third of what the package as a whole requires. A test runs it on these alone.
    "scorer": [
        "alembic", "googleapis-common-protos", "grpcio", "grpcio-health-checking", "grpcio-reflection",
        "grpcio-status", "numpy", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk", "prometheus-client",
        "protobuf", "psycopg[binary]", "pydantic-settings", "pyjwt[crypto]", "python-json-logger", "sqlalchemy",
        "threadpoolctl",
    ],
    "trainer": [".[train,sweep,evidence]"],
    "gpu": ["onnxruntime-gpu[cuda,cudnn]"],
}  # fmt: skip


def pins(requirements: Sequence[str], *constraints: str) -> list[str]:
    """Name and version of all that pip would install, without the package itself and local labels such as +cpu."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, *constraints, *requirements], cwd=ROOT, check=True, stdout=subprocess.PIPE)  # noqa: S603
    found = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    return sorted(
        f"{each['name'].lower()}=={each['version'].partition('+')[0]}" for each in found if each["name"] != "earwitness"
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for image, requirements in REQUIREMENTS.items():
        constraints = [] if image == "explainer" else ["--constraint", str(FOLDER / "explainer.txt")]
        lines = ["# Written by deploy/docker/lock.py.", *pins(requirements, *constraints)]
        (FOLDER / f"{image}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
