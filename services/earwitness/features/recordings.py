"""Which files of folders hold sound: told by their endings, whether or not they can be decoded."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from earwitness.features.audio import AudioError, Flaw, OnFlaw, log_flaw
from earwitness.features.decoding import check_audio, decode_audio

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph"),
        *(".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".m4a", ".m4b", ".mp4", ".aac", ".wma"),
        *(".mka", ".mkv", ".webm", ".ac3", ".amr", ".3gp", ".ape", ".wv", ".mpc", ".tta", ".dsf", ".ra"),
    }
)
"""Endings of files of sound, in lower case; those that nothing here decodes are among them, to be named."""
_TOLD = 5
"""Files that a message names."""


def visible_files(folder: Path, on_flaw: OnFlaw = log_flaw) -> list[Path]:
    """All files below a folder, sorted, but for those with a dot before their names or in such folders.

    Builds that are under way keep what they have in folders of this kind, and some systems facts about each file. Links
    to folders are followed, each folder once. `on_flaw` is told of folders that cannot be read, and of what has the
    name of a sound file and is none: a link that leads nowhere, a pipe.
    """
    return sorted(path for path in _walk(folder, on_flaw) if _is_file(path, on_flaw))


def find_audio(paths: Iterable[Path], on_flaw: OnFlaw = log_flaw) -> list[Path]:
    """The files among `paths` and, sorted, those of sound below the folders among them; see `visible_files`.

    Raises: FileNotFoundError for a path that does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [each for each in visible_files(path, on_flaw) if each.suffix.lower() in AUDIO_SUFFIXES]
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise FileNotFoundError(path)
    return found


def usable(
    paths: Iterable[Path], on_flaw: OnFlaw = log_flaw, *, strict: bool = False, irregular: Iterable[Flaw] = ()
) -> list[Path]:
    """Those files of sound that can be read; `on_flaw` is told of the others, nothing is decoded.

    With `strict` all are decoded, and none may break off or be left out; `irregular` is what else was left out.

    Raises: AudioError when there are files and none of them can be used, or, with `strict`, some have flaws.
    """
    good, bad = list[Path](), list[Flaw](irregular)
    for path in paths:
        try:
            if strict:
                bad += [flaw for flaw in decode_audio(path).flaws(path) if flaw.kind == "cut-off"]
            else:
                check_audio(path)
            good.append(path)
        except AudioError as err:
            bad.append(Flaw.of(path, err))
    if strict and bad:
        raise AudioError(f"--strict: {_listed(bad)}")
    if bad and not good:
        raise AudioError(_listed(bad))
    for flaw in bad:
        on_flaw(flaw)
    return good


def _listed(flaws: list[Flaw]) -> str:
    more = f"; and {len(flaws) - _TOLD} more" if len(flaws) > _TOLD else ""
    return "; ".join(map(str, flaws[:_TOLD])) + more


def _walk(folder: Path, on_flaw: OnFlaw) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable(on_flaw)):
        here = os.stat(name)
        if (here.st_dev, here.st_ino) in seen:  # a link leads back
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from (Path(name, each) for each in files if not each.startswith("."))


def _unreadable(on_flaw: OnFlaw) -> Callable[[OSError], None]:
    return lambda err: on_flaw(Flaw(Path(err.filename), "left-out", f"the folder cannot be read ({err.strerror})"))


def _is_file(path: Path, on_flaw: OnFlaw) -> bool:
    if path.is_file():
        return True
    if path.suffix.lower() in AUDIO_SUFFIXES:
        try:
            check_audio(path)
        except AudioError as err:
            on_flaw(Flaw.of(path, err))
    return False
