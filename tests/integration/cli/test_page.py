"""The pages in a real browser: they open from a file, in light and in dark."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.client.output import write_index, write_run, write_sweep, write_sweeps
from earwitness.features import write_wav
from tests.unit.client.runs import run as example
from tests.unit.client.sweeps import PAPER, SAVED, sweep

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


def test_sweep_opens_light_and_dark_with_its_grid(browser: str, tmp_path: Path) -> None:
    write_sweep(tmp_path / "out", sweep(), SAVED)
    page = tmp_path / "out/index.html"
    light = photograph(browser, page, tmp_path / "light.png")
    dark = photograph(browser, page, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    assert np.median(light) > 0.85
    assert np.median(dark) < 0.2
    yellow, purple = np.array([253, 231, 37]) / 255, np.array([68, 1, 84]) / 255
    for image in (light, dark):
        for colour in (yellow, purple):  # the best cell and the worst
            assert (np.abs(image - colour).max(axis=2) < 0.02).sum() > 500


def test_several_objectives_open(browser: str, tmp_path: Path) -> None:
    write_sweeps(tmp_path / "out", {"up": sweep(), "down": sweep(PAPER, "minimise")}, SAVED)
    image = photograph(browser, tmp_path / "out/index.html", tmp_path / "both.png")
    yellow = np.array([253, 231, 37]) / 255
    rows = np.flatnonzero((np.abs(image - yellow).max(axis=2) < 0.02).any(axis=1))
    assert np.ptp(rows) > 300  # the best cell of each grid; one grid alone is not as high


def test_sounds_and_pictures_of_a_sweep_load(browser: str, tmp_path: Path) -> None:
    """As the browser itself says: every picture has its size, every sound its seconds."""
    sound = tmp_path / "tone.wav"
    write_wav(sound, np.sin(np.arange(4000) / 5).astype(np.float32) / 2, 8000)
    report = sweep(PAPER[:3])
    examples = tuple(
        replace(each, explanations=tuple(replace(one, audio_wav=sound.read_bytes()) for one in each.explanations))
        for each in report.examples
    )
    excerpts = tuple(replace(each, audio_wav=sound.read_bytes()) for each in report.excerpts)
    write_sweep(tmp_path / "out", replace(report, examples=examples, excerpts=excerpts), SAVED)
    probe = tmp_path / "out/probe.html"  # the page, and a question to it
    html = (tmp_path / "out/index.html").read_text().replace(' loading="lazy"', "")
    question = """<script>addEventListener("load", async () => {
      const sounds = [...document.querySelectorAll("audio")];
      await Promise.all(sounds.map(each => each.readyState || new Promise(done => each.onloadedmetadata = done)));
      const pictures = [...document.querySelectorAll("img")].filter(each => each.naturalWidth);
      document.title = `${pictures.length} pictures ${sounds.filter(each => each.duration === 0.5).length} sounds`;
    })</script>"""
    probe.write_text(html.replace("</body>", f"{question}</body>"))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    words += ["--virtual-time-budget=10000", "--dump-dom", probe.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "<title>9 pictures 9 sounds</title>" in done.stdout
