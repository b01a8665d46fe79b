"""Are there known vulnerabilities in what is installed? Asked of PyPI by pip-audit; part of `make lint`.

Fails on a vulnerability. Where nobody can be asked, or a package is not known there, it says so and passes: a machine
without the world would never be green otherwise.
"""

import json
import subprocess
import sys

ACCEPTED: dict[str, str] = {}
"""Vulnerability ids that do not concern us, each with the reason."""
COMMAND = (
    "-m",
    "pip_audit",
    "--local",
    "--vulnerability-service",
    "pypi",
    "--progress-spinner",
    "off",
    "--format",
    "json",
)
PATIENCE_S = 120


def main() -> int:
    """The exit status."""
    try:
        done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"dependency audit: no answer within {PATIENCE_S} s, nothing was audited")
        return 0
    return report(done.stdout, done.stderr)


def report(answer: str, complaint: str) -> int:
    """Says what pip-audit found; `answer` is its JSON, empty where it could not ask."""
    try:
        packages = json.loads(answer)["dependencies"]
    except ValueError:
        print(f"dependency audit: nothing was audited: {complaint.strip().splitlines()[-1:]}")
        return 0
    audited = [package for package in packages if "skip_reason" not in package]
    found = [(package, each) for package in audited for each in package["vulns"] if each["id"] not in ACCEPTED]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    if audited:
        told = f"{len(audited)} of {len(packages)} packages audited, {len(found)} known vulnerabilities"
    else:
        told = f"NOTHING WAS AUDITED: none of {len(packages)} packages is known to a vulnerability service from here"
    print(f"dependency audit: {told}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
