"""Errors of requests in words of the command line, for each command and each field that it sends."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from google.protobuf.descriptor import Descriptor
from typer.main import get_command

from earwitness.cli.app import app
from earwitness.cli.wording import COMMANDS, Options, option, options_of, translated, violation
from earwitness.explainer.v1 import explainer_pb2 as explainer
from earwitness.scorer.v1 import scorer_pb2 as scorer

SEARCH = (explainer.StreamExplainRequest, explainer.GetModelRequest)
SCORE = (scorer.ScoreRequest, scorer.GetReferenceRequest)
RESULTS = (explainer.GetSweepRequest, explainer.StreamSweepExplanationsRequest)
LISTS = (explainer.ListModelsRequest, scorer.ListReferencesRequest)
SENDS: dict[str, tuple[Any, ...]] = {
    "doctor": LISTS,
    "models": LISTS,
    "explain": (*SEARCH, *SCORE),
    "sweep": (explainer.CreateSweepRequest, explainer.WatchSweepRequest, *RESULTS, explainer.GetModelRequest),
    "score": SCORE,
    "recommend": (explainer.GetModelRequest, scorer.GetReferenceRequest),
    "bench": (),
    "sweeps list": (),
    "sweeps show": RESULTS,
    "sweeps watch": (explainer.WatchSweepRequest, explainer.GetSweepRequest),
    "sweeps resume": (explainer.CreateSweepRequest, explainer.WatchSweepRequest),
    "sweeps cancel": (explainer.WatchSweepRequest,),
    "sweeps rank": (explainer.RankSweepRequest, *RESULTS),
    "sweeps delete": (),
    "reference build": (
        scorer.CreateReferenceRequest, scorer.AppendActivationsRequest, scorer.FreezeReferenceRequest,
    ),
    "reference list": (scorer.ListReferencesRequest,),
    "reference show": (scorer.GetReferenceRequest,),
    "reference export": (scorer.ReadStatisticsRequest,),
    "reference import": (scorer.CreateReferenceRequest, scorer.MergeStatisticsRequest),
    "reference delete": (scorer.DeleteReferenceRequest,),
    "atlas": (explainer.GetModelRequest, explainer.StreamExplainRequest),
    "evaluate explanations": RESULTS,
    "evaluate criteria": RESULTS,
    "evaluate ways": (explainer.GetModelRequest, *RESULTS),
}  # fmt: skip
"""Requests of each command that asks a service."""
OURS = {
    "", "after", "artefacts", "etag", "feature_profile", "max_response_bytes", "page_size", "page_token", "request_id",
    "result_index", "result_indices", "row_count", "row_indices", "shard_count", "unit_count", "view", "weights_sha256",
}  # fmt: skip
"""Fields that no option sets."""
FROM_ELSEWHERE = {
    "models": {"model"},  # asked for all
    "doctor": {"model"},
    "explain": {"activations"},  # those found
    "sweep": {"weight_decay", "resume_from", "name"},  # a name that it was given
    "sweeps resume": {"sweep"},  # what was asked is what the other was asked
    "reference list": {"name"},
    "reference import": {"reference", "model", "layer", "selection", "all", "k", "unit"},  # the file says
    "score": {"model", "layer"},  # the folder or the reference says
    "atlas": {  # what the way is, or the model recommends
        "activations",
        "learning_rate",
        "prior_weight",
        "steps",
        "weight_decay",
        "target",
        "start_draws",
        "direction",
        "reference",
        "keep_count",
        "nearness",
    },
    "evaluate explanations": {"name"},  # of SOURCES
    "evaluate criteria": {"name"},  # of SWEEPS
    "evaluate ways": {"name"},  # of --sweep
}
"""Of some commands what is not an option of theirs, though it is one elsewhere."""
OUTPUT = {"Sweep": {1, *range(8, 17)}, "Reference": {1, *range(9, 14)}}
"""Numbers of fields that only answers have."""


def contexts(command: Any, above: Any = None) -> Iterator[tuple[str, typer.Context]]:
    context = typer.Context(command, info_name=command.name, parent=above)
    for each in getattr(command, "commands", {}).values():
        yield from contexts(each, context)
    if above is not None and not hasattr(command, "commands"):
        yield context.command_path.removeprefix(f"{context.find_root().command_path} "), context


ALL = {path: options_of(context) for path, context in contexts(get_command(app))}


def paths(message: Descriptor, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Of all fields that hold something themselves, be it a list."""
    for field in message.fields:
        if field.number not in OUTPUT.get(message.name, ()):
            path = (*above, field.name)
            if field.message_type is None or field.is_repeated:
                yield path
            if field.message_type is not None:
                yield from paths(field.message_type, path)


