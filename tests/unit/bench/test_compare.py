"""Two runs side by side: ratios, what makes them no comparison, and the files that hold them."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from earwitness.bench.compare import compare, read_document
from earwitness.bench.report import bench_document, write_bench
from earwitness.errors import InvalidArgument
from tests.unit.bench.steps import MACHINE, kind, report, step

BEFORE = report(
    [step(1, 5.0), step(2, 8.0)],
    [step(1, 10.0, kind("infer"), load="triton"), step(2, 12.0, kind("infer"), load="triton")],
    [step(0, 7.0, kind(p99_s=2.0, OK=50, RESOURCE_EXHAUSTED=500), planned_per_s=80.0, refused_share=0.9)],
    (10.0,),
)
AFTER = replace(
    BEFORE, closed=(step(1, 5.0, kind(p99_s=0.25)), step(2, 12.0)), machine={**MACHINE, "load_average": [9.0, 9.0, 9.0]}
)


def test_ratios_are_of_the_second_over_the_first() -> None:
    found = compare(bench_document(BEFORE), bench_document(AFTER))
    assert found.differences == ()
    ratios = {each.what: each.ratio for each in found.ratios}
    assert ratios["clients 1: calls/s"] == 1.0
    assert ratios["clients 2: calls/s"] == 1.5
    assert ratios["clients 1: p99 of explain, s"] == 0.5
    assert ratios["Triton alone, clients 2: p50 of infer, s"] == 1.0
    assert ratios["10 times the best rate: row-steps/s"] == 1.0
    assert ratios["calls/s at the knee"] == 1.5
    assert ratios["p99 under overload over unloaded"] == 2.0
    assert found.to_dict()["comparable"] is True


def test_other_machines_models_and_options_are_no_comparison() -> None:
    other = replace(
        BEFORE,
        machine={**MACHINE, "processor": "Example 2"},
        weights_sha256="1" * 64,
        backend="onnxruntime 1.26",
        plan=replace(BEFORE.plan, rows=50, model="other"),
    )
    found = compare(bench_document(BEFORE), bench_document(other))
    assert found.differences == (
        "machine: processor: Example 1 and Example 2",
        "model: tiny and other",
        "weights: 000000000000 and 111111111111",
        "models run on: triton and onnxruntime",
        "option rows: 2 and 50",
    )
    assert found.to_dict()["comparable"] is False
    assert found.ratios  # all the same


def test_steps_that_only_one_has_are_left_out() -> None:
    fewer = replace(BEFORE, closed=BEFORE.closed[:1], plan=replace(BEFORE.plan, clients=(1,)), triton=(), opened=())
    fewer = replace(fewer, plan=replace(fewer.plan, rate_shares=()))
    for pair in ((BEFORE, fewer), (fewer, BEFORE)):
        found = compare(*map(bench_document, pair))
        assert {each.what.partition(":")[0] for each in found.ratios if "clients" in each.what} == {"clients 1"}
        assert any(each.startswith("option clients") for each in found.differences)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}', "\x00"])
def test_what_is_no_benchmark_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InvalidArgument, match=r"^compare: .*x.json is n"):
        read_document(tmp_path / "x.json")


def test_folder_has_table_pictures_and_page(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_bench(folder, BEFORE)
    names = {"bench.json", "bench.csv", "index.html", "throughput.png", "latency.png", "saturation.png", "overload.png"}
    assert {path.name for path in folder.iterdir()} == names
    with (folder / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["loop"] for row in rows] == ["closed", "closed", "triton alone", "triton alone", "open"]
    assert rows[-1]["calls_RESOURCE_EXHAUSTED"] == "500"
    page = (folder / "index.html").read_text()
    for words in ("The knee is at 2 clients", "Triton alone", "500 RESOURCE_EXHAUSTED", 'href="latency.png"', "<svg"):
        assert words in page
    assert read_document(folder) == read_document(folder / "bench.json")
    assert read_document(folder)["conclusions"]["knee"]["clients"] == 2


def test_folder_without_open_loops_or_known_processes_is_written_too(tmp_path: Path) -> None:
    bare = replace(step(1, 0.0, kind(p99_s=None, UNAVAILABLE=3)), cpu_cores={}, machine_busy_share=None)
    folder = tmp_path / "out"
    write_bench(folder, report([bare]))
    assert not (folder / "overload.png").exists()
    assert "No call succeeded" in (folder / "index.html").read_text()
