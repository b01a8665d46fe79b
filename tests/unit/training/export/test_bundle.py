"""What an export leaves in the repository: three models and a card, or what was there before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2

from earwitness.features import get_profile
from earwitness.inference import placing
from earwitness.inference.integrity import take_inventory
from earwitness.inference.metadata import BundleMetadata, Layer, UnitLabel
from earwitness.inference.stamping import Stamped, stamp
from earwitness.training.evaluate import ClassifierReport, Figures
from earwitness.training.evaluate_gan import GeneratorReport
from earwitness.training.export import ExportError, UnsupportedOperator, bundle, export_bundle
from earwitness.training.export.card import CardFacts, Evaluation, write_card
from earwitness.training.export.detector_figures import singing_figures
from earwitness.training.export.verify import ParityReport
from earwitness.training.intervals import Interval, Intervals

BANDS, FRAMES = get_profile("log-mel-80@1").excerpt_shape
FIGURES = Figures(100, 0.125, 0.5, 0.6, 0.7, 0.8, 0.987, 0.912)
PARITY = ParityReport((1,), 0, 0, 0, 0, 0, 0, 0)
METADATA = BundleMetadata(
    "owl-calls", 3, 22050, (BANDS, FRAMES), (Layer("output", "output", 2, 0),), (),
    get_profile("log-mel-80@1").to_dict(), "nothing", "0" * 64,
)  # fmt: skip
FILES = ["owl_calls.md", "owl_calls_classifier", "owl_calls_generator", "owl_calls_search"]


class Painter(nn.Module):
    latent_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, BANDS)
        nn.init.normal_(self.dense.weight, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(self.dense.bias)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.dense(z))[:, None, :, None].expand(-1, 1, BANDS, FRAMES)


class Running(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumprod(x, dim=1)


def sorter(*more: nn.Module) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=9), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2), *more)
    network(torch.zeros(1, 1, BANDS, FRAMES))
    return network


def export(
    repository: Path, classifier: nn.Module, facts: CardFacts | None = None, replace: bool = True
) -> bundle.ExportedBundle:
    return export_bundle(
        Painter(), classifier, name="owl-calls", layers={"conv": "1"}, features=get_profile("log-mel-80@1").to_dict(),
        labels=[UnitLabel(1, "owl", "none")], training_data="nothing", repository=repository,
        replace=replace, **({"facts": facts} if facts else {}),
    )  # fmt: skip


def evaluation() -> Evaluation:
    figures, unsure = FIGURES, replace(FIGURES, auroc=0.5)
    nothing = Interval(float("nan"), float("nan"))
    sure = Intervals(9, Interval(0.1, 0.15), Interval(0.981, 0.992), nothing)
    excerpts = np.random.default_rng(0).standard_normal((16, BANDS, FRAMES)).astype(np.float32)
    return Evaluation(
        "songs, fingerprint `abc`",
        singing_figures(
            ClassifierReport(0.4, figures, figures, {"sinsy": figures}, {}, None, {"test": sure}),
            {"deaf": ClassifierReport(0.4, unsure, unsure, {}, {"song": unsure}, unsure)},
        ),
        GeneratorReport("fc8", 2000, 1.25, 0.1, 0.2, 12.5, 0.2, 0.3),
        {"a detector trained from seed 9": GeneratorReport("fc8", 2000, 2.0, 0.1, 0.2, 47.0, 0.2, 0.3)},
        excerpts,
        excerpts,
        {"blurred": GeneratorReport("fc8", 2000, 7.5, 0.1, 0.2, 12.5, 0.4, 0.5)},
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_three_models_and_a_card(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    first = {"seed": 7, "updates": 12, "score": {}, "config": {"seed": 7, "updates": 20, "penalty": 2.0}}
    judge = {"seed": 3, "updates": 900, "valid_auc": 0.875, "config": {}}
    record = {
        "seed": 8, "updates": 34, "score": {}, "config": {"penalty": 0.2},
        "init": {"sha256": "ab" * 32, "training": first},
        "detector": {"sha256": "cd" * 32, "training": judge},
    }  # fmt: skip
    classifier = {"seed": 3, "updates": 56, "config": {}}
    facts = CardFacts({"classifier": classifier, "generator": record}, evaluation())
    exported = export(repository, sorter(), facts)
    assert sorted(path.name for path in repository.iterdir()) == sorted([*FILES, "owl_calls.png"])
    card = (repository / "owl_calls.md").read_text()
    assert exported.metadata.weights_sha256 in card
    assert "| conv | conv | 2 | 0 … 1 |" in card
    assert "| 1 | owl | none |" in card
    assert "| 0.987 (0.981–0.992) | 0.912 | 0.125 (0.100–0.150) | 0.500 | 0.600 | 0.700 | 0.800 | 100 |" in card
    assert "| test, singing by sinsy only | 0.987 | 0.912 |" in card
    assert "| this one: test | 0.125 (0.100–0.150) | 0.987 (0.981–0.992) | 0.800 |" in card
    assert "| deaf: real songs | 0.125 | 0.500 | 0.800 |" in card
    assert "| this one | 1.25 | 0.20 | 0.30 |\n| blurred | 7.5 | 0.40 | 0.50 |" in card
    assert "10.0 times" in card
    assert "| a detector trained from seed 9 | 2 | 0.2 | 0.1 | 47 | 23.5 |" in card
    assert "- generator: seed 8, best of its checkpoints after 34 updates; penalty 0.2." in card
    assert "the checkpoint was chosen on the validation split" in card
    assert "- classifier: seed 3, after 56 updates" in card
    assert "validation AUROC 0.875" in card
    assert "Measured on the corpus songs, fingerprint `abc`." in card
    assert "| test: unseen voices, tracks and songs |" in card
    assert "the same first weights as the classifier" in card
    assert (
        "begun with what this run made: paper, seed 7, best of its checkpoints after 12 of 20 updates, penalty 2.0."
        in card
    )
    config = model_config_pb2.ModelConfig()
    text_format.Parse((repository / "owl_calls_search/config.pbtxt").read_text(), config)
    assert (config.backend, config.name, config.max_batch_size > 0) == ("onnxruntime", "owl_calls_search", True)
    assert [port.name for port in config.input] == ["z", "unit_weights", "prior_weight"]
    assert config.HasField("dynamic_batching")
    assert config.model_warmup
    described = BundleMetadata.from_parameters({key: each.string_value for key, each in config.parameters.items()})
    assert described == exported.metadata
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert take_inventory(repository).bundles == (exported.metadata,)
    assert exported.metadata.model_sha256 is not None
    assert stamp(repository) == [Stamped("owl-calls", changed=False)]  # which writes what export does


def test_export_again_replaces_all_of_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = export(tmp_path, sorter(), CardFacts(evaluation=evaluation()))
    second = export(tmp_path, sorter())
    assert first.metadata.weights_sha256 != second.metadata.weights_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert "How good" not in (tmp_path / "owl_calls.md").read_text()


def test_a_card_says_no_more_than_is_known(tmp_path: Path) -> None:
    measured = evaluation()
    doubt = "the detector was trained on another corpus"
    report = ClassifierReport(0.4, FIGURES, FIGURES, {"sinsy": FIGURES}, {}, None, {}, warnings=(doubt,))
    measured = replace(
        measured,
        classifier=singing_figures(report, {"deaf": report}),
        generator=replace(measured.generator, fid_real_halves=None, warnings=(doubt, "the generator too")),
    )
    generator = {"seed": 8, "updates": 34, "config": {"penalty": 0.2}}
    classifier = {"seed": 3, "updates": 56, "valid_auc": 0.9, "config": {}}
    facts = CardFacts({"classifier": classifier, "generator": generator}, measured)
    write_card(tmp_path, METADATA, PARITY, {}, facts)
    card = (tmp_path / "owl_calls.md").read_text()
    assert [line for line in card.splitlines() if line.startswith("**")] == [
        f"**Mind: {doubt}.**", f"**Mind: deaf: {doubt}.**", "**Mind: the generator too.**",
    ]  # fmt: skip
    assert "| excerpts of one half of the test recordings to the other half | undefined: one recording |" in card
    assert "unseen" not in card
    assert "The songs are" not in card
    assert "the checkpoint was chosen" not in card
    assert "- generator: seed 8, after 34 updates; penalty 0.2." in card
    assert "- classifier: seed 3, best of its checkpoints after 56 updates" in card


def test_other_weights_are_replaced_only_on_request(tmp_path: Path) -> None:
    mine = sorter()
    first = export(tmp_path, mine, replace=False)
    before = content(tmp_path)
    with pytest.raises(ExportError, match=r"serves other weights as 'owl-calls' \(owl_calls_generator\); give another"):
        export(tmp_path, sorter(), replace=False)
    assert content(tmp_path) == before
    (tmp_path / "owl_calls_search/config.pbtxt").write_text("words")
    with pytest.raises(ExportError, match=r"\(owl_calls_search\)"):
        export(tmp_path, mine, replace=False)
    (tmp_path / "owl_calls_search/config.pbtxt").write_bytes(before["owl_calls_search/config.pbtxt"])
    assert export(tmp_path, mine, replace=False).metadata == first.metadata


def test_facts_are_gathered_after_the_first_checks(tmp_path: Path) -> None:
    def hours() -> CardFacts:
        raise AssertionError("asked for too early")

    with pytest.raises(ExportError, match="name: got 'Owl calls'"):
        export_bundle(Painter(), sorter(), name="Owl calls", features={}, repository=tmp_path, facts=hours)


def test_the_same_weights_in_another_network_are_another_model(tmp_path: Path) -> None:
    classifier = sorter()
    first = export(tmp_path, classifier)
    assert export(tmp_path, classifier).metadata.weights_sha256 == first.metadata.weights_sha256
    classifier[1] = nn.LeakyReLU(0.3)
    assert export(tmp_path, classifier).metadata.weights_sha256 != first.metadata.weights_sha256


def test_failure_leaves_the_repository_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models"
    export(repository, sorter())
    before = content(repository)
    with pytest.raises(UnsupportedOperator, match=r"aten\.cumprod") as unsupported:
        export(repository, sorter(Running()))
    assert "4" in str(unsupported.value)
    with pytest.raises(ExportError, match="'9'"):
        export_bundle(
            Painter(), sorter(), name="owl-calls", layers={"conv": "9"},
            features=get_profile("log-mel-80@1").to_dict(), labels=[], training_data="", repository=repository,
        )  # fmt: skip

    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(bundle, "write_card", full_disk)
    with pytest.raises(OSError, match="no space"):
        export(repository, sorter())
    assert content(repository) == before
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_failure_half_way_through_the_replacement_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path, sorter())
    before = content(tmp_path)
    rename = placing.os.rename
    moved = []

    def fails_at_the_fourth(source: Path, target: Path) -> None:
        moved.append(target)
        if len(moved) == 4:
            raise OSError("disk gone")
        rename(source, target)

    monkeypatch.setattr(placing.os, "rename", fails_at_the_fourth)
    with pytest.raises(OSError, match="disk gone"):
        export(tmp_path, sorter())
    assert content(tmp_path) == before
