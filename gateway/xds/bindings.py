"""The REST bindings of the contracts, as the gateway's routes need them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.mesh.surfaces.template import template

_VARIABLE = re.compile(r"\{[^}]+\}")


@dataclass(frozen=True)
class Binding:
    """One way to call an RPC over REST."""

    service: str
    method: str
    verb: str
    """The HTTP method, in capitals."""
    template: str
    """The path as in the contract, such as `/v1/recall/{key=**}`."""
    body: str
    """`*` if the body is the request, the name of a field if the body is that field, empty if there is no body."""
    request: str
    """Full name of the request message."""
    server_streaming: bool

    @property
    def events(self) -> bool:
        """Whether a browser's EventSource can open it: it must be a stream by GET."""
        return self.verb == "GET" and self.server_streaming

    @property
    def regex(self) -> str:
        """Regular expression of a whole path of this binding, without the query."""
        return template(self.template).regex

    @property
    def breadth(self) -> tuple[int, int, int]:
        """Sort key: templates that match fewer paths come first, such as literal ones and those that end in a verb."""
        return self.template.count("**"), self.template.count("{"), -len(_VARIABLE.sub("", self.template))


def bindings(descriptor_set: bytes) -> list[Binding]:
    """Every binding of a serialised `google.protobuf.FileDescriptorSet`; templates that match fewer paths come first.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no descriptor set.
    """
    return sorted(
        _bindings(FileDescriptorSet.FromString(descriptor_set)), key=lambda b: (b.breadth, b.template, b.verb)
    )


def _bindings(files: FileDescriptorSet) -> Iterator[Binding]:
    for file in files.file:
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    verb = each.WhichOneof("pattern")
                    if verb is None:
                        continue
                    yield Binding(
                        service=f"{file.package}.{service.name}",
                        method=method.name,
                        verb=verb.upper(),
                        template=getattr(each, verb),
                        body=each.body,
                        request=method.input_type.removeprefix("."),
                        server_streaming=method.server_streaming,
                    )
