"""Writes the generated modules of the Python client: the calls of each service, stubs, and methods of both clients."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.client_method import Method, Parameter, snake
from tools.contract_types import module, package

ROOT = Path(__file__).parents[1]
PACKAGE = "sdk/python/src/somamesh/generated"
WIDTH = 120
# Without this, ruff would recognise the client's modules only by their files, which may not exist yet.
OWN = ("--config", 'lint.isort.known-first-party = ["somamesh"]')
KINDS: Mapping[str, tuple[str, str]] = {
    "call": ("calling", "Call"),
    "list": ("listing", "Listing"),
    "stream": ("following", "Streaming"),
}
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)")
# The modules of the names that a generated signature or body may use.
_SOURCES: Mapping[str, str] = {
    "Any": "typing",
    "Literal": "typing",
    "Mapping": "collections.abc",
    "Sequence": "collections.abc",
    "Call": "somamesh.calls",
    "Listing": "somamesh.calls",
    "Page": "somamesh.calls",
    "Reader": "somamesh.calls",
    "Streaming": "somamesh.calls",
    "unchanged": "somamesh.calls",
    "no_value": "somamesh.calls",
    "unary": "somamesh.calls",
    "enum_value": "somamesh.enums",
    "events": "somamesh.events",
    "to_struct": "somamesh.json_values",
    "to_value": "somamesh.json_values",
}


def modules(
    methods: Sequence[Method], services: Iterable[tuple[str, str]], at: str = "somamesh.generated"
) -> dict[str, str]:
    """The file names and texts of the generated package.

    Args:
        services: file and name of each service with a stub, also those with hand-written methods.
        at: name of the package.
    """
    texts = {
        "__init__.py": '"""Generated from the contracts by `make gen`; do not edit."""\n',
        "stubs.py": _stubs(services),
    }
    for service in sorted({method.service for method in methods}):
        texts[f"{snake(service)}.py"] = _service([method for method in methods if method.service == service])
    texts["methods.py"] = _methods(methods, at, "Methods", "Connection", "connection", "sync_methods", "Client")
    texts["async_methods.py"] = _methods(
        methods, at, "AsyncMethods", "AsyncConnection", "async_connection", "async_methods", "AsyncClient"
    )
    return {name: _formatted(name, text) for name, text in texts.items()}


def _service(methods: Sequence[Method]) -> str:
    proto, service = methods[0].proto, methods[0].service
    body = "\n\n\n".join(_builder(method) for method in methods)
    imports = [f"from {package(proto)} import {module(proto)} as pb", *_imports(body)]
    if any(method.has_request_id for method in methods):
        imports.append("import uuid")
    return _module(f"Builds the calls of {service}; generated from {proto}.", imports, body)


def _builder(method: Method) -> str:
    """The function that builds one call."""
    wrapper = KINDS[method.kind][1]
    returns = f"Streaming[Reader[{method.returns}]]" if wrapper == "Streaming" else f"{wrapper}[{method.returns}]"
    lines = [f"def {method.name}({_signature(method.parameters)}) -> {returns}:", *_documentation(method)]
    fields = [f"{parameter.field}={parameter.value}" for parameter in method.parameters]
    if method.has_request_id:
        fields.append("request_id=str(uuid.uuid4())")
    if method.kind == "list":
        fields.append("page_token=token")
    request = f"request = {method.request}({', '.join(fields)})"
    stub = f"lambda mesh: mesh.{snake(method.service)}.{method.rpc}"
    if method.kind == "stream":
        reader = f'events({method.read}, item="{method.items}", has_final_event={method.has_final_event})'
        return _joined([*lines, request, f"return Streaming({stub}, request, {reader}, timeout)"])
    repeated = f"repeatable={method.repeatable}, timeout=timeout" + (", slow=True" if method.slow else "")
    if method.kind == "call":
        return _joined([*lines, request, f"return unary({stub}, request, {method.read}, {repeated})"])
    response = f"{method.request.removesuffix('Request')}Response"
    listed = f"[{method.read}(each) for each in response.{method.items}]"
    return _joined(
        [
            *lines,
            f"def read(response: {response}) -> Page[{method.returns}]:",
            f"    return Page({listed}, response.next_page_token)",
            "",
            f"def page(token: str) -> Call[Page[{method.returns}]]:",
            f"    {request}",
            f"    return unary({stub}, request, read, {repeated})",
            "",
            "return Listing(page)",
        ]
    )


def _joined(lines: Sequence[str]) -> str:
    return "\n".join([lines[0], *(f"    {line}" if line else "" for line in lines[1:])])


def _signature(parameters: Sequence[Parameter]) -> str:
    first = [_parameter(each) for each in parameters if each.positional]
    named = [_parameter(each) for each in parameters if not each.positional]
    return ", ".join([*first, "*", *named, "timeout: float | None = None"])


def _parameter(parameter: Parameter) -> str:
    return f"{parameter.name}: {parameter.type}" + (f" = {parameter.default}" if parameter.default else "")


def _documentation(method: Method) -> list[str]:
    """The lines of a docstring, without indentation."""
    paragraphs = method.doc.split("\n")
    docs = [(parameter.name, parameter.doc) for parameter in method.parameters if parameter.doc]
    if method.kind == "list":
        paragraphs[0] += " Pages are fetched while iterating."
    lines = [line for paragraph in paragraphs for line in [*_wrapped(paragraph, ""), ""]][:-1]
    if docs:
        lines += ["", "Args:", *(line for name, doc in docs for line in _wrapped(f"{name}: {doc}", "    "))]
    if len(lines) == 1:
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def _wrapped(text: str, indent: str) -> list[str]:
    # The docstring is indented by four columns, and its first line begins with three quotes.
    escaped = text.replace("\\", "\\\\")
    further = indent + "    " if indent else ""
    return textwrap.wrap(
        escaped,
        WIDTH - 10,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _imports(body: str) -> list[str]:
    """The imports of a module: names of `_SOURCES`, contracts, and the client's own modules."""
    code = re.sub(r'""".*?"""|"[^"]*"', '""', body, flags=re.DOTALL)
    names = set(_NAME.findall(code))
    found = [f"from {source} import {name}" for name, source in _SOURCES.items() if name in names]
    # Any other name before a dot is a module: the client's own, or a contract's.
    owners = set(re.findall(r"(?<![\w.])([a-z_]\w*)\.[A-Za-z_]", code)) - {"mesh", "pb", "response", "uuid"}
    return [*found, *(f"from somamesh import {owner}" for owner in owners if not owner.endswith("_pb2"))] + [
        f"from {_CONTRACTS[owner]} import {owner}" for owner in owners if owner.endswith("_pb2")
    ]


