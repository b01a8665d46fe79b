"""Settings are read from the environment, checked, and documented."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from earwitness.rpc.settings import MIB, ServerSettings


class Sample(ServerSettings):
    """A service's settings."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_")
    port: int = 50099
    """Port of the sample."""


def test_defaults_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sample().port == 50099
    assert Sample().max_message_bytes == 16 * MIB
    monkeypatch.setenv("SAMPLE_PORT", "50100")
    monkeypatch.setenv("SAMPLE_METRICS_PORT", "9100")
    monkeypatch.setenv("SAMPLE_REFLECTION", "false")
    settings = Sample()
    assert (settings.port, settings.metrics_port, settings.reflection) == (50100, 9100, False)
    assert Sample(port=1).port == 1


def test_every_field_is_documented() -> None:
    assert not [name for name, field in Sample.model_fields.items() if not field.description]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_concurrent_rpcs": 0}, "greater than or equal to 1"),
        ({"drain_s": -1}, "greater than or equal to 0"),
        ({"port": 70_000}, "less than or equal to 65535"),
        ({"token_file": "/nowhere/tokens"}, "does not point to a file"),
        ({"tls_certificate": __file__}, "go together"),
        ({"tls_client_ca": __file__}, "needs tls_certificate"),
        ({"log_format": "xml"}, "'text' or 'json'"),
        ({"prot": 1}, "not permitted"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ServerSettings(**given)  # type: ignore[arg-type]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServerSettings().port = 1  # type: ignore[misc]


def test_tls_files() -> None:
    file = Path(__file__)
    assert ServerSettings(tls_certificate=file, tls_key=file, tls_client_ca=file).tls_client_ca == file
