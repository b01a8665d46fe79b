"""A corpus on disk: its folder, its manifest, and how it becomes complete.

<folder>/manifest.json           fingerprint, sources, statistics; its presence says "complete"
<folder>/{train,valid,test}/     labelled spectrograms, see dataset.py
<folder>/.build-<fingerprint>/   what is finished while a build is under way
"""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.files import whole_file
from earwitness.training.corpus.config import SPLITS, Split
from earwitness.training.corpus.dataset import DatasetError, LabelledSpectrograms

BUILD_PREFIX = ".build-"


@dataclass(frozen=True)
class Corpus:
    """A built corpus: where it is and what the manifest says."""

    folder: Path
    manifest: dict[str, Any]

    def open(self, split: Split) -> LabelledSpectrograms:
        """Raises: DatasetError when the corpus is of another kind, or the split is not there."""
        if self.manifest.get("kind") == "replay":
            raise DatasetError(
                f"{self.folder} holds genuine and replayed speech, which `earwitness train replay` takes; give one of "
                "singing (`earwitness corpus build`, `earwitness data import`)"
            )
        return LabelledSpectrograms.open(self.folder / split)


def open_corpus(folder: Path | str) -> Corpus:
    """A corpus built or imported before.

    Raises: DatasetError when the folder holds no complete corpus.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        raise DatasetError(
            f"{folder} holds no complete corpus (no manifest.json); `earwitness corpus build` makes one, "
            "`earwitness data import` reads one from recordings"
        )
    try:
        manifest = json.loads(path.read_text())
        manifest["fingerprint"], manifest["sources"]
    except (ValueError, KeyError, TypeError) as err:
        raise DatasetError(f"{path} is no corpus manifest ({err!r}); give the folder of a corpus") from err
    return Corpus(folder, manifest)


def finished_corpus(folder: Path, fingerprint: str, *, force: bool, parts: Collection[str] = SPLITS) -> Corpus | None:
    """The corpus of that fingerprint if it is there already; None when the folder is free to build it in.

    `parts` are what a corpus of this kind consists of, beside its manifest. `force` frees a folder that holds one of
    another fingerprint, which stays complete until `replace_corpus`.

    Raises: DatasetError when the folder holds another corpus, or something else.
    """
    manifest_path = folder / "manifest.json"
    if manifest_path.is_file():
        there = open_corpus(folder)
        if there.manifest["fingerprint"] == fingerprint:
            return there
        if not force:
            raise DatasetError(
                f"{folder} holds another corpus ({there.manifest['fingerprint'][:12]}, this one is "
                f"{fingerprint[:12]}); give another folder, or replace it with --force"
            )
    if folder.exists() and any(
        not each.name.startswith(BUILD_PREFIX) and each.name not in {*parts, "manifest.json"}
        for each in folder.iterdir()
    ):
        raise DatasetError(f"{folder} holds something else than a corpus of this kind; give a folder of its own")
    return None


def replace_corpus(folder: Path) -> None:
    """From here to `complete_corpus` the folder holds no complete corpus; those who have an old one open keep it."""
    (folder / "manifest.json").unlink(missing_ok=True)


def complete_corpus(folder: Path, manifest: Mapping[str, Any]) -> Corpus:
    """Writes the manifest, which marks the corpus complete, and removes what the build left."""
    with whole_file(folder / "manifest.json") as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
    for unfinished in sorted(folder.glob(f"{BUILD_PREFIX}*")):
        shutil.rmtree(unfinished)
    return open_corpus(folder)