def _contracts() -> Mapping[str, str]:
    """The package of each contract's module, and of the modules of well-known types."""
    folders = [(ROOT / "proto", ROOT / "proto"), (ROOT / "third_party", ROOT / "third_party")]
    found = {
        module(file.name): package(str(file.relative_to(base)))
        for folder, base in folders
        for file in folder.rglob("*.proto")
    }
    known = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
    return {**found, **{f"{name}_pb2": "google.protobuf" for name in known}}


_CONTRACTS = _contracts()


def _stubs(services: Iterable[tuple[str, str]]) -> str:
    listed = sorted(set(services), key=lambda each: each[1])
    lines = "\n".join(f"        self.{snake(name)}: {name}Stub = {name}Stub(channel)" for _, name in listed)
    body = f'''class Stubs:
    """The stubs; with a channel of `grpc.aio` their methods are awaited."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
{lines}'''
    imports = [f"from {package(proto)}.{module(proto)}_grpc import {name}Stub" for proto, name in listed]
    return _module("The generated stubs of all services, on one channel.", ["import grpc", *imports], body)


def _methods(methods: Sequence[Method], at: str, name: str, base: str, where: str, makers: str, client: str) -> str:
    ordered = sorted(methods, key=lambda each: (each.service, each.name))
    lines = "\n".join(f"    {each.name} = {KINDS[each.kind][0]}({snake(each.service)}.{each.name})" for each in ordered)
    body = (
        f'class {name}({base}):\n    """The methods of `{client}` that are generated from the contracts."""\n\n{lines}'
    )
    imports = [f"from {at} import {snake(each.service)}" for each in methods]
    imports += [f"from somamesh.{makers} import {KINDS[each.kind][0]}" for each in methods]
    return _module(
        f"The methods of `{client}` that are generated from the contracts.",
        [*imports, f"from somamesh.{where} import {base}"],
        body,
    )


def _module(doc: str, imports: Iterable[str], body: str) -> str:
    lines = "\n".join(sorted(set(imports)))
    return f'"""{doc}"""\n\n{lines}\n\n\n{body}\n'


def _formatted(name: str, text: str) -> str:
    """The text as `make format` writes it, with sorted and merged imports."""
    path = ROOT / PACKAGE / name
    for arguments in (("check", "--select", "I", "--fix-only", "--quiet"), ("format", "--quiet")):
        command = (sys.executable, "-m", "ruff", *arguments, *OWN, "--stdin-filename", str(path), "-")
        text = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return text
