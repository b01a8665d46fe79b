"""What developers are told holds: the files that CONTRIBUTING.md names, what hooks run."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w.-]+/[\w./{},*-]*)`", text)
    expanded = [
        name.replace(f"{{{inside}}}", each) for name in named for inside in _braces(name) for each in inside.split(",")
    ]
    assert len(expanded) > 20
    bases = ("", "services/earwitness/", "services/earwitness/explainer/", "tests/")
    missing = [name for name in expanded if not any(list(ROOT.glob(base + name.rstrip("/"))) for base in bases)]
    assert missing == []


def _braces(name: str) -> list[str]:
    """What is between braces, of which each file is meant; "" where there are none."""
    return re.findall(r"{(.*?)}", name) or [""]


def test_hooks_run_what_lint_runs() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    commands = [line.strip().removeprefix("@$(BIN)/").removesuffix(" .") for line in recipe.splitlines()[1:]]
    slow = {"python tests/audit.py"}
    assert [each for each in commands if each not in entries] == [*slow]


@pytest.mark.parametrize(
    ("subject", "taken"),
    [
        ("rpc: a revoked token ends with the file's change", True),
        ("docs: " + "x" * 66, True),
        ("docs: " + "x" * 67, False),
        ("No area", False),
        ("Docs: capital", False),
        ("docs:", False),
    ],
)
def test_the_hook_of_subjects(subject: str, taken: bool, tmp_path: Path) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    (entry,) = (hook["entry"] for hook in hooks if hook["id"] == "subject")
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nWhy it is so.\n")
    assert (subprocess.run([*shlex.split(entry), message], check=False).returncode == 0) is taken
