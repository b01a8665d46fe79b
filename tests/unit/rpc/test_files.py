"""What is read of files follows the files: at once, whatever their times say, and whatever went wrong before."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from earwitness.rpc import files
from earwitness.rpc.auth import Role, StaticTokens, Unauthenticated
from earwitness.rpc.files import Watched
from earwitness.rpc.jwt import JsonWebTokens
from tests.helpers.issuer import Issuer


def of(path: Path) -> Watched[str]:
    return Watched([path], lambda: path.read_text(encoding="utf-8"))


def test_a_change_is_seen_however_soon_it_follows_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one tick of the file system's clock, a second here, two states of one size have the same stamp."""

    def coarse(path: Path) -> SimpleNamespace:
        found = os.stat(path)
        times = {name: getattr(found, name) // 10**9 * 10**9 for name in ("st_mtime_ns", "st_ctime_ns")}
        return SimpleNamespace(st_dev=found.st_dev, st_ino=found.st_ino, st_size=found.st_size, **times)

    monkeypatch.setattr(files, "os", SimpleNamespace(stat=coarse))
    path = tmp_path / "file"
    path.write_text("000")
    watched = of(path)
    for number in range(10):
        path.write_text(f"{number:03}")
        assert watched.current() == f"{number:03}"


def test_a_change_that_keeps_the_time_is_seen(tmp_path: Path) -> None:
    """As by tools that copy a file with its time, or an editor that restores it."""
    path = tmp_path / "file"
    path.write_text("old")
    long_ago = os.stat(path).st_mtime_ns - 10**12
    os.utime(path, ns=(long_ago, long_ago))
    watched = of(path)
    path.write_text("new")
    os.utime(path, ns=(long_ago, long_ago))
    assert watched.current() == "new"


def test_what_did_not_change_is_the_same_object(tmp_path: Path) -> None:
    """A channel is made anew when certificates are others, not when somebody looks at them."""
    path = tmp_path / "file"
    path.write_text("same")
    watched = Watched([path], object)
    first = watched.current()
    path.touch()
    assert watched.current() is first
    path.write_text("other")
    assert watched.current() is not first


def test_a_reading_that_failed_is_tried_again_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    fails = False

    def read() -> str:
        if fails:
            raise OSError(errno.EMFILE, "Too many open files")
        return path.read_text(encoding="utf-8")

    watched = Watched([path], read)
    path.write_text("new")
    fails = True
    assert [watched.current() for _ in range(3)] == ["old"] * 3
    fails = False
    assert watched.current() == "new"
    assert caplog.text.count("Too many open files") == 1


def test_a_file_that_was_gone_is_read_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    watched = of(path)
    aside = path.rename(tmp_path / "aside")
    assert watched.current() == "one"
    aside.write_text("two")
    aside.rename(path)
    assert watched.current() == "two"


def failing_once(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The next reading of a file fails, as when no file can be opened for a moment."""
    real: dict[str, Callable[..., object]] = {name: getattr(Path, name) for name in ("read_text", "read_bytes")}
    left = [1]

    def reading(name: str) -> Callable[..., object]:
        def read(self: Path, *words: object, **options: object) -> object:
            if self == path and left:
                left.pop()
                raise OSError(errno.EMFILE, "Too many open files")
            return real[name](self, *words, **options)

        return read

    for name in real:
        monkeypatch.setattr(Path, name, reading(name))


def test_a_token_taken_out_is_revoked_though_a_reading_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens"
    path.write_text("kept admin\nrevoked admin\n")
    tokens = StaticTokens(path)
    path.write_text("kept admin\n")
    failing_once(monkeypatch, path)
    assert tokens.caller("revoked") is not None, "nothing could be read"
    assert tokens.caller("revoked") is None
    assert tokens.caller("kept") is not None


def test_a_key_taken_out_is_revoked_though_a_reading_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, revoked = (Issuer(ec.generate_private_key(ec.SECP256R1()), "ES256", name) for name in ("kept", "revoked"))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [kept.key_set, revoked.key_set]}))
    tokens = JsonWebTokens(path, issuer="https://issuer.example", audience="earwitness", role_claim="earwitness_role")
    path.write_text(json.dumps({"keys": [kept.key_set]}))
    failing_once(monkeypatch, path)
    assert tokens.caller(revoked.token()) is not None, "nothing could be read"
    with pytest.raises(Unauthenticated):
        tokens.caller(revoked.token())
    assert tokens.caller(kept.token()) is not None


def test_a_token_without_a_role_may_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text("# ours\nbare\nwhole admin ada\n")
    tokens = StaticTokens(path)
    roles = {token: found.role for token in ("bare", "whole") if (found := tokens.caller(token))}
    assert roles == {"bare": Role.READ, "whole": Role.ADMIN}
    assert "no role in line 2," in caplog.text
    assert "bare" not in caplog.text
