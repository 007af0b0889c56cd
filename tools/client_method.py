"""Derives the Python client's method of an RPC from the contract: its parameters, its request and its return value.

The rules (their exceptions are in tools/client_methods.toml): A method has the RPC's name. Required fields come first
and are positional; the others are keyword parameters. Each call gets a new `request_id`. A list whose pages have tokens
is an iterator, and so is a stream. A call is retried only if it reads (by its HTTP verb or its scope), has a
`request_id`, or its contract permits it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buf.validate import validate_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from soma.authz.v1 import authz_pb2

from tools.contract_types import Types
from tools.schemas import Schemas, must_be_given

# Names that a generated function uses itself, and names that would hide a function that it calls.
_VARIABLES = "timeout request page token read response each mesh pb uuid str int float bool bytes list object"
_FUNCTIONS = "unary events no_value unchanged enum_value to_struct to_value"
RESERVED = frozenset([*_VARIABLES.split(), *_FUNCTIONS.split()])
NOT_FOR_CLIENTS = ("soma.testing.",)
_T = FieldDescriptorProto
_REPEATABLE = (MethodOptions.IDEMPOTENT, MethodOptions.NO_SIDE_EFFECTS)
# Payloads of a stream's events that are not its items.
_NOT_ITEMS = frozenset({"started", "heartbeat", "error"})

Overrides = Mapping[str, Mapping[str, Any]]


class CannotGenerate(Exception):
    """The rules give no method for an RPC; the text says what to do."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method: its type and default as Python code, and the field of the request that it sets."""

    name: str
    field: str
    type: str
    default: str
    value: str
    doc: str
    positional: bool


@dataclass(frozen=True)
class Method:
    """A method of the client.

    Attributes:
        kind: `call`, `list` or `stream`.
        service: name of the service; `proto` is its file.
        request: type of the request, as the module writes it; `has_request_id` says that it has a `request_id`.
        returns: type of the answer, or of an item of the list or stream.
        read: name of the function that makes it from the contract's message.
        items: field of the response that holds the list, or of the event that holds an item; empty for whole events.
        repeatable: Python expression that says whether the call may be made twice.
        has_final_event: a complete stream ends with a final event.
    """

    kind: str
    name: str
    rpc: str
    service: str
    proto: str
    doc: str
    parameters: tuple[Parameter, ...]
    request: str
    has_request_id: bool
    returns: str
    read: str
    items: str
    repeatable: str
    slow: bool
    has_final_event: bool


def methods_of(
    files: FileDescriptorSet, overrides: Overrides, without: tuple[str, ...] = NOT_FOR_CLIENTS
) -> list[Method]:
    """The methods to generate for a descriptor set with source information, in the order of its files.

    Raises:
        CannotGenerate: an RPC needs a hand-written method, two methods would have the same name, or `overrides` names
            an RPC or a field that does not exist.
    """
    types, schemas = Types(files), Schemas(files)
    methods: list[Method] = []
    names: dict[str, str] = {}
    for proto, service, rpc in _public(files, without):
        full = f"{service}.{rpc.name}"
        own = overrides.get(full, {})
        name = str(own.get("by_hand") or own.get("name") or snake(rpc.name))
        if name in names:
            raise CannotGenerate(
                f"{full} and {names[name]} would both be {name!r}: give one a `name` in tools/client_methods.toml"
            )
        names[name] = full
        if "by_hand" not in own:
            methods.append(_MethodBuilder(types, schemas, proto, service, rpc, own).method(name))
    if unknown := sorted(overrides.keys() - names.values()):
        raise CannotGenerate(f"tools/client_methods.toml names RPCs that do not exist: {', '.join(unknown)}")
    return methods


def services_of(files: FileDescriptorSet, without: tuple[str, ...] = NOT_FOR_CLIENTS) -> list[tuple[str, str]]:
    """The file and the name of each service that has an RPC for clients.

    Raises:
        CannotGenerate: two services have the same name, so the client would have one module for both.
    """
    found: dict[str, str] = {}
    for proto, service, _ in _public(files, without):
        name = service.rpartition(".")[2]
        if found.setdefault(name, proto) != proto:
            raise CannotGenerate(f"{proto} and {found[name]} both have a {name}: give one another name")
    return [(proto, name) for name, proto in found.items()]


