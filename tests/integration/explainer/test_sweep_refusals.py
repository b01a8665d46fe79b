"""What the sweep calls refuse, through a real server: each by its field, its limit and the way out."""

from uuid import uuid4

import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.integration.explainer.running import FC3_0, Running, failure
from tests.integration.explainer.sweeping import GRID, Sweeping, sweep


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model": "tiny"}, "sweep.model", "models/"),
        ({"objectives": []}, "sweep.objectives", "got none"),
        ({"objectives": [pb.SweepObjective()]}, "sweep.objectives[0].objective", "unset"),
        ({"objectives": [pb.SweepObjective(objective=pb.Objective(layer="fc9", unit=0, sense=1))]},
         "sweep.objectives[0].objective.layer", "fc3"),
        ({"objectives": [pb.SweepObjective(objective=FC3_0)] * 2}, "sweep.objectives[1]", "repeats"),
        ({"objectives": [pb.SweepObjective(objective=FC3_0, reference="references/r")]},
         "sweep.objectives[0].reference", "scorer_address"),
        ({"objectives": [pb.SweepObjective(objective=FC3_0, reference="r")]}, "sweep.objectives[0].reference", "must"),
        ({"grid": None}, "sweep.plan", "sweep.grid or"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], steps=[1])}, "sweep.grid.prior_weights", "at least one"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1, 11], prior_weights=[0], steps=[1])},
         "sweep.grid.learning_rates[1]", "at most 10"),
        ({"grid": pb.SweepGrid(learning_rates=[float("nan")], prior_weights=[0], steps=[1])},
         "sweep.grid.learning_rates[0]", "got nan"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[0, float("inf")], steps=[1])},
         "sweep.grid.prior_weights[1]", "got inf"),
        ({"grid": None, "settings_list": pb.SettingsList(settings=[pb.Settings(prior_weight=float("nan"))])},
         "sweep.settings_list.settings[0].prior_weight", "got nan"),
        ({"objectives": [pb.SweepObjective(objective=pb.Objective(
            layer="fc3", direction=pb.Direction(units=[0], weights=[float("nan")]), sense=1))]},
         "sweep.objectives[0].objective.direction.weights[0]", "finite"),
        ({"objectives": [pb.SweepObjective(objective=pb.Objective(layer="fc3", direction=pb.Direction(), sense=1))]},
         "sweep.objectives[0].objective.direction.units", "at least one unit"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[-1], steps=[1])},
         "sweep.grid.prior_weights[0]", "0"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[0], steps=[0])}, "sweep.grid.steps[0]", "10000"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[0, 0], steps=[1])},
         "sweep.grid.prior_weights[1]", "repeats"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[0], steps=[1], optimisers=[7])},
         "sweep.grid.optimisers[0]", "OPTIMISER_ADAM"),
        ({"grid": pb.SweepGrid(learning_rates=[0.1] * 100, prior_weights=[0] * 100, steps=[1] * 100)},
         "sweep.grid", "1000000 settings; a sweep has at most 1000: take fewer values"),
        ({"grid": None, "settings_list": pb.SettingsList(settings=[pb.Settings()] * 1001)},
         "sweep.settings_list.settings", "1 to 1000"),
        ({"grid": None, "settings_list": pb.SettingsList(settings=[pb.Settings(steps=1), pb.Settings(steps=1)])},
         "sweep.settings_list.settings[1]", "repeats"),
        ({"grid": None, "settings_list": pb.SettingsList(settings=[pb.Settings(learning_rate=0)])},
         "sweep.settings_list.settings[0].learning_rate", "greater than 0"),
        ({"seed_count": 0}, "sweep.seed_count", "at least 1"),
        ({"seed_count": 2**30}, "sweep", "at most 50000"),
        ({"first_seed": 2**63 - 5}, "sweep.first_seed", "2^63"),
        ({"first_seed": -1}, "sweep.first_seed", "2^63"),
        ({"seed_count": 4000, "grid": pb.SweepGrid(learning_rates=[0.1], prior_weights=[0], steps=[10_000])},
         "sweep", "40000000 row-steps; a sweep has at most 20000000"),
    ],
)  # fmt: skip
async def test_what_cannot_be_swept_is_refused_before_it_is_stored(explainer: Running, changes, field, said) -> None:
    sweeping = Sweeping.of(explainer.channel)
    refused = await failure(sweeping.create(sweep(**changes)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.violations[0].field == field
    assert said in refused.message
    listed = await sweeping.operations.ListOperations(operations_pb2.ListOperationsRequest())
    assert not listed.operations


async def test_the_last_seeds_there_are_can_be_swept(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(sweep(first_seed=2**63 - 6))
    assert (await sweeping.wait(sweep_id)).HasField("response")
    assert [each.seed for each in await sweeping.explanations(sweep_id, 0)] == [2**63 - 6 + row for row in range(6)]


async def test_names_and_indices_are_checked(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    refused = await failure(sweeping.create(sweep(), "not-a-uuid"))
    assert refused.violations[0].field == "request_id"
    refused = await failure(sweeping.create(sweep(model="models/none")))
    assert refused.reason == "MODEL_NOT_FOUND"
    for call in (sweeping.get("none"), sweeping.metadata("none"), sweeping.cancel("none"), sweeping.until("none", 1)):
        refused = await failure(call)
        assert (refused.code, refused.resource_name) == (grpc.StatusCode.NOT_FOUND, "sweeps/none")
    request_id = str(uuid4())
    sweep_id = await sweeping.create(sweep(), request_id)
    await sweeping.wait(sweep_id)
    refused = await failure(sweeping.resume(sweep_id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SWEEP_NOT_RESUMABLE")
    assert "succeeded: all its results are there" in refused.message
    refused = await failure(sweeping.resume(sweep_id, request_id))
    assert refused.violations[0].field == "request_id"
    assert (await failure(sweeping.resume("none"))).resource_name == "sweeps/none"
    for request, field in (
        (pb.CreateSweepRequest(sweep=sweep(), resume_from=f"sweeps/{sweep_id}"), "sweep"),
        (pb.CreateSweepRequest(resume_from=sweep_id), "resume_from"),
    ):
        request.request_id = str(uuid4())
        refused = await failure(sweeping.explainer.CreateSweep(request))
        assert refused.violations[0].field == field
    for index, rows, field in ((12, [], "result_index"), (0, [6], "row_indices[0]"), (0, [1, 1], "row_indices")):
        refused = await failure(sweeping.explanations(sweep_id, index, rows=rows))
        assert refused.violations[0].field == field
    ranking = pb.RankSweepRequest(name=f"sweeps/{sweep_id}", references=["references/r"])
    refused = await failure(sweeping.explainer.RankSweep(ranking))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_SCORER")
    basic = await sweeping.get(sweep_id, pb.SWEEP_VIEW_BASIC)
    assert [result.done for result in basic.results] == [True] * len(basic.results) == [True] * 12
    assert not basic.results[0].activations
    assert basic.grid == GRID
    some = pb.GetSweepRequest(name=f"sweeps/{sweep_id}", result_indices=[3] * 12)
    found = (await sweeping.explainer.GetSweep(some)).sweep
    assert [len(result.activations) for result in found.results] == [0, 0, 0, 6] + [0] * 8


async def test_millions_of_indices_are_refused_before_each_is_looked_at(explainer: Running) -> None:
    """They held up every other call for seconds once."""
    sweeping = Sweeping.of(explainer.channel)
    await sweeping.wait(sweep_id := await sweeping.create(sweep()))
    name, many = f"sweeps/{sweep_id}", [0] * 4_000_000
    some = pb.GetSweepRequest(name=name, result_indices=many)
    refused = await failure(sweeping.explainer.GetSweep(some))
    assert (refused.violations[0].field, refused.violations[0].description) == (
        "result_indices", "got 4000000; there are 12",
    )  # fmt: skip
    refused = await failure(sweeping.explanations(sweep_id, 0, rows=many))
    assert (refused.violations[0].field, refused.violations[0].description) == (
        "row_indices", "got 4000000; there are 6",
    )  # fmt: skip


async def test_a_wait_of_no_time_at_all_is_refused(explainer: Running) -> None:
    """What protobuf itself cannot turn into seconds was answered with INTERNAL once."""
    sweeping = Sweeping.of(explainer.channel)
    name = f"operations/{await sweeping.create(sweep())}"
    for seconds, nanos in ((-(2**63), 1000), (2**63 - 1, 0), (0, -1)):
        request = operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=seconds, nanos=nanos))
        refused = await failure(sweeping.operations.WaitOperation(request))
        assert (refused.code, refused.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "timeout")
    longest = operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=315_576_000_000))
    assert (await sweeping.operations.WaitOperation(longest)).done
