"""Refuses errors whose reason the contracts do not declare, or declare with another status, and reasons nobody raises.

The product's Python names a reason as `reasons.STORAGE_FULL` of the generated module. Which status it comes with is
read from where it is named: the class of the error, `code=Code.X` or `status="X"` beside it, or a function that hands
its parameter on as the reason of an error. A reason in a table comes with what the functions of that module raise.
The command line may have reasons of its own, which it tells nobody.

It also refuses gRPC's own error outside the places where it becomes a MeshError: whoever calls a neighbour gets that.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soma.errors.v1 import reasons
from soma.errors.v1.reasons import DECLARED, Declared

from services.mesh.call import errors

ROOT = Path(__file__).parents[1]
SOURCES = ("services", "gateway", "cli", "sdk/python/src")
# What has reasons that no client is told.
OWN = "cli/"
# gRPC's error and what it is made of; only these modules of the product know of them. The SDK has gRPC's channels.
TRANSPORT = frozenset({"AioRpcError", "RpcError"})
BOUNDARY = (
    "services/mesh/transport/boundary.py",
    "services/mesh/transport/outcome.py",
    "services/mesh/call/status.py",
    "sdk/",
)
# What else the generated module holds.
TABLES = ("DECLARED", "Declared", "HTTP_STATUSES")
# In Envoy's Lua: what the body check refuses with, and what replaces a status of HTTP.
LUA_REFUSED = re.compile(r'(?:refuse\(|reason = )"([A-Z_]+)"')
LUA_REPLACED = re.compile(r'\{ (\d{3}), "([A-Z_]+)"')
LUA_STATUS = "INVALID_ARGUMENT"
CLASSES = {
    name: kind.code.name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.MeshError)
}


@dataclass(frozen=True)
class Maker:
    """A function that raises or returns errors with one of its parameters as the reason."""

    position: int
    parameter: str
    statuses: frozenset[str]


@dataclass
class Module:
    """One module as a tree whose nodes know what holds them."""

    name: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    makers: dict[str, Maker] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, source: str) -> Module:
        """Parse a module."""
        tree = ast.parse(source)
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        return cls(name, tree, parents)


@dataclass(frozen=True)
class Use:
    """A place that names a reason: `statuses` it comes with there, empty where that cannot be told."""

    reason: str
    line: int
    statuses: frozenset[str]
    raised: bool


def findings(sources: Mapping[str, str], declared: Mapping[str, Declared], lua: Mapping[str, str]) -> list[str]:
    """What is wrong with the reasons in the sources, by name of the file, in words."""
    modules = [Module.of(name, source) for name, source in sources.items()]
    public = _makers(modules)
    found: list[str] = []
    raised: set[str] = set()
    for module in modules:
        calls = {**public, **module.makers}
        found += [
            f"{module.name}:{line}: {text!r} is a literal; name reasons of errors.proto as soma.errors.v1.reasons.X"
            for line, text in _literals(module, calls, declared)
        ]
        found += [
            f"{module.name}:{line}: {name} is gRPC's; channels of the mesh raise MeshError, and AS_MESH_ERRORS of "
            "services.mesh.call.status makes it of any other channel's error"
            for line, name in _of_transport(module)
        ]
        for use in _uses(module, calls):
            raised |= {use.reason} if use.raised else set()
            found += [f"{module.name}:{use.line}: {why}" for why in _wrong(use, declared)]
    for name, source in lua.items():
        for use in _lua_uses(source, declared):
            raised.add(use.reason)
            found += [f"{name}:{use.line}: {why}" for why in _wrong(use, declared)]
    found += [f"{reason}: declared, and nobody raises it; delete it" for reason in declared if reason not in raised]
    return found


def _wrong(use: Use, declared: Mapping[str, Declared]) -> Iterator[str]:
    said = declared.get(use.reason)
    if said is None:
        yield f"{use.reason} is not declared; add it to the area's errors.proto and run `make gen`"
    elif use.statuses and said.status not in use.statuses:
        yield f"{use.reason} is declared with {said.status}, and comes with {' or '.join(sorted(use.statuses))} here"


def _makers(modules: list[Module]) -> dict[str, Maker]:
    """Find the makers of every module; returns the public ones, which other modules may call."""
    public: dict[str, Maker] = {}
    more = True
    while more:
        more = False
        for module in modules:
            for function in ast.walk(module.tree):
                if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name in module.makers:
                    continue
                maker = _maker(function, {**public, **module.makers})
                if maker is None:
                    continue
                module.makers[function.name] = maker
                if not function.name.startswith("_"):
                    public[function.name] = maker
                more = True
    return public


def _maker(function: ast.FunctionDef | ast.AsyncFunctionDef, makers: Mapping[str, Maker]) -> Maker | None:
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    positions = {name: place - (names[0] in ("self", "cls")) for place, name in enumerate(names)}
    positions |= {each.arg: -1 for each in function.args.kwonlyargs}
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        given = _given(call, makers)
        statuses = _statuses(call, makers)
        if isinstance(given, ast.Name) and given.id in positions and statuses:
            return Maker(positions[given.id], given.id, statuses)
    return None


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _given(call: ast.Call, makers: Mapping[str, Maker]) -> ast.expr | None:
    """The reason a call is given."""
    maker = makers.get(_called(call))
    for keyword in call.keywords:
        if keyword.arg == (maker.parameter if maker else "reason"):
            return keyword.value
    if maker and 0 <= maker.position < len(call.args):
        return call.args[maker.position]
    return None


def _statuses(call: ast.Call, makers: Mapping[str, Maker]) -> frozenset[str]:
    """Statuses of the error a call makes; empty when it makes none, or does not say."""
    name = _called(call)
    if name in CLASSES:
        return frozenset({CLASSES[name]})
    if name in makers:
        return makers[name].statuses
    values = [*call.args[:1], *(each.value for each in call.keywords if each.arg in ("code", "status"))]
    return frozenset(status for value in values if (status := _status(value)))


def _status(value: ast.expr) -> str | None:
    if isinstance(value, ast.Attribute) and ast.unparse(value.value).rpartition(".")[2] == "Code":
        return value.attr
    if isinstance(value, ast.Constant) and value.value in reasons.HTTP_STATUSES:
        return str(value.value)
    return None


def _literals(
    module: Module, makers: Mapping[str, Maker], declared: Mapping[str, Declared]
) -> Iterator[tuple[int, str]]:
    """Reasons that are written as text."""
    own = module.name.startswith(OWN)
    # The names of statuses have other uses too.
    known = declared.keys() - reasons.HTTP_STATUSES.keys()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value in known:
            yield node.lineno, str(node.value)
        given = None
        if isinstance(node, ast.Call) and _statuses(node, makers):
            given = _given(node, makers)
        elif isinstance(node, ast.Assign) and isinstance(module.parents[node], ast.ClassDef):
            given = node.value if ast.unparse(node.targets[0]) == "reason" else None
        text = given is not None and isinstance(given, ast.Constant | ast.JoinedStr | ast.BinOp)
        if given is not None and text and not own and ast.unparse(given).strip("'") not in {*known, "None"}:
            yield given.lineno, ast.unparse(given).strip("'")


def _of_transport(module: Module) -> Iterator[tuple[int, str]]:
    """Names of gRPC's error, where it is not to be known."""
    if module.name.startswith(BOUNDARY):
        return
    for node in ast.walk(module.tree):
        named = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        if isinstance(node, ast.Attribute | ast.alias) and named.rpartition(".")[2] in TRANSPORT:
            yield node.lineno, named


