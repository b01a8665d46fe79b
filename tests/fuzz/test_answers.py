"""What fuzzing holds against an answer is seen where it is there, and not where it is not."""

import math
from dataclasses import replace

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2
from google.rpc import status_pb2

from earwitness import errors
from earwitness.explainer.v1 import explainer_pb2
from earwitness.rpc.context import REQUEST_ID_KEY
from earwitness.rpc.errors import DETAILS_KEY, PUSHBACK_KEY, status_of
from earwitness.scorer.v1 import scorer_pb2
from earwitness.types.v1.tensor_pb2 import Tensor
from tests.fuzz.answers import Answer, faults
from tests.fuzz.draw import Rpc, draw, every_rpc
from tests.fuzz.stage import Stage

RPCS = {each.name: each for each in every_rpc()}
SCORE, EXPLAIN = RPCS["scorer Score"].method, RPCS["explainer Explain"].method


def refusal(err: errors.EarwitnessError, *more: tuple[str, str]) -> Answer:
    """As the server sends it."""
    status = status_of(err, "id")
    trailers = ((REQUEST_ID_KEY, "id"), (DETAILS_KEY, status.SerializeToString()), *more)
    return Answer(grpc.StatusCode[err.code], status.message, trailers, (), 0.0)


def answer(*messages: object) -> Answer:
    return Answer(grpc.StatusCode.OK, "", (), [each.SerializeToString() for each in messages], 0.0)


def with_details(given: Answer, status: status_pb2.Status) -> Answer:
    return replace(given, trailers=((REQUEST_ID_KEY, "id"), (DETAILS_KEY, status.SerializeToString())))


WRONG_FIELD = errors.InvalidArgument("activations.shape", "is wrong")
LATENT = explainer_pb2.Explanation(latent=Tensor(datatype="FP32", shape=[1], data=np.float32(np.inf).tobytes()))


@pytest.mark.parametrize(
    "given",
    [
        answer(scorer_pb2.ScoreResponse(score=scorer_pb2.Score(distance=1.0))),
        refusal(WRONG_FIELD),
        refusal(errors.InvalidArgument("request", "no message")),
        refusal(errors.NotFound("earwitness.scorer.v1.Reference", "references/x", "make it")),
        refusal(errors.ResourceExhausted("busy"), (PUSHBACK_KEY, "1000")),
    ],
)
def test_proper_answers_are_not_faulted(given: Answer) -> None:
    assert list(faults(SCORE, given)) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (refusal(errors.Internal("x")), "answered INTERNAL"),
        (refusal(errors.Unavailable("x")), "answered UNAVAILABLE"),
        (refusal(errors.DeadlineExceeded("x")), "answered DEADLINE_EXCEEDED"),
        (Answer(grpc.StatusCode.NOT_FOUND, "x", (), (), 0.0), "without readable details"),
        (replace(refusal(WRONG_FIELD), message="other"), "the details say"),
        (
            with_details(refusal(WRONG_FIELD), status_pb2.Status(code=3, message="activations.shape: is wrong")),
            "ErrorInfo",
        ),
        (replace(refusal(WRONG_FIELD), code=grpc.StatusCode.NOT_FOUND), "NOT_FOUND without ResourceInfo"),
        (refusal(errors.InvalidArgument("activations.size", "x")), "'activations.size' is no field of ScoreRequest"),
        (refusal(errors.InvalidArgument("activations", "")), "nothing said of activations"),
        (refusal(errors.ResourceExhausted("busy")), "without saying when"),
        (refusal(WRONG_FIELD, ("x", "y" * 9000)), "more than peers accept"),
        (
            answer(scorer_pb2.ScoreResponse(score=scorer_pb2.Score(distance=math.nan))),
            "Score.distance of the answer is nan",
        ),
        (replace(answer(), responses=[b"\xff"]), "the answer is no ScoreResponse"),
    ],
)
def test_improper_answers_are_faulted(given: Answer, said: str) -> None:
    assert any(said in fault for fault in faults(SCORE, given)), list(faults(SCORE, given))


def test_infinity_in_a_tensor_and_an_operation_that_failed_are_faulted() -> None:
    given = answer(explainer_pb2.ExplainResponse(explanations=[LATENT]))
    assert list(faults(EXPLAIN, given)) == ["earwitness.types.v1.Tensor.data of the answer is inf"]
    operation = operations_pb2.Operation(name="operations/s", error=status_pb2.Status(code=13, message="internal"))
    (fault,) = faults(RPCS["explainer GetOperation"].method, answer(operation))
    assert fault == "operations/s failed with 13: internal"


@pytest.mark.parametrize("rpc", RPCS.values(), ids=RPCS)
def test_a_seed_draws_the_same_requests_and_others_draw_others(rpc: Rpc) -> None:
    unused: object = None
    stage = Stage(
        unused, {}, unused, unused, unused, model="models/tiny", weights_sha256="ab" * 32, sweeps=["s"],
        victims=["v"], etags=['"e"'], tokens={"references": "t"},
    )  # fmt: skip
    requests = [draw(rpc, 1, index, stage) for index in range(60)]
    assert requests == [draw(rpc, 1, index, stage) for index in range(60)]
    assert len({each.messages for each in requests}) > 20
    assert [each.messages for each in requests] != [draw(rpc, 2, index, stage).messages for index in range(60)]
    assert all(request.show(rpc).startswith("again: ") for request in requests)
