"""What the Python client's method of an RPC takes, sends and returns, as the contract says it.

The rules, whose exceptions are in tools/client_methods.toml: a method has the RPC's name; fields that must be given
come first and without their names, the others by name; a `request_id` is drawn for each call; a list whose pages have
tokens is iterated over, and so is a stream. A call is made again only if it reads (by its HTTP verb or its scope),
has a `request_id`, or its contract says that it may.
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

# Names a written function uses itself, or that would hide what it calls.
_WORDS = "timeout request page token read response each mesh pb uuid str int float bool bytes list object"
_CALLED = "unary events nothing as_it_is enum_value to_struct to_value"
TAKEN = frozenset([*_WORDS.split(), *_CALLED.split()])
NOT_FOR_CLIENTS = ("soma.testing.",)
_T = FieldDescriptorProto
_REPEATABLE = (MethodOptions.IDEMPOTENT, MethodOptions.NO_SIDE_EFFECTS)
# What each event of a stream may be beside what the stream is about.
_ABOUT_THE_STREAM = frozenset({"started", "heartbeat", "error"})

Published = Mapping[str, Mapping[str, Any]]


class CannotGenerate(Exception):
    """An RPC the rules have no method for; the text says what to do."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method: its type and default as Python writes them, and the request's field made of it."""

    name: str
    field: str
    type: str
    default: str
    value: str
    says: str
    positional: bool


@dataclass(frozen=True)
class Method:
    """A method of the client.

    Attributes:
        kind: `call`, `list` or `stream`.
        service: name of the service; `proto` the file it is in.
        request: the request's type, as the module writes it; `drawn` says that it has a `request_id`.
        returns: type of the answer, of an item of the list or of the stream.
        read: expression of what makes it of the contract's message.
        items: the response's field the list is in, or the event's field the stream is about; empty for whole events.
        repeatable: an expression of whether the call may be made twice.
        says_its_end: the stream ends with an event that says so, or was cut.
    """

    kind: str
    name: str
    rpc: str
    service: str
    proto: str
    says: str
    parameters: tuple[Parameter, ...]
    request: str
    drawn: bool
    returns: str
    read: str
    items: str
    repeatable: str
    slow: bool
    says_its_end: bool


def methods_of(
    files: FileDescriptorSet, published: Published, without: tuple[str, ...] = NOT_FOR_CLIENTS
) -> list[Method]:
    """The methods to generate for a descriptor set with source information, in the order of its files.

    Raises:
        CannotGenerate: an RPC needs a hand, or two would have the same name; or `published` names what there is not.
    """
    types, schemas = Types(files), Schemas(files)
    methods: list[Method] = []
    names: dict[str, str] = {}
    for proto, service, rpc in _public(files, without):
        full = f"{service}.{rpc.name}"
        otherwise = published.get(full, {})
        name = str(otherwise.get("by_hand") or otherwise.get("name") or snake(rpc.name))
        if name in names:
            raise CannotGenerate(
                f"{full} and {names[name]} would both be {name!r}: give one a `name` in tools/client_methods.toml"
            )
        names[name] = full
        if "by_hand" not in otherwise:
            methods.append(_Reader(types, schemas, proto, service, rpc, otherwise).method(name))
    if unknown := sorted(published.keys() - names.values()):
        raise CannotGenerate(f"tools/client_methods.toml names RPCs there are not: {', '.join(unknown)}")
    return methods


def services_of(files: FileDescriptorSet, without: tuple[str, ...] = NOT_FOR_CLIENTS) -> list[tuple[str, str]]:
    """File and name of each service that has an RPC for clients.

    Raises:
        CannotGenerate: two have the same name, and the client would have one module for both.
    """
    found: dict[str, str] = {}
    for proto, service, _ in _public(files, without):
        name = service.rpartition(".")[2]
        if found.setdefault(name, proto) != proto:
            raise CannotGenerate(f"{proto} and {found[name]} both have a {name}: give one another name")
    return [(proto, name) for name, proto in found.items()]


