"""Names the JSON of a request may use, taken from the contracts' messages, for the Lua filter that checks bodies."""

import json
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from gateway.xds.bindings import Binding

_MESSAGES = (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP)
# JSON of no contract, by what it is: an object, a list, or either. In JSON they look alike, so that one stands for all.
_JSON = "google.protobuf.Value"
_JSONS = frozenset({_JSON, "google.protobuf.Struct", "google.protobuf.ListValue"})
# The transcoder reads the others by rules of their own: `Any` holds what it names, the rest are text or a number.
_FREE_FORM = "google.protobuf."
_ANY_NAME = "*"


class Fields:
    """The messages of a serialised `google.protobuf.FileDescriptorSet`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """

    def __init__(self, descriptor_set: bytes) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        for file in FileDescriptorSet.FromString(descriptor_set).file:
            for message in file.message_type:
                self._messages.update(_nested(f"{file.package}.{message.name}", message))

    def body(self, binding: Binding) -> str:
        """Name of the message in the body of a binding; empty where there is none, or one of the transcoder's own."""
        if binding.body in ("", "*"):
            return binding.request if binding.body else ""
        return next((self._held(field) for field in self._fields(binding.request) if field.name == binding.body), "")

    def lua(self, bodies: Iterable[str]) -> str:
        """A Lua table of those messages and all they hold.

        Each maps the names of its fields, in JSON's spelling and in the contract's, to `{name, held}`: the contract's
        spelling, and the name of the message the field holds or false. A map has one field of any name, `*`, and so
        has JSON of no contract, which goes by the name of `google.protobuf.Value`.
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
        # Envoy refuses a set that lacks a message, and says so; here one has no fields.
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
    # Names of protobuf are ASCII: JSON's quoting of them is Lua's.
    return json.dumps(value)
