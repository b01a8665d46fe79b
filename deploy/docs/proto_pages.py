"""A reference of a proto file in Markdown, from the comments that stand in it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

ROOT = Path(__file__).parents[2]
OURS = ".earwitness."
# Numbers of fields in descriptor.proto, of which paths in SourceCodeInfo consist.
SERVICES, MESSAGES, ENUMS = 6, 4, 5
METHODS, FIELDS, NESTED, NESTED_ENUMS, VALUES, ONEOFS = 2, 2, 3, 4, 2, 8
Field = pb.FieldDescriptorProto
Place = tuple[int, ...]


@cache
def _files() -> dict[str, pb.FileDescriptorProto]:
    """Every file of protos/ and what it imports, with comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "protos.binpb"
        subprocess.run([sys.executable, ROOT / "protos/generate.py", "--descriptors", out], check=True)  # noqa: S603
        found = pb.FileDescriptorSet.FromString(out.read_bytes())
    return {each.name: each for each in found.file}


def proto_page(name: str) -> str:
    """All services, messages and enums of a file, each with its comment.

    Raises: KeyError where protos/ has no such file.
    """
    return "\n".join(_File(_files()[name]).lines())


class _File:
    """One file, and the comments at its places."""

    def __init__(self, file: pb.FileDescriptorProto) -> None:
        self._file = file
        self._comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}

    def lines(self) -> Iterator[str]:
        """The page."""
        for index, service in enumerate(self._file.service):
            yield from self._service(service, (SERVICES, index))
        if self._file.message_type:
            yield "\n## Messages\n"
        for index, message in enumerate(self._file.message_type):
            yield from self._message(message, message.name, (MESSAGES, index))
        if self._file.enum_type:
            yield "\n## Enums\n"
        for index, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, enum.name, (ENUMS, index))

    def _service(self, service: pb.ServiceDescriptorProto, place: Place) -> Iterator[str]:
        yield f"\n## {service.name}\n\n{self._prose(place)}\n"
        for index, method in enumerate(service.method):
            streams = [
                f"{'stream of ' if stream else ''}{self._type_link(name)}"
                for stream, name in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            ]
            yield f"\n### {method.name}\n\n{streams[0]} → {streams[1]}\n\n{self._prose((*place, METHODS, index))}\n"

    def _message(self, message: pb.DescriptorProto, name: str, place: Place) -> Iterator[str]:
        yield f"\n({self._label(name)})=\n### {name}\n\n{self._prose(place)}\n"
        maps = {each.name for each in message.nested_type if each.options.map_entry}
        if message.field:
            yield "| field | type | |\n|---|---|---|"
        for index, field in enumerate(message.field):
            said = self._cell((*place, FIELDS, index))
            if field.HasField("oneof_index") and not field.proto3_optional:
                oneof = message.oneof_decl[field.oneof_index].name
                said = f"One of `{oneof}`. {said}"
            yield f"| `{field.name}` | {self._type_of(field)} | {said} |"
        for index, group in enumerate(message.oneof_decl):
            if said := self._cell((*place, ONEOFS, index)):
                yield f"\n`{group.name}`: {said}\n"
        for index, nested in enumerate(message.nested_type):
            if nested.name not in maps:
                yield from self._message(nested, f"{name}.{nested.name}", (*place, NESTED, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, f"{name}.{enum.name}", (*place, NESTED_ENUMS, index))

    def _enum(self, enum: pb.EnumDescriptorProto, name: str, place: Place) -> Iterator[str]:
        yield f"\n({self._label(name)})=\n### {name}\n\n{self._prose(place)}\n"
        yield "| value | number | |\n|---|---|---|"
        for index, value in enumerate(enum.value):
            yield f"| `{value.name}` | {value.number} | {self._cell((*place, VALUES, index))} |"

    def _type_of(self, field: pb.FieldDescriptorProto) -> str:
        scalar = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
        kind = self._type_link(field.type_name) if field.type_name else scalar
        if field.label == Field.LABEL_REPEATED:
            return f"repeated {kind}"
        return f"optional {kind}" if field.proto3_optional else kind

    def _type_link(self, full_name: str) -> str:
        """A link to a type of ours, wherever its page is; another's name as it is."""
        if not full_name.startswith(OURS):
            return f"`{full_name.removeprefix('.')}`"
        return f"[{full_name.split('.v1.')[-1]}](#{_label(full_name)})"

    def _label(self, name: str) -> str:
        return _label(f".{self._file.package}.{name}")

    def _prose(self, place: Place) -> str:
        """The comment with its paragraphs, status codes in one of their own; `<` is text."""
        lines = [line.removeprefix(" ") for line in self._comments.get(place, "").split("\n")]
        lines = [f"\n{line}" if line.startswith("Codes: ") else line for line in lines]
        return "\n".join(lines).strip().replace("<", "&lt;")

    def _cell(self, place: Place) -> str:
        return " ".join(self._prose(place).replace("|", "\\|").split())


def _label(full_name: str) -> str:
    return full_name.removeprefix(".").replace(".", "-").lower()
