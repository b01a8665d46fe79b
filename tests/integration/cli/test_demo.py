"""`earwitness demo`, in process, on the tiny bundle and its own audio; then once more over it."""

from pathlib import Path

from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.conftest import Run
from tests.integration.cli.served import write_recording


def test_demo(run: Run, tmp_path: Path) -> None:
    models = write_tiny_bundle(tmp_path / "models").repository
    for seed in range(6):
        write_recording(tmp_path / f"music/{seed}.wav", 12, seed)
    out = tmp_path / "out"
    demo = ("demo", "-o", out, "-m", "tiny", "--model-repository", models, "--audio", tmp_path / "music", "-n", 2)
    demo += ("--steps", 5, "--backend", "local")
    document = run(*demo, "--json").json()
    assert document["page"] == str(out / "index.html")
    assert [each["objective"]["sense"] for each in document["runs"]] == ["maximise", "minimise"]
    high, low = document["runs"]
    assert high["score"]["reference"] == "references/tiny-fc3-top50/versions/1"
    assert low["score"]["selection"] == "bottom-50 of unit 0"
    assert high["score"]["reference_row_count"] == 50
    assert high["score"]["reference_unit_minimum"] > low["score"]["reference_unit_maximum"]
    activations = [[row["activation"] for row in each["rows"]] for each in (high, low)]
    assert all(above > below for above, below in zip(*activations, strict=True))  # from the same first latents
    index = (out / "index.html").read_text()
    for name in ("maximise", "minimise"):
        assert (out / name / "index.html").is_file()
        assert f'href="{name}/index.html"' in index
        assert f'src="{name}/001.wav"' in index

    shown = run(*demo)
    assert shown.exit_code == 0, shown.stderr
    assert "vocal" in shown.stdout
    assert "noise floor" in shown.stdout
    assert "onnxruntime" in shown.stdout
    assert (out / "index.html").as_uri() in shown.stdout

    (out / "mine.txt").write_text("x")
    assert "holds mine.txt, which does not belong to an earlier demo" in run(*demo).error()
    assert (out / "mine.txt").exists()


def test_unknown_model_and_missing_audio_are_one_line(run: Run, tmp_path: Path) -> None:
    models = write_tiny_bundle(tmp_path / "models").repository
    words = ("demo", "-o", tmp_path / "out", "--model-repository", models, "--backend", "local", "--audio")
    assert "nowhere does not exist" in run(*words, tmp_path / "nowhere").error()
    assert not (tmp_path / "out").exists()
