"""Compares the reasons of errors in the code with the contracts.

It refuses a reason that the contracts do not declare or declare with another status, and a declared reason that no code
raises. The code names a reason as `reasons.STORAGE_FULL` of the generated module. This program finds the status beside
the name: from the class of the error, from `code=Code.X` or `status="X"` in the same call, or from a function that
passes its parameter on as the reason of an error. A reason in a table has the statuses that the functions of its module
raise. The command line may have reasons of its own, because it sends them to nobody.

It also refuses gRPC's own error outside the modules that turn it into a MeshError, which callers of neighbours get.
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
# Code whose own reasons are sent to no client.
OWN = "cli/"
# gRPC's errors. Only these modules of the product may use them; the SDK uses gRPC's channels directly.
TRANSPORT = frozenset({"AioRpcError", "RpcError"})
BOUNDARY = (
    "services/mesh/call/boundary.py",
    "services/mesh/transport/local/outcome.py",
    "services/mesh/call/status.py",
    # It calls a gRPC server that is not of the mesh.
    "services/model/adapters/triton/",
    "sdk/",
)
# The other names in the generated module.
TABLES = ("DECLARED", "Declared", "HTTP_STATUSES")
# In Envoy's Lua: the reasons of the body check, and the reasons that replace an HTTP status.
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
    """A function that raises or returns errors whose reason is one of its parameters."""

    position: int
    parameter: str
    statuses: frozenset[str]


@dataclass
class Module:
    """One module: its syntax tree, and the parent of each node."""

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
    """A place in the code that names a reason; `statuses` are its statuses there, empty when they are unknown."""

    reason: str
    line: int
    statuses: frozenset[str]
    raised: bool


def findings(sources: Mapping[str, str], declared: Mapping[str, Declared], lua: Mapping[str, str]) -> list[str]:
    """The problems with the reasons in the sources, in words. The sources are texts by file name."""
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
            "services.mesh.call.status converts the errors of any other channel"
            for line, name in _of_transport(module)
        ]
        for use in _uses(module, calls):
            raised |= {use.reason} if use.raised else set()
            found += [f"{module.name}:{use.line}: {why}" for why in _wrong(use, declared)]
    for name, source in lua.items():
        for use in _lua_uses(source, declared):
            raised.add(use.reason)
            found += [f"{name}:{use.line}: {why}" for why in _wrong(use, declared)]
    found += [f"{reason}: declared, but no code raises it; delete it" for reason in declared if reason not in raised]
    return found


def _wrong(use: Use, declared: Mapping[str, Declared]) -> Iterator[str]:
    declaration = declared.get(use.reason)
    if declaration is None:
        yield f"{use.reason} is not declared; add it to the area's errors.proto and run `make gen`"
    elif use.statuses and declaration.status not in use.statuses:
        yield f"{use.reason} is declared with {declaration.status}, but has {' or '.join(sorted(use.statuses))} here"


def _makers(modules: list[Module]) -> dict[str, Maker]:
    """Find the makers of every module, and return the public ones, which other modules may call."""
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
        argument = _reason_argument(call, makers)
        statuses = _statuses(call, makers)
        if isinstance(argument, ast.Name) and argument.id in positions and statuses:
            return Maker(positions[argument.id], argument.id, statuses)
    return None


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _reason_argument(call: ast.Call, makers: Mapping[str, Maker]) -> ast.expr | None:
    """The argument that is the reason of a call's error."""
    maker = makers.get(_called(call))
    for keyword in call.keywords:
        if keyword.arg == (maker.parameter if maker else "reason"):
            return keyword.value
    if maker and 0 <= maker.position < len(call.args):
        return call.args[maker.position]
    return None


def _statuses(call: ast.Call, makers: Mapping[str, Maker]) -> frozenset[str]:
    """The statuses of the error that a call makes; empty when it makes none, or when they are unknown."""
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
    """Reasons that are written as text literals."""
    own = module.name.startswith(OWN)
    # The names of statuses are also used for other things.
    known = declared.keys() - reasons.HTTP_STATUSES.keys()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value in known:
            yield node.lineno, str(node.value)
        argument = None
        if isinstance(node, ast.Call) and _statuses(node, makers):
            argument = _reason_argument(node, makers)
        elif isinstance(node, ast.Assign) and isinstance(module.parents[node], ast.ClassDef):
            argument = node.value if ast.unparse(node.targets[0]) == "reason" else None
        text = argument is not None and isinstance(argument, ast.Constant | ast.JoinedStr | ast.BinOp)
        if argument is not None and text and not own and ast.unparse(argument).strip("'") not in {*known, "None"}:
            yield argument.lineno, ast.unparse(argument).strip("'")


def _of_transport(module: Module) -> Iterator[tuple[int, str]]:
    """Uses of gRPC's errors outside the boundary."""
    if module.name.startswith(BOUNDARY):
        return
    for node in ast.walk(module.tree):
        named = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        if isinstance(node, ast.Attribute | ast.alias) and named.rpartition(".")[2] in TRANSPORT:
            yield node.lineno, named


def _uses(module: Module, makers: Mapping[str, Maker]) -> Iterator[Use]:
    """Every use of `reasons.X`."""
    of_tables = frozenset(status for maker in module.makers.values() for status in maker.statuses)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "reasons" and node.attr not in TABLES:
            yield Use(node.attr, node.lineno, *_context(module, node, makers, of_tables))


def _context(
    module: Module, node: ast.expr, makers: Mapping[str, Maker], of_tables: frozenset[str]
) -> tuple[frozenset[str], bool]:
    """The statuses of the error that has this reason, and whether the error is raised."""
    holder, inner = module.parents[node], node
    while not isinstance(holder, ast.Module):
        if isinstance(holder, ast.Compare | ast.Set) or (isinstance(holder, ast.Dict) and inner in holder.keys):
            return frozenset(), False
        if isinstance(holder, ast.Call):
            if _reason_argument(holder, makers) is inner and (statuses := _statuses(holder, makers)):
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
        declaration = declared.get(match[2])
        matches = declaration is not None and declaration.http == int(match[1])
        statuses = frozenset[str]() if matches else frozenset({f"HTTP {match[1]}"})
        yield Use(match[2], source.count("\n", 0, match.start()) + 1, statuses, True)


def main() -> int:
    """Check every module of the product."""
    modules = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    lua = sorted((ROOT / "gateway" / "xds").glob("*.lua"))
    read = [{str(path.relative_to(ROOT)): path.read_text() for path in paths} for paths in (modules, lua)]
    found = findings(read[0], DECLARED, read[1])
    print(*found, sep="\n", end="\n" if found else "")
    print(f"reasons: {len(DECLARED)} declared, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
