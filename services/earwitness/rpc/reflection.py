"""Server reflection in both of its versions: `grpc.reflection.v1`, and `v1alpha`, which older tools ask for.

grpcio-reflection knows v1alpha alone. Version 1 is the same file under another package, message by message and field by
field, so its description is made of the other's, and its calls are answered by the other's servicer.
"""

from collections.abc import Sequence

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

_ALPHA_PACKAGE, _PACKAGE = "grpc.reflection.v1alpha", "grpc.reflection.v1"
SERVICES = (f"{_PACKAGE}.ServerReflection", f"{_ALPHA_PACKAGE}.ServerReflection")


def enable_reflection(names: Sequence[str], server: grpc.aio.Server) -> None:
    """Have `server` describe the services of these full names, and reflection itself."""
    _describe_version_1()
    described = [*names, *SERVICES]
    reflection.enable_server_reflection(described, server)
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(described).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICES[0], {"ServerReflectionInfo": handler}),)
    )


def _describe_version_1() -> None:
    """Adds its file to the descriptors that reflection reads; again is no harm."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = _PACKAGE
    fields = (field for message in file.message_type for field in message.field)
    for field in (field for field in fields if field.type_name):
        field.type_name = field.type_name.replace(f".{_ALPHA_PACKAGE}.", f".{_PACKAGE}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{_ALPHA_PACKAGE}.", f".{_PACKAGE}.")
        method.output_type = method.output_type.replace(f".{_ALPHA_PACKAGE}.", f".{_PACKAGE}.")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
