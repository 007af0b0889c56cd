"""The list of all services, which the host, the command line, the tests and the documentation read.

The module of a declaration is imported only when the declaration is asked for: most commands need only the names.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soma.errors.v1 import reasons

from services.mesh.call.errors import InvalidArgument

if TYPE_CHECKING:
    from services.mesh.declaration import Declaration

_MODULES = {
    "identity": "services.identity.main",
    "edge": "gateway.edge.main",
    "orchestrator": "services.orchestrator.main",
    "policy": "services.policy.main",
    "memory": "services.memory.main",
    "model": "services.model.main",
}
# This one is part of no stack; tests and benchmarks ask for it by name.
_TESTING = {"testing": "services.mesh.testing.main"}

# In the order in which a process builds its services.
SERVICES = tuple(_MODULES)


def declared(name: str) -> "Declaration[Any]":
    """The declaration of a service.

    Raises:
        InvalidArgument: there is no such service.
    """
    declaration: Declaration[Any] = import_module(_module(name)).SERVICE
    return declaration


def _module(name: str) -> str:
    module = (_MODULES | _TESTING).get(name)
    if module is None:
        raise InvalidArgument(
            f"no such service: {name}; there are {', '.join(SERVICES)}", reason=reasons.SERVICE_UNKNOWN
        )
    return module


def declarations() -> Iterator["Declaration[Any]"]:
    """The declarations of all services of a stack."""
    return map(declared, SERVICES)


def needed(services: Iterable[str]) -> tuple[str, ...]:
    """The parts that some of these services need, each once.

    Raises:
        InvalidArgument: one of them is no service.
    """
    return tuple(dict.fromkeys(part for service in services for part in _parts(service, "needs")))


def used(services: Iterable[str]) -> tuple[str, ...]:
    """The parts that some of these services use where there are any, each once.

    Raises:
        InvalidArgument: one of them is no service.
    """
    return tuple(dict.fromkeys(part for service in services for part in _parts(service, "uses")))


def _parts(service: str, how: str) -> tuple[str, ...]:
    """The parts that a service needs or uses, as its declaration is written.

    A stack asks for them before it starts anything. To import the declarations of all services for them would take
    0.24 s and 10 MB of the process that starts the stack, which uses nothing else of them.
    """
    module = _module(service)
    written = None if module in sys.modules else _written(module, how)
    if written is not None:
        return written
    declaration = declared(service)
    return declaration.needs if how == "needs" else declaration.uses


def _written(module: str, argument: str) -> tuple[str, ...] | None:
    """An argument of `SERVICE = Declaration(…)` in the source of a module; None unless it is a literal."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    for statement in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="SERVICE")], value=ast.Call(keywords=keywords)):
                if not all(keyword.arg for keyword in keywords):
                    return None
                given = [keyword.value for keyword in keywords if keyword.arg == argument]
                try:
                    return tuple(ast.literal_eval(given[0])) if given else ()
                except ValueError:
                    return None
    return None


def schemas() -> Mapping[str, Path]:
    """The folders of migrations by schema: the mesh's own, and those that services declare."""
    from services.mesh.stores import migrations

    own = {declaration.name: declaration.migrations for declaration in declarations() if declaration.migrations}
    return {migrations.MESH_SCHEMA: migrations.MESH_FOLDER, **own}


def require_sent(service: str, types: Iterable[str]) -> None:
    """Check that a service handles only events that another one sends.

    Raises:
        ValueError: no service declares that it sends an event which `service` handles.
    """
    from services.mesh.events.event import area_of

    for type in types:
        area = area_of(type)
        if area not in _MODULES | _TESTING or type not in declared(area).sends:
            raise ValueError(f"{service} handles {type!r}, and no service declares that it sends it")
