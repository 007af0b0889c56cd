"""The import rule of services: domain modules import no transport, no database driver and no protobuf runtime.

It is a contract type of import-linter. The types that import-linter has cannot express "every module except these",
and the rule must hold for a new service without a change here.
"""

from __future__ import annotations

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
            if any(imported == name or imported.startswith(f"{name}.") for name in self.forbidden)
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
