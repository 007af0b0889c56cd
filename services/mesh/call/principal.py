"""Who a call runs as, and what it may do."""

from dataclasses import dataclass


def covering(scope: str) -> frozenset[str]:
    """Scopes that grant `scope` (`verb:noun`): itself, `verb:*` and `*`."""
    verb, _, _ = scope.partition(":")
    return frozenset({scope, f"{verb}:*", "*"})


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller: a subject inside a tenant, and the scopes it holds."""

    tenant_id: str
    subject: str
    roles: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()

    def allows(self, scope: str) -> bool:
        """Whether a held scope covers `scope`."""
        return not self.scopes.isdisjoint(covering(scope))
