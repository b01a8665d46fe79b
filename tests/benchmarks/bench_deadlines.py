"""Whether calls with a deadline end OK before it: `bench_deadlines.py [--calls N] [--busy N] [--json PATH]`.

The contract of Explain is that the best so far comes back near the deadline, however many rows there are and whatever
they are to hold. This counts: `--calls` calls for each of the cases that are chosen (rows × artefacts × deadlines ×
unary or streamed), one after another, of more steps than there is time for, while `--busy` processes take a core each.
A call is good that is OK before its deadline, holds every row, in order, and says how it ended.

It exits with 1 when a call was not good. Nothing can keep a deadline that does not suffice for two evaluations of all
rows and the passes after them: the script tells what one evaluation takes, so that such cases can be told apart.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from tests.helpers.services import Service, service

REPOSITORY = Path(__file__).parents[2] / "model_repository"
LARGEST = 64 * 2**20
STEPS = 10_000
ARTEFACTS: dict[str, tuple[int, ...]] = {
    "none": (),
    "audio": (pb.ARTEFACT_AUDIO,),
    "picture": (pb.ARTEFACT_PICTURE,),
    "trajectory": (pb.ARTEFACT_TRAJECTORY,),
    "all": (pb.ARTEFACT_AUDIO, pb.ARTEFACT_PICTURE, pb.ARTEFACT_TRAJECTORY),
}


@dataclass(frozen=True)
class Case:
    """What is asked."""

    rows: int
    artefacts: str
    deadline_s: float
    streamed: bool


@dataclass(frozen=True)
class Call:
    """What became of it: `said` is "" for a good one, `spare_s` what was left of its time."""

    said: str
    spare_s: float
    steps: int
    sounds: int
    pictures: int


def objective(model: str) -> pb.Objective:
    """The first unit of a shipped model's output, or of the tests' tiny one."""
    layer = {"tiny": "fc3", "svd-r1": "fc9", "svd-r2": "fc9"}[model]
    return pb.Objective(layer=layer, unit=0, sense=pb.SENSE_MAXIMISE)


def search(model: str, rows: int, steps: int) -> pb.Search:
    """Rows that differ by their seed."""
    settings = pb.Settings(steps=steps)
    seeds = [pb.Row(seed=seed) for seed in range(rows)]
    return pb.Search(model=f"models/{model}", objective=objective(model), settings=settings, rows=seeds)


async def answered(stub: Any, case: Case, model: str) -> tuple[list[Any], Any]:
    """Explanations and summary of one call."""
    asked = {"search": search(model, case.rows, STEPS), "artefacts": ARTEFACTS[case.artefacts]}
    if "max_response_bytes" in pb.ExplainRequest.DESCRIPTOR.fields_by_name:
        asked["max_response_bytes"] = LARGEST
    if not case.streamed:
        answer = await stub.Explain(pb.ExplainRequest(**asked), timeout=case.deadline_s)
        return list(answer.explanations), answer.summary
    found: list[Any] = []
    summary = None
    async for event in stub.StreamExplain(pb.StreamExplainRequest(**asked), timeout=case.deadline_s):
        if event.HasField("explanation"):
            found.append(event.explanation)
        elif event.HasField("summary"):
            summary = event.summary
    return found, summary


async def call(stub: Any, case: Case, model: str) -> Call:
    """One call, judged."""
    begun = time.monotonic()
    try:
        found, summary = await answered(stub, case, model)
    except grpc.aio.AioRpcError as err:
        return Call(f"{err.code().name}: {err.details()}", begun + case.deadline_s - time.monotonic(), 0, 0, 0)
    spare_s = begun + case.deadline_s - time.monotonic()
    said = ""
    if [each.row_index for each in found] != list(range(case.rows)):
        said = f"{len(found)} of {case.rows} rows"
    elif summary is None or summary.stopped_by != pb.STOPPED_BY_DEADLINE:
        said = "no summary, or one that does not tell of the deadline"
    steps = 0 if summary is None else summary.row_step_count // case.rows
    sounds, pictures = (sum(bool(getattr(each, name)) for each in found) for name in ("audio_wav", "picture_png"))
    return Call(said, spare_s, steps, sounds, pictures)


def burn() -> None:
    """Take a core."""
    while True:
        sum(range(10_000))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that take a core each."""
    burning = [multiprocessing.Process(target=burn, daemon=True) for _ in range(count)]
    for each in burning:
        each.start()
    try:
        yield
    finally:
        for each in burning:
            each.kill()
            each.join()


