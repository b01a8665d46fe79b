"""One trace from a caller's program through explainer, Triton and scorer, as a real collector receives it."""

from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

from earwitness.cli.connection import inference_backend
from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import ExplainerClient, Objective, ScorerClient, Search, Selection, Settings, build_reference
from earwitness.client.sweep_values import SweepObjective, SweepPlan
from earwitness.client.sweeps import SweepClient
from earwitness.inference.triton_install import TritonInstall
from tests.helpers.collector import Collector, Span, collector
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.cli.served import write_recording

EXPLAIN = "earwitness.explainer.v1.ExplainerService/Explain"
CREATE_SWEEP = "earwitness.explainer.v1.ExplainerService/CreateSweep"
RANK = "earwitness.scorer.v1.ScorerService/Rank"
INFER = "inference.GRPCInferenceService/ModelInfer"
CLIENT = 3


async def use(stack: Stack, folder: Path) -> str:
    """An explanation and a sweep, asked for within a span of ours; the ids of its trace and its own."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("a caller's program")
    backend = inference_backend(None, None, stack.settings.data)
    async with (
        ExplainerClient(stack.endpoints.explainer) as explainer,
        SweepClient(stack.endpoints.explainer) as sweeps,
        ScorerClient(stack.endpoints.scorer) as scorer,
    ):
        recordings = [write_recording(folder / "a.wav", 8)]
        everything = Selection("all")
        await build_reference(
            scorer, backend, "all", model="tiny", layer="fc3", selection=everything, recordings=recordings
        )
        await backend.close()
        objective = Objective("fc3", 0)
        with tracer.start_as_current_span("mine") as span:
            await explainer.explain(Search.of("tiny", objective, row_count=3, settings=Settings(steps=40)))
            plan = SweepPlan("tiny", [SweepObjective(objective, reference="all")], [Settings(steps=30)], seed_count=4)
            started = await sweeps.create(plan)
        states = [progress.state async for progress in sweeps.watch(started.sweep_id)]
        assert states[-1] == "succeeded"
    context = span.get_span_context()
    return f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"


def check_model_calls(collected: Collector, parent: Span, passes: list[int]) -> None:
    """Of many calls to a model a few are kept, and these have Triton's spans below them.

    `passes` are those of generator and classifier: one at the end, and the first search of a layer asks whether both
    are the search graph's.

    Not each of them: this Triton reads a header as if it ended with a zero byte, and a few in a hundred do not.
    """
    calls = [span for span in collected.children(parent) if span.name == INFER]
    kept = {model: [] for model in ("tiny_search", "tiny_generator", "tiny_classifier")}
    for call in calls:
        assert (call.kind, call.attributes["rpc.grpc.status_code"]) == (CLIENT, 0)
        kept[call.attributes["earwitness.served_model"]].append(call.attributes["earwitness.repeat"])
    served = [(call, request) for call in calls for request in collected.children(call)]
    assert served
    for call, request in served:
        assert (request.service, request.name) == ("earwitness-triton", "InferRequest")
        (model,) = collected.children(request)
        assert model.attributes["triton.model_name"] == call.attributes["earwitness.served_model"]
        assert [span.name for span in collected.children(model)] == ["compute"]
    steps = kept["tiny_search"]
    assert steps == [2**power for power in range(len(steps))]
    assert len(steps) in (5, 6), "of 30 steps or 40, and some to look at the gradient"
    assert kept["tiny_generator"] == kept["tiny_classifier"] == passes


async def test_a_trace_spans_all_of_it(triton_install: TritonInstall, tmp_path: Path) -> None:
    models = write_tiny_bundle(tmp_path / "models").repository
    with collector() as collected:
        settings = StackSettings(
            models, tmp_path / "data", "triton", ports=Ports(0, 0, 0, 0, 0, 0), trace_endpoint=collected.endpoint
        )
        async with Stack(settings) as stack:
            mine = await use(stack, tmp_path)
        # What each has left it sends when it stops.
        (explain,) = collected.named(EXPLAIN)
        assert (explain.service, f"{explain.trace_id}-{explain.parent_id}") == ("earwitness-explainer", mine)
        (search,) = collected.children(explain)
        assert search.attributes == {
            "earwitness.model": "tiny",
            "earwitness.layers": "fc3",
            "earwitness.rows": 3,
            "earwitness.steps": 40,
            "earwitness.stopped_by": "completed",
        }
        check_model_calls(collected, search, [1, 2])

        (creation,) = collected.named(CREATE_SWEEP)
        assert f"{creation.trace_id}-{creation.parent_id}" == mine
        (sweep,) = collected.named("sweep")
        assert (sweep.links, sweep.parent_id) == ((creation.span_id,), "")
        assert sweep.trace_id != creation.trace_id, "it may run for days"
        assert sweep.attributes["earwitness.state"] == "succeeded"
        (block,) = [span for span in collected.children(sweep) if span.name == "sweep block"]
        assert block.attributes["earwitness.row_steps"] == 4 * 30
        check_model_calls(collected, block, [1])
        (asked,) = [span for span in collected.children(sweep) if span.name == RANK]
        (answered,) = collected.children(asked)
        assert (answered.service, answered.name) == ("earwitness-scorer", RANK)
        assert {span.name for span in collected.children(answered)} == {"store read"}
        known = {span.span_id for span in collected.spans if span.name == INFER}
        served = [span for span in collected.spans if span.name == "InferRequest"]
        assert {span.parent_id for span in served} <= known, "Triton traces nothing else"
