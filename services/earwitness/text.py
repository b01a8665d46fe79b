"""Plain text as others wrote it."""

from pathlib import Path


def plain_text(path: Path) -> str:
    """A text file in UTF-8 or, as old label files and lists are, in Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
