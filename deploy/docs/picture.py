"""The picture in README.md, and the output printed above it: `make picture` renews both, by `earwitness demo`.

`python deploy/docs/picture.py OUT.png` explains the shipped detector, takes a screenshot of the page in a real browser,
and prints the output of the command, for README.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1000, 1330
COLOURS = 128
"""Enough for spectrograms at this size, in a third of the bytes."""
COLUMNS = 110
"""Width of the printed table, as code blocks show it without scrolling."""
MAX_BYTES = 150_000


def main(picture: Path) -> None:
    """See the module. Raises: as `photograph`; CalledProcessError if the demo fails."""
    with tempfile.TemporaryDirectory(prefix="earwitness-picture-") as folder:
        out = Path(folder) / "demo"
        demo = [sys.executable, "-m", "earwitness.cli", "demo", "--out", str(out)]
        subprocess.run(demo, check=True, env={**os.environ, "COLUMNS": str(COLUMNS)})  # noqa: S603
        photograph(out / "maximise/index.html", picture)


def photograph(page: Path, picture: Path) -> None:
    """Write the top of a page, as a browser shows it, to a PNG file of `WIDTH` × `HEIGHT` and at most `MAX_BYTES`.

    Raises: SystemExit if there is no browser or the picture is too large; CalledProcessError if the browser fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"taking the picture needs a browser: install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory(prefix="earwitness-browser-") as folder:
        taken = Path(folder) / "page.png"
        words = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        words += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={taken}", page.absolute().as_uri()]
        subprocess.run([browser, *words], check=True, capture_output=True, timeout=120)  # noqa: S603
        with Image.open(taken) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(taken, optimize=True)
        if (size := taken.stat().st_size) > MAX_BYTES:
            raise SystemExit(f"the picture has {size} bytes, a README's at most {MAX_BYTES}: lower COLOURS or HEIGHT")
        shutil.move(taken, picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
