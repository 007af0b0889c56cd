"""Roles: named sets of scopes, of which every tenant has three."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.principal import Principal, uncovered

ADMIN = "admin"
MEMBER = "member"
VIEWER = "viewer"
_READ = frozenset(
    {"read:conversations", "read:logs", "read:memories", "read:models", "read:streams", "read:tenants", "read:usage"}
)
BUILT_IN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        ADMIN: frozenset({"*"}),
        MEMBER: _READ | {"execute:chat", "execute:models", "write:conversations", "write:memories"},
        VIEWER: _READ,
    }
)
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        ADMIN: "May do everything in its tenant.",
        MEMBER: "May chat, remember and run models, and read what its tenant has.",
        VIEWER: "May read what its tenant has.",
    }
)


def scopes_of(roles: Iterable[str], own: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """The scopes of roles; `own` are those that the tenant made. A role that no longer exists allows nothing."""
    found: set[str] = set()
    for role in roles:
        found |= BUILT_IN.get(role) or frozenset(own.get(role, ()))
    return frozenset(found)


def require_known(roles: Iterable[str], own: Mapping[str, Iterable[str]]) -> None:
    """Refuse roles that do not exist.

    Raises:
        InvalidArgument: one of them does not exist.
    """
    for role in roles:
        if role not in BUILT_IN and role not in own:
            raise errors.InvalidArgument(
                f"there is no role {role!r}", reason=reasons.ROLE_UNKNOWN, metadata={"role": role}
            )


def require_held(caller: Principal, scopes: Iterable[str], what: str) -> None:
    """Refuse to grant, or to take over, what the caller may not do.

    Raises:
        PermissionDenied: the caller lacks one of the scopes.
    """
    missing = uncovered(scopes, caller.scopes)
    if missing is not None:
        raise errors.PermissionDenied(
            f"{what} the scope {missing}, which you do not have",
            reason=reasons.SCOPE_NOT_HELD,
            metadata={"scope": missing},
        )