async def measured(
    started: Service, cases: list[Case], model: str, calls: int, *, cold: bool
) -> list[tuple[Case, list[Call]]]:
    """Every case, so many calls each; a line of output for each."""
    options = [("grpc.max_receive_message_length", LARGEST)]
    async with grpc.aio.insecure_channel(started.address, options=options) as channel:
        stub: Any = explainer_pb2_grpc.ExplainerServiceStub(channel)
        if not cold:
            for _ in range(3):
                await stub.Explain(pb.ExplainRequest(search=search(model, 2, 5), artefacts=ARTEFACTS["all"]))
        for rows in sorted({case.rows for case in cases}):
            begun = time.monotonic()
            request = pb.StreamExplainRequest(search=search(model, rows, 5))
            events = [event async for event in stub.StreamExplain(request)]
            seconds = events[-1].summary.search_duration.ToTimedelta().total_seconds()
            call_s = time.monotonic() - begun
            print(f"{rows} rows: an evaluation takes {seconds / 6:.3f} s, a call of 5 steps {call_s:.2f} s")
        found = []
        for case in cases:
            made = [await call(stub, case, model) for _ in range(calls)]
            found.append((case, made))
            good = sum(not each.said for each in made)
            why = "; ".join(sorted({each.said for each in made if each.said}))
            how = "streamed" if case.streamed else "unary"
            steps, sounds, pictures = (
                statistics.median(getattr(each, name) for each in made) for name in ("steps", "sounds", "pictures")
            )
            print(
                f"{case.rows:4} rows {case.artefacts:10} {case.deadline_s:g} s {how:8}: {good} of {calls} good, "
                f"{min(each.spare_s for each in made):.3f} s to spare, {steps:g} steps, {sounds:g} sounds, "
                f"{pictures:g} pictures {why}",
                flush=True,
            )
    return found


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="svd-r1", help="tiny, svd-r1 or svd-r2 (%(default)s)")
    parser.add_argument("--calls", type=int, default=1, help="of each case (%(default)s)")
    parser.add_argument("--busy", type=int, default=2, help="processes that take a core each (%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 64, 128, 256])
    parser.add_argument("--artefacts", nargs="+", choices=ARTEFACTS, default=list(ARTEFACTS))
    parser.add_argument("--deadlines", type=float, nargs="+", default=[1.0, 2.0, 3.0, 5.0], help="seconds")
    parser.add_argument("--kinds", nargs="+", choices=("unary", "streamed"), default=["unary", "streamed"])
    parser.add_argument("--cold", action="store_true", help="begin before what renders is loaded")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cases = [
        Case(rows, artefacts, deadline_s, kind == "streamed")
        for rows, artefacts, deadline_s, kind in itertools.product(
            given.rows, given.artefacts, given.deadlines, given.kinds
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        repository = REPOSITORY
        if given.model == "tiny":
            from tests.helpers.tiny_bundle import write_tiny_bundle

            repository = write_tiny_bundle(Path(folder)).repository
        settings = {"backend": "local", "model_repository": repository, "data_dir": Path(folder) / "data"}
        async with service("explainer", **settings) as started:
            with busy(given.busy):
                found = await measured(started, cases, given.model, given.calls, cold=given.cold)
    good = sum(not each.said for _, made in found for each in made)
    count = sum(len(made) for _, made in found)
    print(f"{good} of {count} good")
    if given.json is not None:
        lines = [{**asdict(case), "calls": [asdict(each) for each in made]} for case, made in found]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(lines, indent=1))
    return 0 if good == count else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
