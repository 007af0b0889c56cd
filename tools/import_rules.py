"""The import rule of services: domain modules import no transport, no driver and no runtime of protobuf.

They may handle messages of the contracts, which are imported from `soma`.

It is a contract type of import-linter. The types that import-linter has cannot express "every module except these",
and the rule must hold for a new service without a change here.
"""

from __future__ import annotations

import re
from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class DomainContract(Contract):
    """Fails for each domain module of `services` that imports one of `forbidden` directly."""

    type_name = "domain"

    # Packages that no domain module imports.
    forbidden: Any = fields.ListField(subfield=fields.StringField())
    # Modules and folders of a service that may import them, by name.
    outer_rooms: Any = fields.ListField(subfield=fields.StringField())
    # Folders of `services` that are no service.
    foundations: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Check every direct import of every domain module."""
        domain = sorted(module for module in graph.modules if self._is_domain(module))
        broken = [
            (module, imported)
            for module in domain
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if any(_imports(graph, module, imported, name) for name in self.forbidden)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each module and its forbidden import."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} imports {imported}")

    def _is_domain(self, module: str) -> bool:
        parts = module.split(".")
        return (
            len(parts) > 2
            and parts[0] == "services"
            and parts[1] not in self.foundations
            and not any(part in self.outer_rooms for part in parts[2:])
        )


def _imports(graph: Any, module: str, imported: str, name: str) -> bool:
    """Whether a module imports the package `name` where the graph says that it imports `imported`."""
    if imported == name or imported.startswith(f"{name}."):
        return True
    if not name.startswith(f"{imported}."):
        return False
    # The graph knows a package that is installed by its first name only: of `google.protobuf`, the line tells.
    parent, _, last = name.rpartition(".")
    written = re.compile(rf"\b{re.escape(name)}\b|from {re.escape(parent)} import .*\b{last}\b")
    return any(
        written.search(found["line_contents"]) for found in graph.get_import_details(importer=module, imported=imported)
    )