def snake(name: str) -> str:
    """Convert a name from CamelCase to snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _public(files: FileDescriptorSet, without: tuple[str, ...]) -> Iterator[tuple[str, str, MethodDescriptorProto]]:
    """Each RPC for clients: its file, its service and its descriptor."""
    for file in files.file:
        if not file.package.startswith("soma.") or f"{file.package}.".startswith(without):
            continue
        service: ServiceDescriptorProto
        for service in file.service:
            for rpc in service.method:
                if not rpc.options.Extensions[authz_pb2.rule].internal:
                    yield file.name, f"{file.package}.{service.name}", rpc


class _MethodBuilder:
    """Makes the method of one RPC."""

    def __init__(
        self,
        types: Types,
        schemas: Schemas,
        proto: str,
        service: str,
        rpc: MethodDescriptorProto,
        overrides: Mapping[str, Any],
    ) -> None:
        self._types, self._schemas = types, schemas
        self._proto, self._service, self._rpc, self._overrides = proto, service, rpc, overrides
        self._request = rpc.input_type.removeprefix(".")
        self._response = rpc.output_type.removeprefix(".")
        self._fields = {field.name: field for field in schemas.fields(self._request)}
        self._omitted = {"request_id"} if self._has_request_id() else set[str]()
        self._omitted |= set(overrides.get("omitted", ()))
        if unknown := sorted(self._named_fields() - self._fields.keys()):
            raise CannotGenerate(
                f"tools/client_methods.toml, {self._full}: {self._request} has no field {', '.join(unknown)}"
            )

    @property
    def _full(self) -> str:
        return f"{self._service}.{self._rpc.name}"

    def method(self, name: str) -> Method:
        if self._rpc.client_streaming:
            raise CannotGenerate(
                f"{self._full} takes a stream: write its method, and name it `by_hand` in tools/client_methods.toml"
            )
        kind, items, message = self._answer()
        if kind == "list":
            self._omitted.add("page_token")
        parameters = [self._parameter(field) for field in self._fields.values() if field.name not in self._omitted]
        returns, read = self._return(message)
        return Method(
            kind=kind,
            name=name,
            rpc=self._rpc.name,
            service=self._service.rpartition(".")[2],
            proto=self._proto,
            doc=self._rpc_doc(),
            # Required parameters come first, as Python demands.
            parameters=tuple(sorted(parameters, key=lambda each: (not each.positional, bool(each.default)))),
            request=self._types.name(self._request, self._proto),
            has_request_id=self._has_request_id(),
            returns=returns,
            read=read,
            items=items,
            repeatable=self._repeatable(),
            slow=bool(self._overrides.get("slow")),
            has_final_event="payload" in self._types.oneofs(self._response),
        )

    def _answer(self) -> tuple[str, str, str]:
        """The kind of the method, the field that holds its items, and the message of one item."""
        fields = self._schemas.fields(self._response)
        if self._rpc.server_streaming:
            about = [
                field for field in self._types.oneofs(self._response).get("payload", ()) if field.name not in _NOT_ITEMS
            ]
            if len(about) == 1 and about[0].type == _T.TYPE_MESSAGE:
                return "stream", about[0].name, about[0].type_name.removeprefix(".")
            return "stream", "", self._response
        repeated = [field for field in fields if field.label == _T.LABEL_REPEATED and field.type == _T.TYPE_MESSAGE]
        if "page_token" in self._fields and any(field.name == "next_page_token" for field in fields):
            if len(repeated) == 1:
                return "list", repeated[0].name, repeated[0].type_name.removeprefix(".")
            raise CannotGenerate(f"{self._full} has pages of {len(repeated)} lists of messages: a page has one")
        return "call", "", self._response

    def _return(self, message: str) -> tuple[str, str]:
        """The return type, and the name of the function that makes the value."""
        if returns := str(self._overrides.get("returns", "")):
            return returns, str(self._overrides.get("read", "no_value"))
        if not self._schemas.fields(message):
            return "None", "no_value"
        return self._types.name(message, self._proto), "unchanged"

    def _has_request_id(self) -> bool:
        field = self._fields.get("request_id")
        return field is not None and field.options.Extensions[validate_pb2.field].string.uuid

    def _repeatable(self) -> str:
        options = self._rpc.options
        reads = options.Extensions[annotations_pb2.http].WhichOneof("pattern") == "get"
        reads = reads or options.Extensions[authz_pb2.rule].scope.startswith("read:")
        if reads or self._has_request_id():
            return "True"
        if not (self._overrides.get("repeatable") or options.idempotency_level in _REPEATABLE):
            return "False"
        return "not etag" if "etag" in self._fields else "True"

    def _parameter(self, field: FieldDescriptorProto) -> Parameter:
        given = str(self._overrides.get("renamed", {}).get(field.name, field.name))
        if keyword.iskeyword(field.name):
            raise CannotGenerate(f"{self._request}.{field.name}: this is a keyword of Python; rename the field")
        name = f"{given}_" if given in RESERVED | self._modules() else given
        required = _required(field)
        kind, default, value = self._types.python(field, name, required, self._proto)
        if other := self._overrides.get("converted", {}).get(field.name):
            kind, value = str(other["type"]), f"{other['by']}({name})"
        return Parameter(
            name=name,
            field=field.name,
            type=kind,
            default="" if required else default,
            value=value,
            doc=self._field_doc(field),
            positional=required or field.name in self._overrides.get("positional", ()),
        )

    def _modules(self) -> set[str]:
        """The client's modules that the generated method uses."""
        texts = [str(self._overrides.get(key, "")) for key in ("returns", "read")]
        texts += [str(other["by"]) for other in self._overrides.get("converted", {}).values()]
        return {name for text in texts for name in re.findall(r"(\w+)\.", text)}

    def _field_doc(self, field: FieldDescriptorProto) -> str:
        """The contract's comment on a field, and on each word that it may be."""
        comment = self._schemas.comment(f"{self._request}.{field.name}")
        words = (f"`{word}`: {self._schemas.comment(value)}" for word, value in self._types.words(field))
        return " ".join([comment, *words]).replace("\n", " ")

    def _named_fields(self) -> set[str]:
        return {
            str(field)
            for key in ("positional", "omitted", "renamed", "converted")
            for field in self._overrides.get(key, ())
        }

    def _rpc_doc(self) -> str:
        """The contract's comment on the RPC, without the RPC's name (`Recall reads` becomes `Reads`), and the note."""
        comment = self._schemas.comment(self._full).removeprefix(f"{self._rpc.name} ").replace("\n", " ")
        if not comment:
            raise CannotGenerate(f"{self._full}: its contract does not say what it does; put a comment before it")
        note = str(self._overrides.get("note", ""))
        return comment[:1].upper() + comment[1:] + (f"\n{note}" if note else "")


def _required(field: FieldDescriptorProto) -> bool:
    """Whether the contract refuses a request without the field, for example because an empty text is no UUID."""
    rules = field.options.Extensions[validate_pb2.field]
    if field.HasField("oneof_index") or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return must_be_given(field)
    return must_be_given(field) or bool(rules.string.uuid or getattr(rules.string, "in"))
