"""`earwitness evaluate ways`: references built, ways searched and judged, through real services."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Run
from tests.integration.cli.served import Served, served, write_recording

WAYS = ("prior sampling", "normalised steps", "normalised steps, nearest", "walk")
COUNT = 4


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("ways")) as running:
        yield running


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("songs")
    return [write_recording(folder / f"{seed}.wav", 14, seed) for seed in range(3)]


def asked(services: Served, *songs: Path) -> tuple[object, ...]:
    recordings = [word for each in songs for word in ("-r", each)]
    where = ("--data", services.data, "--model-repository", services.tiny.repository)
    return ("evaluate", "ways", "tiny", *recordings, "-n", COUNT, "--keep", 8, "--json", *where)


def test_each_way_is_judged_beside_real_audio(run: Run, services: Served, songs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "ways"
    document: dict[str, Any] = run(*asked(services, *songs), "--splits", 1, "-o", out).json()
    assert json.loads((out / "ways.json").read_text())["whole"] == document["whole"]
    names = [each["name"] for each in document["whole"]["ways"]]
    assert names[0] == "published rule"
    assert names[-1] == "real audio"
    assert set(WAYS) <= set(names)
    assert sum(name.startswith("real audio at the activations of ") for name in names) == len(WAYS) + 1
    for each in document["whole"]["ways"]:
        for side in ("high", "low"):
            found = each[side]
            assert found["row_count"] == COUNT
            assert (found["distance"] is None) == (not each["settings"])
            assert found["kernel"]["interval_low"] <= found["kernel"]["interval_high"]
            assert found["diversity"]["ratio"] > 0
    by_name = {each["name"]: each for each in document["whole"]["ways"]}
    assert by_name["prior sampling"]["high"]["evaluations"] == 4000 / (2 * COUNT)  # both objectives share the draws
    assert by_name["published rule"]["settings"][0]["optimiser"] == "adam"
    assert (
        by_name["normalised steps"]["high"]["evaluations"] < by_name["normalised steps, nearest"]["high"]["evaluations"]
    )
    (split,) = document["splits"]
    assert len(split["learned"]) == 2
    assert len(split["judging"]) == 1
    assert [each["name"] for each in split["ways"]] == [
        "published rule",
        *WAYS[:1],
        *WAYS[2:0:-1],
        "walk",
        "real audio",
    ]
    assert set(document["goals"]) == {"published rule", *WAYS}


def test_recordings_that_no_reference_learns_from(run: Run, services: Served, songs: list[Path]) -> None:
    words = ("--judge", songs[2], "--way", "normalised steps")
    document = run(*asked(services, *songs[:2]), *words).json()
    (split,) = document["splits"]
    assert (split["learned"], split["judging"]) == (["0.wav", "1.wav"], ["2.wav"])
    assert document["whole"]["learned"] == document["whole"]["judging"] == ["0.wav", "1.wav"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--way", "luck"), "got 'luck'; tiny has prior sampling, normalised steps, nearest, normalised steps, walk"),
        (("--unit", 9), "got 9"),
        (("-n", 86), "it must be 2 to 85"),
        (("--splits", 4), "got 4; there are 3 recordings"),
        (("--splits", 1, "--judge", "."), "give either --splits, or --judge"),
        (("--own-stack", "--scorer", "127.0.0.1:1"), "give either --own-stack, or the addresses of the services"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_searched(
    run: Run, services: Served, songs: list[Path], words: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    outcome = run(*asked(services, *songs), *words, "-o", tmp_path / "out")
    assert outcome.exit_code != 0
    assert said in outcome.stderr
    assert not (tmp_path / "out").exists()
