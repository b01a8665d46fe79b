"""The dependency audit fails on what is known, and only then."""

import json

import pytest

from tests import audit

GOOD = {"name": "numpy", "version": "2.0.0", "vulns": []}
BAD = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
UNKNOWN = {"name": "torch", "version": "2.13.0+cpu", "skip_reason": "not found on PyPI"}


def answer(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report(answer(GOOD, BAD, UNKNOWN), "") == 1
    said = capsys.readouterr().out
    assert "jinja2 2.4.1: PYSEC-2019-217, fixed in 2.10.1" in said
    assert "2 of 3 packages audited, 1 known" in said


def test_an_accepted_one_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"PYSEC-2019-217": "templates are ours alone"})
    assert audit.report(answer(GOOD, BAD), "") == 0


@pytest.mark.parametrize(("text", "words"), [(answer(UNKNOWN), "NOTHING WAS AUDITED"), ("", "nothing was audited")])
def test_what_cannot_be_asked_is_said_and_passes(text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report(text, "ConnectionError: no route to host") == 0
    assert words in capsys.readouterr().out
