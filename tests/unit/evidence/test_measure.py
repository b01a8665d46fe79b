import csv
import json
import re
from pathlib import Path

import pytest

from earwitness.errors import InvalidArgument
from earwitness.evidence.judges import EMBEDDING_JUDGE
from earwitness.evidence.measure import Listener, conclude, likenesses, opposites, published
from earwitness.evidence.report import write_evidence
from earwitness.evidence.values import REAL, Evidence
from tests.unit.evidence.examples import ONE_OUTPUT, REPLAYS, TWO_OUTPUTS, Roughness, gathered

PLACES = ["chosen", "median", "worst"]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    listener = Listener({EMBEDDING_JUDGE: Roughness()})
    high, low = gathered(roughness=0.9), gathered(sense="minimise", roughness=0.1)
    measured = [listener.measure(each, lambda *event: None) for each in (low, high)]
    return conclude(listener, measured, [Path("songs/a.ogg"), Path("songs/<b>.ogg")])


def test_every_setting_has_all_figures(evidence: Evidence) -> None:
    low, high = evidence.objectives
    for each in (low, high):
        assert [setting.place for setting in each.settings] == PLACES
        assert [setting.ranked.rank for setting in each.settings] == [1, 14, 27]
        assert each.real.row_count == 12
        assert each.real.activation_median == 5.5
        for setting in each.settings:
            assert setting.opinions[EMBEDDING_JUDGE].count == 6
            assert (setting.kernel.row_count, setting.kernel.floor_row_count) == (6, 6)
            assert setting.diversity.row_count == 6
        assert each.shape.setting_count == 27
    assert {setting.opinions[EMBEDDING_JUDGE].vocal_share for setting in high.settings} == {1.0}
    assert {setting.opinions[EMBEDDING_JUDGE].vocal_share for setting in low.settings} == {0.0}
    assert high.shape.published is not None
    assert high.shape.published.name == "R1, maximised"


def test_only_what_the_paper_searched_is_held_against_it() -> None:
    """Its neurons of a pair were maximised: minimising one is another search, whatever it means."""
    found = [
        published(each)
        for each in (
            gathered(sense="minimise"),
            gathered(TWO_OUTPUTS, 1),
            gathered(TWO_OUTPUTS, 0),
            gathered(TWO_OUTPUTS, 0, "minimise"),
        )
    ]
    assert [each and each.name for each in found] == [
        "R1, minimised", "R2, vocal neuron", "R2, non-vocal neuron", None,
    ]  # fmt: skip


def test_senses_are_told_apart_the_vocal_one_first(evidence: Evidence) -> None:
    (opposition,) = evidence.oppositions
    assert (opposition.high, opposition.low) == ("one: maximise fc9[0]", "one: minimise fc9[0]")
    assert list(opposition.contrasts) == [*PLACES, REAL]
    assert {found[0].auc for found in opposition.contrasts.values()} == {1.0}


def test_opposites_are_senses_of_a_unit_and_units_of_a_pair() -> None:
    up, down = gathered(), gathered(sense="minimise")
    voice, none = gathered(TWO_OUTPUTS, 1), gathered(TWO_OUTPUTS, 0)
    voice_down = gathered(TWO_OUTPUTS, 1, "minimise")
    assert opposites([up, voice]) == []
    assert opposites([down, up, none, voice]) == [(up, down), (voice, none)]
    assert opposites([voice_down, voice]) == [(voice, voice_down)]
    assert opposites([voice_down, none]) == []


def test_neurons_are_paired_by_what_they_mean() -> None:
    up, down = gathered(), gathered(sense="minimise")
    voice, none = gathered(TWO_OUTPUTS, 1), gathered(TWO_OUTPUTS, 0)
    found = likenesses([up, down, voice, none])
    assert [(each.neuron, each.counterpart, each.other) for each in found] == [
        ("two: maximise fc9[1]", "one: maximise fc9[0]", "one: minimise fc9[0]"),
        ("two: maximise fc9[0]", "one: minimise fc9[0]", "one: maximise fc9[0]"),
    ]
    assert all(each.to_counterpart == pytest.approx(1) for each in found)
    assert likenesses([up, voice]) == []  # nothing to tell its counterpart from
    assert ONE_OUTPUT.name == "one"


def test_written_as_document_table_and_one_page(evidence: Evidence, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_evidence(out, evidence, example_count=2)
    assert {path.name for path in out.iterdir()} == {"evidence.json", "evidence.csv", "index.html"}
    document = json.loads((out / "evidence.json").read_text())
    high = document["objectives"][1]
    assert [each["place"] for each in high["settings"]] == PLACES
    assert len(high["grid"]) == 27
    assert high["shape"]["reproduced"] is True
    assert high["shape"]["words"] == evidence.objectives[1].shape.words()
    assert document["oppositions"][0]["contrasts"]["chosen"][0]["auc"] == 1.0
    assert document["recordings"] == ["a.ogg", "<b>.ogg"]
    with (out / "evidence.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["place"] for row in rows] == [*PLACES, REAL] * 2
    assert float(rows[4]["fid"]) == evidence.objectives[1].settings[0].ranked.score.distance
    assert (rows[3]["fid"], rows[3]["rows"]) == ("", "12")

    html = (out / "index.html").read_text()
    assert html.count('src="data:audio/wav;base64,') == html.count('src="data:image/png;base64,') == 2 * 4 * 2
    assert not re.search(r'(src|href)="(?!data:|evidence\.|#)', html)
    assert "&lt;b&gt;.ogg" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    with pytest.raises(InvalidArgument, match="--force"):
        write_evidence(out, evidence, example_count=2)
    write_evidence(out, evidence, example_count=1, force=True)


def test_models_of_something_else_than_voices_are_measured_without_judges(tmp_path: Path) -> None:
    listener = Listener({EMBEDDING_JUDGE: Roughness()})
    given = [gathered(REPLAYS, 0), gathered(REPLAYS, 1), gathered()]
    genuine, replayed, vocal = (listener.measure(each, lambda *event: None) for each in given)
    for each in (genuine, replayed):
        assert (each.gathered.meaning, each.shape.published) in (("genuine", None), ("replayed", None))
        assert [*each.real.opinions, *each.settings[0].opinions] == []
        assert each.settings[0].kernel.row_count == each.settings[0].diversity.row_count == 6
    evidence = conclude(listener, [genuine, replayed, vocal], [])
    assert evidence.oppositions == ()
    assert evidence.judges == (EMBEDDING_JUDGE,)
    assert "no output of replays is about that" in evidence.unjudged

    write_evidence(tmp_path / "both", evidence, example_count=1)
    page = (tmp_path / "both/index.html").read_text()
    assert evidence.unjudged in page
    assert len({row.count("<td") + row.count("<th") for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)[1:]}) == 2
    with (tmp_path / "both/evidence.csv").open() as file:
        opinions = [row[f"{EMBEDDING_JUDGE}_median"] for row in csv.DictReader(file)]
    assert [opinion == "" for opinion in opinions] == [True] * 8 + [False] * 4

    alone = conclude(listener, [genuine], [])
    assert (alone.judges, conclude(listener, [vocal], []).unjudged) == ((), "")
    write_evidence(tmp_path / "alone", alone, example_count=1)
    assert "probability of a voice" not in (tmp_path / "alone/index.html").read_text()
