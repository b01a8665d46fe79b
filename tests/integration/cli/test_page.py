"""The pages in a real browser: they open from a file, in light and in dark."""

import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.client.output import write_index, write_run
from tests.unit.client.runs import run as example

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "the tests need chromium on PATH; tests/install-tools.sh installs it"
    return found


def photograph(browser: str, page: Path, picture: Path, *options: str) -> np.ndarray:
    """The page as `[height, width, 3]` in 0..1."""
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,2400"]
    words += [f"--user-data-dir={picture}.profile", f"--screenshot={picture}", *options]
    done = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return np.asarray(matplotlib.image.imread(picture)[..., :3])


def test_page_opens_light_and_dark(browser: str, tmp_path: Path) -> None:
    write_run(example(3, steps=50), tmp_path / "out")
    page = tmp_path / "out/index.html"
    light = photograph(browser, page, tmp_path / "light.png")
    dark = photograph(browser, page, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    assert np.median(light) > 0.85
    assert np.median(dark) < 0.2
    for image in (light, dark):
        assert image.std() > 0.02
    orange = np.array([0xE2, 0x71, 0x1D]) / 255
    assert (np.abs(light - orange).max(axis=2) < 0.02).sum() > 500  # dots, curves, the word


def test_index_opens(browser: str, tmp_path: Path) -> None:
    runs = {"high": example(2), "low": example(2, "minimise")}
    for folder, each in runs.items():
        write_run(each, tmp_path / folder)
    write_index(tmp_path / "index.html", "both ways", runs)
    image = photograph(browser, tmp_path / "index.html", tmp_path / "index.png")
    assert image.std() > 0.02
