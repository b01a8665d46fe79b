"""The keys of ASVspoof 2017 to 5 as they are distributed: recognised by their columns, each with its meaning."""

from dataclasses import asdict
from pathlib import Path

import pytest

from earwitness.detection.keys import Key, read_key
from earwitness.errors import InvalidArgument


def key_of(tmp_path: Path, *lines: str) -> Key:
    (tmp_path / "key.txt").write_text("\n".join(lines) + "\n")
    key = read_key(tmp_path / "key.txt")
    assert key.problems == []
    return key


def told(key: Key) -> list[dict[str, str | bool]]:
    return [{name: value for name, value in asdict(trial).items() if value is not None} for trial in key.trials]


def test_2021_la(tmp_path: Path) -> None:
    key = key_of(
        tmp_path,
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
        "LA_0020 LA_E_1000001 pstn mad_tx bonafide bonafide trim hidden",
    )
    assert key.dataset == "ASVspoof 2021 LA"
    assert str(key).startswith("ASVspoof 2021 LA; columns: speaker, file, codec, transmission, attack, key, trim")
    assert told(key) == [
        {
            "file": "LA_E_9332881", "genuine": False, "speaker": "LA_0009", "codec": "alaw", "transmission": "ita_tx",
            "attack": "A07", "trim": "notrim", "subset": "eval",
        },
        {
            "file": "LA_E_1000001", "genuine": True, "speaker": "LA_0020", "codec": "pstn", "transmission": "mad_tx",
            "trim": "trim", "subset": "hidden",
        },
    ]  # fmt: skip


def test_2021_df(tmp_path: Path) -> None:
    key = key_of(
        tmp_path,
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
        "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder_nonautoregressive Task1 "
        "team20 FF E",
        "LA_0048 DF_E_2000058 mp3m4a asvspoof - bonafide notrim eval bonafide - - - -",
    )
    assert key.dataset == "ASVspoof 2021 DF"
    first, second, third = told(key)
    assert first == {
        "file": "DF_E_2000011", "genuine": False, "speaker": "LA_0023", "codec": "nocodec", "source": "asvspoof",
        "attack": "A14", "trim": "notrim", "subset": "progress", "vocoder": "traditional_vocoder",
    }  # fmt: skip
    assert (second["task"], second["team"], second["gender"], second["language"]) == ("Task1", "team20", "FF", "E")
    assert "vocoder" not in third
    assert third["codec"] == "mp3m4a"
    older = key_of(tmp_path, "- DF_E_2000011 - - - spoof notrim progress", "- DF_E_2000013 - - - bonafide - eval")
    assert older.dataset is None
    older = key_of(
        tmp_path, "- DF_E_2000011 - - - spoof notrim progress", "- DF_E_2 - - - bonafide notrim hidden_track"
    )
    assert older.dataset == "ASVspoof 2021 DF, the first release"
    assert [trial.subset for trial in older.trials] == ["progress", "hidden_track"]


def test_2021_pa(tmp_path: Path) -> None:
    key = key_of(
        tmp_path,
        "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c3 spoof notrim eval",
        "PA_0016 PA_E_1000000 R7 M3 d5 - - - - bonafide notrim eval",
    )
    assert key.dataset == "ASVspoof 2021 PA"
    assert told(key) == [
        {
            "file": "PA_E_1000001", "genuine": False, "speaker": "PA_0010", "room": "R3", "microphone": "M3",
            "distance": "d4", "attack_room": "r1", "attack_microphone": "m1", "attack_device": "s4",
            "attack_distance": "c3", "trim": "notrim", "subset": "eval",
        },
        {
            "file": "PA_E_1000000", "genuine": True, "speaker": "PA_0016", "room": "R7", "microphone": "M3",
            "distance": "D5", "trim": "notrim", "subset": "eval",
        },
    ]  # fmt: skip
    older = key_of(tmp_path, "- PA_E_1 - - spoof notrim hidden_track_1", "- PA_E_2 - - bonafide notrim eval")
    assert older.dataset == "ASVspoof 2021 PA, the first release"
    assert [trial.subset for trial in older.trials] == ["hidden_track_1", "eval"]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("part", [" ", "\t", ","])
def test_asvspoof_5(tmp_path: Path, header: bool, part: str) -> None:
    lines = [
        "E_1607 E_0009538969 M C05 4 E_0001 AC3 A26 spoof -",
        "E_1608 E_0009538970 F - - - - bonafide bonafide -",
        "E_1608 E_0009538971 F - - - - bonafide bonafide -",
    ]
    if header:
        lines.insert(
            0, "SPEAKER_ID FLAC_FILE_NAME SPEAKER_GENDER CODEC CODEC_Q CODEC_SEED ATTACK_TAG ATTACK_LABEL KEY TMP"
        )
    key = key_of(tmp_path, *(line.replace(" ", part) for line in lines))
    assert key.dataset == "ASVspoof 5 Track 1"
    assert told(key)[:2] == [
        {
            "file": "E_0009538969", "genuine": False, "speaker": "E_1607", "gender": "M", "codec": "C05",
            "codec_quality": "4", "attack_tag": "AC3", "attack": "A26",
        },
        {"file": "E_0009538970", "genuine": True, "speaker": "E_1608", "gender": "F", "codec": "none"},
    ]  # fmt: skip