def test_the_table_names_each_command_that_asks_a_service() -> None:
    asking = {path for path, options in ALL.items() if {"--explainer", "--scorer"} & set(options.values())}
    assert asking == SENDS.keys()


@pytest.mark.parametrize("command", SENDS)
def test_each_field_that_a_command_sends_is_one_of_its_options(command: str) -> None:
    options, unsaid = ALL[command], OURS | FROM_ELSEWHERE.get(command, set())
    for request in SENDS[command]:
        name = request.DESCRIPTOR.name
        collection = "models" if "Model" in name else "sweeps" if "Sweep" in name else "references"
        for path in paths(request.DESCRIPTOR):
            said = option(".".join(path), options, f"is '{collection}/X'; must be '{collection}/'")
            assert said or unsaid & set(path), f"{name}: {path}"
            assert said is None or set(said.split(", ")) <= set(options.values())


def test_each_rpc_that_a_message_could_name_has_a_command() -> None:
    services = (
        explainer.DESCRIPTOR.services_by_name["ExplainerService"],
        scorer.DESCRIPTOR.services_by_name["ScorerService"],
    )
    rpcs = {method.name for service in services for method in service.methods}
    assert rpcs - COMMANDS.keys() == {"Explain", "Score", "Rank"}  # words, too
    for words in COMMANDS.values():
        command, _, found = words.partition(" --")
        assert command in ALL
        assert not found or f"--{found}" in ALL[command].values()


EXPLAIN, SWEEP, BUILD, RANK = (ALL[each] for each in ("explain", "sweep", "reference build", "sweeps rank"))


@pytest.mark.parametrize(
    ("options", "field", "description", "line"),
    [
        (EXPLAIN, "search.rows[3].settings.learning_rate", "got -1", "--lr: got -1"),
        (EXPLAIN, "search.rows", "got 257 rows", "--count: got 257 rows"),
        (EXPLAIN, "search.objective.sense", "is 0", "--maximise/--minimise: is 0"),
        (EXPLAIN, "name", "is 'models/X'; must be 'models/'", "MODEL: is 'models/X'; must be 'models/'"),
        (EXPLAIN, "name", "is 'references/X'", "--reference: is 'references/X'"),
        (EXPLAIN, "weight_decay", "got 1 beside a prior_weight", "--weight-decay: got 1 beside a --prior"),
        (EXPLAIN, "unit", "got 7", "--unit: got 7"),
        (EXPLAIN, "token_file", "token is empty", "--token-file: token is empty"),
        (SWEEP, "sweep.grid.learning_rates[0]", "got nan", "--lr: got nan"),
        (SWEEP, "sweep.grid", "2 × 3 values", "--lr, --prior, --steps: 2 × 3 values"),
        (SWEEP, "sweep.first_seed", "got -1", "--seed: got -1"),
        (SWEEP, "sweep.objectives[0].objective.direction.weights[3]", "got inf", "--direction: got inf"),
        (SWEEP, "sweep", "3 objectives × 4", "sweep: 3 objectives × 4"),
        (SWEEP, "sweep.objectives[1].reference", "no; ListReferences names more",
         "--reference: no; `earwitness reference list` names more"),
        (RANK, "references[0]", "is x", "--reference: is x"),
        (RANK, "name", "is 'sweeps/X'", "SWEEP: is 'sweeps/X'"),
        (BUILD, "reference_id", "is X", "NAME: is X"),
        (BUILD, "reference.selection.top.k", "is 1", "--top: is 1"),
        (BUILD, "reference.selection.bottom.unit", "is 9", "--unit: is 9"),
        (BUILD, "chunk", "row 3 is nan", "AUDIO, --activations: row 3 is nan"),
        ({}, "search.settings.steps", "got 0", "steps: got 0"),
    ],
)  # fmt: skip
def test_a_field_is_told_as_its_option(options: Options, field: str, description: str, line: str) -> None:
    assert violation(field, description, options) == line


@pytest.mark.parametrize(
    "text",
    [
        "sweep.json is there", "a.steps.wav: No such file", "got 'prior_weight'", "steps and rows",
        "see ./prior_weight/x", "Rank them", "max_rows limits it", "--prior_weight",
    ],
)  # fmt: skip
def test_what_is_no_field_and_no_rpc_stays_as_it_is(text: str) -> None:
    assert translated(text, EXPLAIN) == text
    assert translated(text, RANK) == text


def test_suggestions_name_commands() -> None:
    said = "sweeps/s1 is running; wait for its end, or cancel operations/s1"
    assert translated(said, RANK).endswith("or `earwitness sweeps cancel s1`")
    assert translated("cancelled; GetSweep has what was done", {}) == (
        "cancelled; `earwitness sweeps show` has what was done"
    )
