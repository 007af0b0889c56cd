"""The field names that the JSON of a request may have, from the contracts, for the Lua filter that checks bodies."""

import json
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from gateway.xds.bindings import Binding

_MESSAGES = (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP)
# Messages of free-form JSON: any value, an object or a list. The check treats all three as any value.
_JSON = "google.protobuf.Value"
_JSONS = frozenset({_JSON, "google.protobuf.Struct", "google.protobuf.ListValue"})
# The transcoder has special rules for the other messages of this package: `Any` has the fields of the type it names,
# and the rest are written as text or as a number.
_FREE_FORM = "google.protobuf."
_ANY_NAME = "*"
_MEDIA = "soma.model.v1.Media"


class Fields:
    """The messages of a serialised `google.protobuf.FileDescriptorSet`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no descriptor set.
    """

    def __init__(self, descriptor_set: bytes) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        for file in FileDescriptorSet.FromString(descriptor_set).file:
            for message in file.message_type:
                self._messages.update(_nested(f"{file.package}.{message.name}", message))

    def body(self, binding: Binding) -> str:
        """Name of the message in the body of a binding; empty if the body holds no message that has to be checked."""
        if binding.body in ("", "*"):
            return binding.request if binding.body else ""
        return next((self._held(field) for field in self._fields(binding.request) if field.name == binding.body), "")

    def have_media(self, message: str) -> bool:
        """Whether a message has a field for pictures, sounds or documents, in itself or in one of its messages."""
        seen: set[str] = set()
        waiting = [message]
        while waiting:
            name = waiting.pop()
            if name == _MEDIA:
                return True
            if name not in seen:
                seen.add(name)
                waiting += [held for field in self._fields(name) if (held := self._held(field))]
        return False

    def lua(self, bodies: Iterable[str]) -> str:
        """A Lua table of these messages and of all messages in their fields.

        Each entry maps the names of the message's fields, both as JSON and as the contract spells them, to
        `{name, held}`: the contract's spelling, and the name of the message in the field, or false. A map has one field
        `*`, which stands for any name. So has free-form JSON, which is always called `google.protobuf.Value`.
        """
        entries: dict[str, str] = {}
        waiting = [name for name in bodies if name]
        while waiting:
            name = waiting.pop()
            if name in entries:
                continue
            spellings: list[str] = []
            for field in self._fields(name):
                held = self._held(field)
                waiting += [held] if held else []
                value = f"{{{_text(field.name)},{_text(held) if held else 'false'}}}"
                spellings += (f"[{_text(spelling)}]={value}" for spelling in sorted({field.name, field.json_name}))
            entries[name] = f"[{_text(name)}]={{{','.join(spellings)}}}"
        return "{" + ",\n".join(entries[name] for name in sorted(entries)) + "}"

    def _fields(self, name: str) -> Iterable[FieldDescriptorProto]:
        if name == _JSON:
            any_name = FieldDescriptorProto(name=_ANY_NAME, json_name=_ANY_NAME, type_name=f".{_JSON}")
            any_name.type = FieldDescriptorProto.TYPE_MESSAGE
            return (any_name,)
        # A missing message counts as one without fields; Envoy refuses such a descriptor set with a clear error.
        message = self._messages.get(name, DescriptorProto())
        if not message.options.map_entry:
            return message.field
        value = FieldDescriptorProto()
        value.CopyFrom(next(field for field in message.field if field.name == "value"))
        value.name = value.json_name = _ANY_NAME
        return (value,)

    def _held(self, field: FieldDescriptorProto) -> str:
        name = field.type_name.removeprefix(".")
        if name in _JSONS:
            return _JSON
        return "" if field.type not in _MESSAGES or name.startswith(_FREE_FORM) else name


def _nested(name: str, message: DescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    yield name, message
    for inner in message.nested_type:
        yield from _nested(f"{name}.{inner.name}", inner)


def _text(value: str) -> str:
    # Protobuf names are ASCII, which JSON and Lua quote in the same way.
    return json.dumps(value)
