"""Puts a bundle into the repository whole or not at all, and over nobody else's."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from earwitness.inference.metadata import weights_in
from earwitness.inference.repository import parameter_texts


class Place:
    """The folders and files of one bundle in a repository.

    They are exchanged in a hidden folder beside the repository, for Triton does not start on one with a folder that is
    no model; or inside, where one may not write beside it, or it is mounted and so of another file system. The folders
    in there say how far an exchange has come, should it be killed:

        new/            is being filled
        new/ old/       what was there before is being moved into old/
        placing/ old/   what is new is being moved out of placing/; all of the bundle in the repository is new
        placing/ done/  it is
    """

    def __init__(self, repository: Path, bundle: str, served_names: Sequence[str], others: Sequence[str]) -> None:
        """`served_names` are the folders of its models, `others` its further files."""
        self._repository = repository
        self._bundle = bundle
        self._served_names = served_names
        self._names = [*served_names, *others]
        self._inside = repository / f".export-{bundle}"
        self._beside = repository.resolve().parent / f".{repository.resolve().name}-export-{bundle}"

    def holder(self, weights_sha256: str) -> str | None:
        """The first served model under these names that has other weights; None where there is none."""
        self._restore()
        for name in self._served_names:
            folder = self._repository / name
            if folder.exists() and _weights_of(folder) != weights_sha256:
                return name
        return None

    @contextmanager
    def exchanged(self) -> Iterator[Path]:
        """A folder to fill; on leaving, what it holds replaces the bundle. A name that was not filled is gone then.

        When filling or replacing fails, the repository is as it was; when that is killed, the next one restores it.
        """
        self._restore()
        self._inside.mkdir(parents=True)
        work = self._inside
        with suppress(OSError):
            os.rename(self._inside, self._beside)
            work = self._beside
        new, old, placing = (work / name for name in ("new", "old", "placing"))
        new.mkdir()
        try:
            yield new
            old.mkdir()
            for name in self._names:
                if (self._repository / name).exists():
                    os.rename(self._repository / name, old / name)
            os.rename(new, placing)
            for name in self._names:
                if (placing / name).exists():
                    os.rename(placing / name, self._repository / name)
            os.rename(old, work / "done")
        finally:
            self._restore()

    def _restore(self) -> None:
        """Undoes an exchange that was not completed, and clears it away; may itself be killed, and called again."""
        for work in (self._inside, self._beside):
            old, placing = work / "old", work / "placing"
            if old.is_dir():
                if placing.is_dir():
                    for name in self._names:
                        _remove(self._repository / name)
                    shutil.rmtree(placing)
                for kept in sorted(old.iterdir()):
                    os.rename(kept, self._repository / kept.name)
            shutil.rmtree(work, ignore_errors=True)


def _weights_of(folder: Path) -> str | None:
    """The weights that a served model tells of; None where it tells of none."""
    with suppress(OSError, UnicodeDecodeError, text_format.ParseError):
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        return weights_in(parameter_texts(text_format.Parse(text, model_config_pb2.ModelConfig())))
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
