"""The import rule of a service's rooms: domain modules know no transport, no database driver and no protobuf runtime.

A contract type of import-linter, because its own types cannot say "every module but these", and a new service must be
covered without an edit here.
"""

from __future__ import annotations

from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class DomainContract(Contract):
    """Fails for each domain module of `services` that imports one of `forbidden` directly."""

    type_name = "domain"

    # Packages that no domain module imports.
    forbidden: Any = fields.ListField(subfield=fields.StringField())
    # Rooms of a service that are allowed to, by module or folder name.
    outer_rooms: Any = fields.ListField(subfield=fields.StringField())
    # Folders of `services` that are not a service.
    foundations: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look at every direct import of every domain module."""
        domain = sorted(module for module in graph.modules if self._is_domain(module))
        broken = [
            (module, imported)
            for module in domain
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if any(imported == name or imported.startswith(f"{name}.") for name in self.forbidden)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each module and what it imports."""
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
