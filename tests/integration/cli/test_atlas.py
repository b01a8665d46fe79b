"""The atlas through the command, on the tiny bundle: what it says, what it keeps, and what it does not do again."""

import hashlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.atlas import gathering, showing
from earwitness.explainer.optimisers import first_latent
from earwitness.features import load_audio
from tests.helpers.tiny_bundle import LATENT, PROFILE
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, write_recording

SMALL = ("--draws", 150, "-n", 3, "-k", 2)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two recordings."""
    folder = tmp_path_factory.mktemp("atlas") / "music"
    for seed in range(2):
        write_recording(folder / f"r{seed}.wav", 8, seed)
    return folder


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The parts of the work that are done: function and arguments."""
    found: list[tuple[str, Any]] = []
    for module in (gathering, showing):
        for name in ("listen", "draw", "classify_latents", "show_latents", "show_excerpts"):
            if (real := getattr(module, name, None)) is not None:

                def told(*words: Any, real: Any = real, name: str = name) -> Any:
                    found.append((name, words))
                    return real(*words)

                monkeypatch.setattr(module, name, told)
    return found


def content(folder: Path) -> dict[str, str]:
    """All that the folder shows, as digests."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_atlas_of_all_units(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("atlas", "tiny", "--layer", "all", "--recordings", music, *SMALL, "-o", out, "--data", stack.data)
    document = run(*words, "--json").json()
    assert [(each["layer"], each["unit"]) for each in document["units"]] == [
        (layer, unit) for layer, count in (("conv1", 3), ("fc2", 5), ("fc3", 2)) for unit in range(count)
    ]
    assert document["page"] == str(out / "index.html")
    atlas = json.loads((out / "atlas.json").read_text())
    shown = {
        each["media"]
        for unit in atlas["units"]
        for side in unit["sides"]
        for kind in ("explanations", "excerpts")
        for each in side[kind]
    }
    files = {path.name for path in (out / "media").iterdir()}
    assert files == {f"{name}.{suffix}" for name in shown for suffix in ("mp3", "png")}
    pages = {"index.html": out / "index.html"} | {path.name: path for path in (out / "units").iterdir()}
    assert len(pages) == 11
    for page in pages.values():
        for link in re.findall(r'(?:src|href|data-sound)="([^"#]+)"', page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)
    again = run(*words)
    assert "10 units over" in again.stdout
    assert (out / "index.html").as_uri() in again.stdout


def test_explanations_and_excerpts_are_what_the_model_says(
    run: Run, stack: Served, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    units = ("--layer", "fc2", "--unit", 3, "--oversample", 1)
    run("atlas", "tiny", *units, "--recordings", music, *SMALL, "-o", out, "--data", stack.data, "--json").json()
    (unit,) = json.loads((out / "atlas.json").read_text())["units"]
    latents = np.stack([first_latent(seed, LATENT) for seed in range(150)])
    drawn = np.sort(stack.tiny.layers(stack.tiny.spectrogram(latents))["fc2"][:, 3])
    up, down = unit["sides"]
    assert [each["activation"] for each in up["explanations"]] == pytest.approx(drawn[::-1][:3], abs=1e-5)
    assert [each["activation"] for each in down["explanations"]] == pytest.approx(drawn[:3], abs=1e-5)
    found = run(
        "explain", "tiny", "--layer", "fc2", "--unit", 3, "--draws", 150, "-n", 3, "--data", stack.data, "--json"
    ).json()
    assert [row["activation"] for row in found["rows"]] == pytest.approx(
        [each["activation"] for each in up["explanations"]], abs=1e-6
    )
    excerpts = np.concatenate([excerpts_of(music / f"r{seed}.wav") for seed in range(2)])
    real = stack.tiny.layers(excerpts)["fc2"][:, 3]
    assert unit["highest"] == pytest.approx(real.max(), abs=1e-5)
    assert up["excerpts"][0]["activation"] == pytest.approx(real.max(), abs=1e-5)
    assert down["excerpts"][0]["activation"] == pytest.approx(real.min(), abs=1e-5)


def excerpts_of(recording: Path) -> np.ndarray:
    """The excerpts of a recording, every half an excerpt."""
    waveform = load_audio(recording, PROFILE.sample_rate_hz)
    return PROFILE.excerpts(PROFILE.spectrogram(waveform), PROFILE.excerpt_frames // 2)


def test_only_what_is_new_is_done(
    run: Run, stack: Served, music: Path, tmp_path: Path, done: list[tuple[str, Any]]
) -> None:
    out, more = tmp_path / "out", tmp_path / "music"
    more.mkdir()
    for path in music.iterdir():
        (more / path.name).write_bytes(path.read_bytes())
    words = ("--recordings", more, *SMALL, "-o", out, "--data", stack.data, "--json")
    run("atlas", "tiny", "--layer", "fc2", "--unit", "0..2", *words).json()
    first = content(out)
    assert {name for name, _ in done} == {"listen", "draw", "show_latents", "show_excerpts"}
    done.clear()
    run("atlas", "tiny", "--layer", "fc2", "--unit", "0..2", *words).json()
    assert done == []
    assert content(out) == first
    run("atlas", "tiny", "--layer", "fc2", "--unit", "0..4", *words).json()  # more units
    assert {name for name, _ in done} <= {"show_latents", "show_excerpts"}
    assert len(content(out)) > len(first)
    done.clear()
    write_recording(more / "r2.wav", 5, 2)  # a recording more
    run("atlas", "tiny", "--layer", "fc2", "--unit", "0..4", *words).json()
    assert [words[2].name for name, words in done if name == "listen"] == ["r2.wav"]
    assert "draw" not in {name for name, _ in done}
    fresh = tmp_path / "fresh"
    run("atlas", "tiny", "--layer", "fc2", "--recordings", more, *SMALL, "-o", fresh, "--data", stack.data).stdout  # noqa: B018
    assert content(fresh) == content(out)  # nothing of what was before is left


def test_other_ways_search_each_unit(run: Run, stack: Served, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("atlas", "tiny", "--layer", "fc3", "--way", "walk", "--sense", "maximise", "--recordings", music)
    run(*words, *SMALL, "-o", out, "--data", stack.data, "--json").json()
    first = content(out)
    units = json.loads((out / "atlas.json").read_text())["units"]
    for unit in units:
        (side,) = unit["sides"]
        assert side["settings"]["optimiser"] == "walk"
        assert side["settings"]["target"]["low"] >= unit["lowest"]
        assert len(side["explanations"]) == 3
    run(*words, *SMALL, "-o", out, "--explainer", stack.explainer, "--model-repository", stack.tiny.repository).stdout  # noqa: B018
    assert content(out) == first


KILLED = """
import os, signal, sys
left, replace = int(sys.argv.pop(1)), os.replace
def replaced(*words):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*words)
os.replace = replaced
from earwitness.cli import main
main()
"""
"""The command, until it has written so many files and all of the next but its name."""


def test_killed_at_any_moment_it_goes_on_to_the_same_atlas(
    run: Run, stack: Served, music: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    few = ("--layer", "fc2", "--unit", "0..1", "--draws", 300, "-n", 2, "-k", 1)
    words = ["atlas", "tiny", *map(str, few), "--recordings", str(music), "--data", str(stack.data)]
    run(*words, "-o", whole)
    for moment in (2, 12, 0):  # a recording, sounds; of the pages the last but one
        moment = moment or len(content(whole).keys() - content(out).keys()) - 1
        killed = subprocess.run([sys.executable, "-c", KILLED, str(moment), *words, "-o", str(out)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not (out / "index.html").exists()
    run(*words, "-o", out)
    assert content(out) == content(whole)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--layer", "fc7"), "--layer: got 'fc7'; there are conv1, fc2, fc3"),
        (("--unit", 2), "--unit: got 2; layer fc3 has 0 to 1"),
        (("--layer", "conv1", "--layer", "fc3", "--unit", "0..2"), "--unit: got 2; layer fc3 has 0 to 1"),
        (("--unit", "3-5"), "--unit: got '3-5'; give a unit, 5, or several, 0..63"),
        (("--unit", "5..3"), "--unit: got '5..3'; a range goes up: 3..5"),
        (("-n", 1), "--count: got 1"),
        (("--draws", 3), "--draws: got 3"),
        (("--oversample", 65), "--oversample: got 65"),
        (("--excerpts", 0), "--excerpts: got 0"),
        (("--cluster", "tcp://127.0.0.1:9", "--workers", 2), "--workers: are threads of this process"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    run: Run, stack: Served, music: Path, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    out = tmp_path / "out"
    refused = run("atlas", "tiny", "--recordings", music, *options, "-o", out, "--data", stack.data).error()
    assert said in refused
    assert not out.exists()


def test_recordings_that_cannot_be_read_are_named_and_left_out(
    run: Run, stack: Served, music: Path, tmp_path: Path
) -> None:
    mixed, out = tmp_path / "mixed", tmp_path / "out"
    mixed.mkdir()
    (mixed / "good.wav").write_bytes((music / "r0.wav").read_bytes())
    (mixed / "bad.wav").write_bytes(b"no sound at all")
    words = ("atlas", "tiny", *SMALL, "-o", out, "--data", stack.data)
    document = run(*words, "--recordings", mixed, "--json").json()
    assert [(Path(each["file"]).name, each["kind"]) for each in document["flaws"]] == [("bad.wav", "left-out")]
    assert document["recordings"] == 1
    assert "bad.wav" in run(*words, "--recordings", mixed, "--strict").error()
    assert "bad.wav" in run(*words, "--recordings", mixed / "bad.wav").error()
    short = write_recording(tmp_path / "short.wav", 0.5)
    assert "--recordings: they hold fewer than two excerpts" in run(*words, "--recordings", short).error()
    assert json.loads((out / "atlas.json").read_text())["recordings"] == ["good.wav"]  # as it was