def test_a_header_may_say_otherwise(tmp_path: Path) -> None:
    """Columns that look like those of 2019 PA, and are called something else."""
    key = key_of(tmp_path, "spk,utt,system,attack,label", "PA_1,PA_E_1,aaa,AA,spoof", "PA_1,PA_E_2,aab,-,bonafide")
    assert key.dataset is None
    assert told(key)[0] == {"file": "PA_E_1", "genuine": False, "speaker": "PA_1", "attack": "AA"}


def test_the_list_of_asvspoof_5_for_training_in_its_first_phase(tmp_path: Path) -> None:
    key = key_of(tmp_path, "T_4850 T_0000000000 F - A05 spoof", "T_0001 T_0000000001 M - bonafide bonafide")
    assert str(key) == "ASVspoof 5 Track 1, the first phase, train; columns: speaker, file, gender, -, attack, key"
    assert told(key)[1] == {"file": "T_0000000001", "genuine": True, "speaker": "T_0001", "gender": "M"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["LA_0079 LA_T_1138215 - - bonafide", "LA_0079 LA_T_1138216 - A01 spoof"], "ASVspoof 2019 LA, train; "),
        (["PA_0079 PA_D_1 aab - bonafide", "PA_0079 PA_E_2 cba AC spoof"], "ASVspoof 2019 PA, dev, eval; "),
        (["E_1000001.wav genuine M0001 S01", "E_1000002.wav spoof M0002 S03"], "ASVspoof 2017, eval; columns: file"),
        (["a genuine", "b spoof"], "a key of no known data set; columns: file, key"),
    ],
)
def test_how_a_key_was_read_is_told(tmp_path: Path, lines: list[str], words: str) -> None:
    assert str(key_of(tmp_path, *lines)).startswith(words)


def test_2019_pa(tmp_path: Path) -> None:
    key = key_of(tmp_path, "PA_0079 PA_E_1 aab - bonafide", "PA_0080 PA_E_2 cba AC spoof")
    assert told(key) == [
        {"file": "PA_E_1", "genuine": True, "speaker": "PA_0079", "environment": "aab"},
        {"file": "PA_E_2", "genuine": False, "speaker": "PA_0080", "environment": "cba", "attack": "AC"},
    ]


def test_a_line_that_is_wrong_is_told_and_the_layout_recognised(tmp_path: Path) -> None:
    lines = [f"LA_0009 LA_E_{number} alaw ita_tx A07 spoof notrim eval" for number in range(20)]
    (tmp_path / "key.txt").write_text("\n".join([*lines, "LA_0009 LA_E_20 alaw ita_tx A07 spof notrim eval"]))
    key = read_key(tmp_path / "key.txt")
    assert key.dataset == "ASVspoof 2021 LA"
    assert key.problems == ["line 21: 'spof' is neither genuine (bonafide) nor spoof"]


def test_columns_cut_out_of_a_key_keep_their_subset(tmp_path: Path) -> None:
    key = key_of(tmp_path, "LA_E_1 bonafide eval", "LA_E_2 spoof progress")
    assert key.dataset is None
    assert told(key)[0] == {"file": "LA_E_1", "genuine": True, "subset": "eval"}


def test_a_subset_under_an_unknown_name_is_found_but_not_where_columns_are_named_by_hand(tmp_path: Path) -> None:
    key = key_of(tmp_path, "utt;label;part of it", "a;bonafide;eval", "b;spoof;progress", "c;spoof;hidden")
    assert [trial.subset for trial in key.trials] == ["eval", "progress", "hidden"]
    by_hand = read_key(tmp_path / "key.txt", ["file", "key", "-"])
    assert [trial.subset for trial in by_hand.trials] == [None, None, None]


@pytest.mark.parametrize(
    "lines",
    [
        ["LA_0009 LA_E_1 alaw ita_tx bonafide target notrim eval", "LA_0009 LA_E_2 none - A07 spoof notrim eval"],
        ["LA_0015 LA_E_1103494 bonafide target", "LA_0015 LA_E_4861467 bonafide nontarget", "LA_0015 LA_E_1 A19 spoof"],
        ["D_0062 D_0000000001 F A11 spoof", "D_0755 D_0000000022 F bonafide target"],
    ],
    ids=["2021", "2019", "ASVspoof 5 Track 2"],
)
def test_keys_of_speaker_verification_are_refused_by_name(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "key.txt").write_text("\n".join(lines))
    with pytest.raises(InvalidArgument, match=r"is of speaker verification \(ASV\): column \d says target"):
        read_key(tmp_path / "key.txt")


def test_a_key_of_asvspoof_5_with_both_labels_says_which_is_meant(tmp_path: Path) -> None:
    key = key_of(
        tmp_path,
        "spk filename cm-label asv-label",
        "E_0101 E_000001 bonafide target",
        "E_0202 E_000002 spoof spoof",
        "E_2918 E_000003 bonafide nontarget",
    )
    assert [trial.genuine for trial in key.trials] == [True, False, True]
