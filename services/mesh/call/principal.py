"""Who a call runs as, and what it may do."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

# The tenant that operates the mesh: it manages the other tenants and sees what concerns all of them.
OPERATOR = "default"
# The only role of a person who has to change the password first, and has no scopes until then.
PASSWORD_CHANGE = "password-change"


def covering(scope: str) -> frozenset[str]:
    """Scopes that grant `scope` (`verb:noun`): itself, `verb:*` and `*`."""
    verb, _, _ = scope.partition(":")
    return frozenset({scope, f"{verb}:*", "*"})


def uncovered(wanted: Iterable[str], held: frozenset[str]) -> str | None:
    """The first of the wanted scopes that the held ones do not include; None if they include all.

    `read:*` includes `read:agents`, and only `read:*` and `*` include `read:*`.
    """
    return next((scope for scope in wanted if held.isdisjoint(covering(scope))), None)


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller: a subject inside a tenant, and the scopes it holds.

    Attributes:
        credential_id: the API key or the session it came with; empty for a process on its own behalf.
        tier: name of its rate limits; empty for none.
        act: who acts on behalf of the subject, if that is somebody else; the first one acts now.
    """

    tenant_id: str
    subject: str
    roles: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    credential_id: str = ""
    tier: str = ""
    act: tuple[str, ...] = ()

    def allows(self, scope: str) -> bool:
        """Whether a held scope covers `scope`."""
        return not self.scopes.isdisjoint(covering(scope))

    def delegated(self, actor: str) -> "Principal":
        """The same principal, on whose behalf `actor` acts."""
        return replace(self, act=(actor, *self.act))