def _uses(module: Module, makers: Mapping[str, Maker]) -> Iterator[Use]:
    """Every `reasons.X`."""
    of_tables = frozenset(status for maker in module.makers.values() for status in maker.statuses)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "reasons" and node.attr not in TABLES:
            yield Use(node.attr, node.lineno, *_context(module, node, makers, of_tables))


def _context(
    module: Module, node: ast.expr, makers: Mapping[str, Maker], of_tables: frozenset[str]
) -> tuple[frozenset[str], bool]:
    """Statuses of the error that a reason is named for, and whether it is one that is raised."""
    holder, inner = module.parents[node], node
    while not isinstance(holder, ast.Module):
        if isinstance(holder, ast.Compare | ast.Set) or (isinstance(holder, ast.Dict) and inner in holder.keys):
            return frozenset(), False
        if isinstance(holder, ast.Call):
            if _given(holder, makers) is inner and (statuses := _statuses(holder, makers)):
                return statuses, True
            return frozenset(), inner in holder.args
        if isinstance(holder, ast.ClassDef):
            codes = [each.value for each in holder.body if isinstance(each, ast.Assign)]
            return frozenset(status for code in codes if (status := _status(code))), True
        if isinstance(holder, ast.keyword):
            node = inner = holder.value
        elif isinstance(holder, ast.expr):
            inner = holder
        holder = module.parents[holder]
    return of_tables, True


def _lua_uses(source: str, declared: Mapping[str, Declared]) -> Iterator[Use]:
    for match in LUA_REFUSED.finditer(source):
        yield Use(match[1], source.count("\n", 0, match.start()) + 1, frozenset({LUA_STATUS}), True)
    for match in LUA_REPLACED.finditer(source):
        said = declared.get(match[2])
        fits = said is not None and said.http == int(match[1])
        statuses = frozenset[str]() if fits else frozenset({f"HTTP {match[1]}"})
        yield Use(match[2], source.count("\n", 0, match.start()) + 1, statuses, True)


def main() -> int:
    """Look at every module of the product."""
    modules = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    lua = sorted((ROOT / "gateway" / "xds").glob("*.lua"))
    read = [{str(path.relative_to(ROOT)): path.read_text() for path in paths} for paths in (modules, lua)]
    found = findings(read[0], DECLARED, read[1])
    print(*found, sep="\n", end="\n" if found else "")
    print(f"reasons: {len(DECLARED)} declared, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
