"""The statements of all stores, as their modules name them, and which of them are the system's."""

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
_SQL = re.compile(r"\s*(WITH (RECURSIVE )?\w+ AS|SELECT\s|INSERT INTO\b|UPDATE \S+\s|DELETE FROM\b)")
# They look into the catalogue, or set what the policies read, and touch no table of a service.
_WITHOUT_TABLES = frozenset({"services.mesh.stores.migrations", "services.mesh.stores.row_security"})
# One area stands for all: their outboxes are made by one statement.
_NAMES = MappingProxyType({"table": "model.outbox", "area": "model", "most": "256"})

# What the role for many tenants does, by module, and why one tenant's statement cannot do it.
SYSTEM: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "services.mesh.process.lease": {"*": "a lease belongs to a process"},
        "services.mesh.events.groups": {"*": "a consumer belongs to a service"},
        "services.mesh.events.relay": {"*": "the relay moves the events of all tenants in their order"},
        "services.mesh.events.service": {"*": "an area has one stream for all tenants"},
        "services.mesh.events.delivery": {
            "_HANDLED": "an entry that cannot be read may name no tenant",
            "_GIVEN_UP": "an entry that cannot be read may name no tenant",
            "_PRUNE": "sweep",
            "_PRUNE_LETTERS": "sweep",
        },
        "services.mesh.blobs.sweep": {"*": "sweep"},
        "services.mesh.blobs.references": {
            "RELEASE": "a sweep of responses lets their bytes go",
            **dict.fromkeys(
                (
                    "OLDEST_RELEASED",
                    "LOCK",
                    "EXISTING",
                    "DISCARD",
                    "FORGET_RELEASED",
                    "GARBAGE",
                    "FORGET_GARBAGE",
                    "UNKNOWN",
                ),
                "sweep",
            ),
        },
        "services.memory.store.facts": {"SWEEP": "sweep"},
        "services.memory.store.passages": {"*": "passages of all tenants share a batch of the embedder"},
        "services.model.store": {"_INSERT": "group commit"},
        "services.orchestrator.chat.store": {
            "INSERT": "group commit",
            "LEFT_BEHIND": "turns of processes that were killed, of all tenants",
            "TAKE_TURN": "turns of processes that were killed, of all tenants",
        },
        "services.orchestrator.responses.store": {
            "INSERT_EVENT": "group commit",
            "STILL_WANTED": "all responses that a process makes, once a second",
            "FORGET": "sweep",
        },
        "services.orchestrator.responses.seal": {"*": "the stack has one key"},
        "services.identity.store.accounts": {"USED": "keys of all tenants, once in a while"},
        "services.identity.store.credentials": {"KEY": "a key says nothing about its tenant"},
        "services.identity.store.keys": {"*": "the stack signs for all tenants"},
        "services.identity.store.revocations": {
            "COUNT": "a refresh token that is used twice ends its session",
            "ADD": "a refresh token that is used twice ends its session",
            "NEWEST": "processes follow the revocations of all tenants",
            "AFTER": "processes follow the revocations of all tenants",
            "SWEEP": "sweep",
        },
        "services.identity.store.sessions": {
            "FIND": "a refresh token says nothing about its tenant",
            "USE": "a refresh token says nothing about its tenant",
            "ADD_TOKEN": "the next refresh token, in the same transaction",
            "END": "a refresh token that is used twice ends its session",
            "SWEEP": "sweep",
        },
        "services.identity.store.tenants": {"LIST": "the operator lists all tenants"},
    }
)
# These are also sent for one tenant.
BOTH: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "services.mesh.events.delivery": frozenset({"_HANDLED", "_GIVEN_UP"}),
        "services.mesh.blobs.references": frozenset({"RELEASE"}),
        "services.orchestrator.chat.store": frozenset({"INSERT"}),
        "services.identity.store.revocations": frozenset({"COUNT", "ADD"}),
        "services.identity.store.sessions": frozenset({"ADD_TOKEN", "END"}),
    }
)


class Statement(NamedTuple):
    """One statement of a store."""

    module: str
    name: str
    sql: str

    @property
    def of_system(self) -> bool:
        """Whether the system's role sends it."""
        return bool(SYSTEM.get(self.module, {}).keys() & {"*", self.name})

    @property
    def of_tenants(self) -> bool:
        """Whether it is sent for one tenant."""
        return not self.of_system or self.name in BOTH.get(self.module, ())


def statements() -> Iterator[Statement]:
    """Every statement that a module of a service has as a constant."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module in _WITHOUT_TABLES or not any(_constants(path)):
            continue
        for name, value in vars(import_module(module)).items():
            if isinstance(value, str) and _SQL.match(value) and name in set(_constants(path)):
                yield Statement(module, name, value.format(**_NAMES) if _has_places(value) else value)


def written_elsewhere() -> list[str]:
    """Statements that are written inside of functions, where `statements` does not find them."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "services").rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value)
    ]


def _constants(path: Path) -> Iterator[str]:
    """The names of a module's constants whose text may be a statement."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            if any(isinstance(text, str) and _SQL.match(text) for text in texts):
                yield node.targets[0].id


def _has_places(sql: str) -> bool:
    return bool(re.search(r"\{(table|area|most)\}", sql))