def snake(name: str) -> str:
    """A name in CamelCase as Python writes it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _public(files: FileDescriptorSet, without: tuple[str, ...]) -> Iterator[tuple[str, str, MethodDescriptorProto]]:
    """Each RPC for clients: its file, its service and itself."""
    for file in files.file:
        if not file.package.startswith("soma.") or f"{file.package}.".startswith(without):
            continue
        service: ServiceDescriptorProto
        for service in file.service:
            for rpc in service.method:
                if not rpc.options.Extensions[authz_pb2.rule].internal:
                    yield file.name, f"{file.package}.{service.name}", rpc


class _Reader:
    """Reads one RPC."""

    def __init__(
        self,
        types: Types,
        schemas: Schemas,
        proto: str,
        service: str,
        rpc: MethodDescriptorProto,
        otherwise: Mapping[str, Any],
    ) -> None:
        self._types, self._schemas = types, schemas
        self._proto, self._service, self._rpc, self._otherwise = proto, service, rpc, otherwise
        self._asked = rpc.input_type.removeprefix(".")
        self._answered = rpc.output_type.removeprefix(".")
        self._fields = {field.name: field for field in schemas.fields(self._asked)}
        self._omitted = {"request_id"} if self._drawn() else set[str]()
        self._omitted |= set(otherwise.get("omitted", ()))
        if unknown := sorted(self._named_fields() - self._fields.keys()):
            raise CannotGenerate(
                f"tools/client_methods.toml, {self._full}: {self._asked} has no field {', '.join(unknown)}"
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
        returns, read = self._returned(message)
        return Method(
            kind=kind,
            name=name,
            rpc=self._rpc.name,
            service=self._service.rpartition(".")[2],
            proto=self._proto,
            says=self._said(),
            # Those that must be given first: Python wants them so.
            parameters=tuple(sorted(parameters, key=lambda each: (not each.positional, bool(each.default)))),
            request=self._types.name(self._asked, self._proto),
            drawn=self._drawn(),
            returns=returns,
            read=read,
            items=items,
            repeatable=self._repeatable(),
            slow=bool(self._otherwise.get("slow")),
            says_its_end="payload" in self._types.oneofs(self._answered),
        )

    def _answer(self) -> tuple[str, str, str]:
        """The kind of the method, the field its items are in, and the message one is read from."""
        fields = self._schemas.fields(self._answered)
        if self._rpc.server_streaming:
            about = [
                field
                for field in self._types.oneofs(self._answered).get("payload", ())
                if field.name not in _ABOUT_THE_STREAM
            ]
            if len(about) == 1 and about[0].type == _T.TYPE_MESSAGE:
                return "stream", about[0].name, about[0].type_name.removeprefix(".")
            return "stream", "", self._answered
        repeated = [field for field in fields if field.label == _T.LABEL_REPEATED and field.type == _T.TYPE_MESSAGE]
        if "page_token" in self._fields and any(field.name == "next_page_token" for field in fields):
            if len(repeated) == 1:
                return "list", repeated[0].name, repeated[0].type_name.removeprefix(".")
            raise CannotGenerate(f"{self._full} has pages of {len(repeated)} lists of messages: a page has one")
        return "call", "", self._answered

    def _returned(self, message: str) -> tuple[str, str]:
        """The type of what is returned, and what makes it."""
        if returns := str(self._otherwise.get("returns", "")):
            return returns, str(self._otherwise.get("read", "nothing"))
        if not self._schemas.fields(message):
            return "None", "nothing"
        return self._types.name(message, self._proto), "as_it_is"

    def _drawn(self) -> bool:
        field = self._fields.get("request_id")
        return field is not None and field.options.Extensions[validate_pb2.field].string.uuid

    def _repeatable(self) -> str:
        options = self._rpc.options
        reads = options.Extensions[annotations_pb2.http].WhichOneof("pattern") == "get"
        reads = reads or options.Extensions[authz_pb2.rule].scope.startswith("read:")
        if reads or self._drawn():
            return "True"
        if not (self._otherwise.get("repeatable") or options.idempotency_level in _REPEATABLE):
            return "False"
        return "not etag" if "etag" in self._fields else "True"

    def _parameter(self, field: FieldDescriptorProto) -> Parameter:
        given = str(self._otherwise.get("renamed", {}).get(field.name, field.name))
        if keyword.iskeyword(field.name):
            raise CannotGenerate(f"{self._asked}.{field.name}: Python cannot say this word; call the field otherwise")
        name = f"{given}_" if given in TAKEN | self._modules() else given
        required = _refuses_empty(field)
        kind, default, value = self._types.python(field, name, required, self._proto)
        if other := self._otherwise.get("converted", {}).get(field.name):
            kind, value = str(other["type"]), f"{other['by']}({name})"
        return Parameter(
            name=name,
            field=field.name,
            type=kind,
            default="" if required else default,
            value=value,
            says=self._told(field),
            positional=required or field.name in self._otherwise.get("positional", ()),
        )

    def _modules(self) -> set[str]:
        """The client's modules the method is written with."""
        said = [str(self._otherwise.get(key, "")) for key in ("returns", "read")]
        said += [str(other["by"]) for other in self._otherwise.get("converted", {}).values()]
        return {name for text in said for name in re.findall(r"(\w+)\.", text)}

    def _told(self, field: FieldDescriptorProto) -> str:
        """What the contract says of a field, and of each word it may be."""
        said = self._schemas.comment(f"{self._asked}.{field.name}")
        words = (f"`{word}`: {self._schemas.comment(value)}" for word, value in self._types.words(field))
        return " ".join([said, *words]).replace("\n", " ")

    def _named_fields(self) -> set[str]:
        return {
            str(field)
            for key in ("positional", "omitted", "renamed", "converted")
            for field in self._otherwise.get(key, ())
        }

    def _said(self) -> str:
        """What the contract says of the RPC, with the note; `Recall reads` is `Reads`."""
        said = self._schemas.comment(self._full).removeprefix(f"{self._rpc.name} ").replace("\n", " ")
        if not said:
            raise CannotGenerate(f"{self._full}: its contract does not say what it does; put a comment before it")
        note = str(self._otherwise.get("note", ""))
        return said[:1].upper() + said[1:] + (f"\n{note}" if note else "")


def _refuses_empty(field: FieldDescriptorProto) -> bool:
    """Whether a request without the field breaks the contract, also by a form that no empty text has."""
    rules = field.options.Extensions[validate_pb2.field]
    if field.HasField("oneof_index") or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return must_be_given(field)
    return must_be_given(field) or bool(rules.string.uuid or getattr(rules.string, "in"))
