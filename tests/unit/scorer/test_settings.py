"""Settings come from the environment, and a database that cannot keep anything is refused at the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from earwitness.scorer.settings import ScorerSettings


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = ScorerSettings()
    assert (settings.port, settings.metrics_port) == (50052, 9102)
    assert settings.store_url == f"sqlite:///{tmp_path}/earwitness/scorer.db"


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_SCORER_PORT", "0")
    monkeypatch.setenv("EARWITNESS_SCORER_DATA_DIR", str(tmp_path))
    assert ScorerSettings().store_url == f"sqlite:///{tmp_path}/scorer.db"
    monkeypatch.setenv("EARWITNESS_SCORER_DATABASE_URL", "postgresql+psycopg://user:secret@db/scorer")
    assert ScorerSettings().store_url == "postgresql+psycopg://user:secret@db/scorer"
    assert "secret" not in repr(ScorerSettings())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql://db/scorer", "must be of sqlite or postgresql"),
        ("/var/lib/scorer.db", "must be an SQLAlchemy URL"),
    ],
)
def test_a_database_of_no_use_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ScorerSettings(database_url=url)
