"""What is asked of every answer, whatever the request was."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from earwitness.explainer.v1 import explainer_pb2
from earwitness.rpc.context import REQUEST_ID_KEY
from earwitness.rpc.errors import DETAILS_KEY, DOMAIN, MAX_MESSAGE_BYTES, PUSHBACK_KEY
from earwitness.types.v1.tensor_pb2 import Tensor

Code = grpc.StatusCode
EXPECTED = frozenset(
    {
        *(Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION),
        *(Code.ABORTED, Code.RESOURCE_EXHAUSTED),
    }
)
"""Every neighbour is there and there is time enough: nothing is unavailable, late, unimplemented or internal."""
MAY_FAIL_WITH = (Code.CANCELLED.value[0], Code.FAILED_PRECONDITION.value[0])
"""A sweep that was taken up: cancelled, or of a model that is not fit for it."""
TRAILERS_BYTES = 8192
"""More than this gRPC's peers refuse, and a proxy may refuse less."""
REASON = re.compile(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]")
_DETAIL_TYPES = {
    Code.INVALID_ARGUMENT: error_details_pb2.BadRequest,
    Code.NOT_FOUND: error_details_pb2.ResourceInfo,
    Code.ALREADY_EXISTS: error_details_pb2.ResourceInfo,
    Code.RESOURCE_EXHAUSTED: error_details_pb2.RetryInfo,
}


@dataclass(frozen=True)
class Answer:
    """How a call ended."""

    code: grpc.StatusCode
    message: str
    trailers: Sequence[tuple[str, str | bytes]]
    responses: Sequence[bytes]
    seconds: float


def faults(method: MethodDescriptor, answer: Answer) -> Iterator[str]:
    """Everything that is wrong with an answer, in words."""
    if answer.code not in EXPECTED:
        yield f"answered {answer.code.name}: {answer.message}"
        return
    size = sum(len(key) + len(value) + 32 for key, value in answer.trailers)
    if size > TRAILERS_BYTES:
        yield f"the trailers take {size} bytes, more than peers accept"
    if answer.code is Code.OK:
        for data in answer.responses:
            yield from _response_faults(GetMessageClass(method.output_type), data)
    else:
        yield from _status_faults(method, answer)


def _status_faults(method: MethodDescriptor, answer: Answer) -> Iterator[str]:
    trailers = dict(answer.trailers)
    status = status_pb2.Status()
    try:
        status.ParseFromString(trailers[DETAILS_KEY])
    except (KeyError, DecodeError) as err:
        yield f"{answer.code.name} without readable details ({err!r})"
        return
    if (status.code, status.message) != (answer.code.value[0], answer.message):
        yield f"the details say {status.code} {status.message!r}, the status {answer.code} {answer.message!r}"
    if not 0 < len(status.message.encode()) <= MAX_MESSAGE_BYTES:
        yield f"the message has {len(status.message.encode())} bytes"
    details = {each.TypeName(): each for each in status.details}
    if len(details) < len(status.details):
        yield "a kind of detail is there twice"
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    if info.DESCRIPTOR.full_name not in details or request.DESCRIPTOR.full_name not in details:
        yield f"ErrorInfo or RequestInfo is missing among {sorted(details)}"
        return
    details[info.DESCRIPTOR.full_name].Unpack(info)
    details[request.DESCRIPTOR.full_name].Unpack(request)
    if info.domain != DOMAIN or not REASON.fullmatch(info.reason):
        yield f"ErrorInfo is of {info.domain!r} with the reason {info.reason!r}"
    if request.request_id != trailers.get(REQUEST_ID_KEY):
        yield f"RequestInfo says {request.request_id!r}, the trailers {trailers.get(REQUEST_ID_KEY)!r}"
    wanted = _DETAIL_TYPES.get(answer.code)
    if wanted is None:
        return
    detail = wanted()
    if wanted.DESCRIPTOR.full_name not in details:
        yield f"{answer.code.name} without {wanted.DESCRIPTOR.name}"
        return
    details[wanted.DESCRIPTOR.full_name].Unpack(detail)
    if isinstance(detail, error_details_pb2.BadRequest):
        yield from _violation_faults(method, detail)
    elif isinstance(detail, error_details_pb2.ResourceInfo) and not (detail.resource_type and detail.resource_name):
        yield f"ResourceInfo names nothing: {detail}"
    elif isinstance(detail, error_details_pb2.RetryInfo) and not (
        detail.retry_delay.ToMilliseconds() > 0 and PUSHBACK_KEY in trailers
    ):
        yield "a retry is asked for without saying when"


def _violation_faults(method: MethodDescriptor, detail: error_details_pb2.BadRequest) -> Iterator[str]:
    if len(detail.field_violations) != 1:
        yield f"{len(detail.field_violations)} field violations"
    for each in detail.field_violations:
        if not each.description:
            yield f"nothing said of {each.field}"
        if each.field != "request" and not _is_path(method.input_type, each.field):
            yield f"{each.field!r} is no field of {method.input_type.name}"


def _is_path(message: Descriptor, path: str) -> bool:
    """True for "a.b[3].c" where the message has such fields; the last may be a oneof."""
    name, _, rest = path.partition(".")
    name = re.sub(r"\[\d+\]$", "", name)
    found = message.fields_by_name.get(name)
    if found is None:
        return not rest and name in message.oneofs_by_name
    return not rest or (found.message_type is not None and _is_path(found.message_type, rest))


def _response_faults(response_class: type[Message], data: bytes) -> Iterator[str]:
    try:
        response = response_class.FromString(data)
    except DecodeError:
        yield f"the answer is no {response_class.DESCRIPTOR.name}"
        return
    for field, value in _floats(response):
        if not math.isfinite(value):
            yield f"{field.full_name} of the answer is {value}"
            return
    for operation in _operations(response):
        if operation.HasField("error") and operation.error.code not in MAY_FAIL_WITH:
            yield f"{operation.name} failed with {operation.error.code}: {operation.error.message}"


def _operations(response: Message) -> Sequence[operations_pb2.Operation]:
    if isinstance(response, operations_pb2.Operation):
        return [response]
    return list(response.operations) if isinstance(response, operations_pb2.ListOperationsResponse) else []


def _floats(message: Message) -> Iterator[tuple[FieldDescriptor, float]]:
    """Every number with a fraction in a message, tensors' among them; not what was asked for in a sweep."""
    for field, value in message.ListFields():
        entries = value if field.is_repeated else [value]
        if isinstance(message, Tensor) and field.name == "data":
            numbers = np.frombuffer(value, "<f4" if message.datatype == "FP32" else "<f8")
            yield from ((field, float(each)) for each in numbers)
        elif field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            yield from ((field, each) for each in entries)
        elif field.message_type is not None and not isinstance(message, explainer_pb2.Settings):
            for each in entries:
                yield from _floats(each)
