"""Row-level security: the second wall between tenants, behind the `tenant_id` that every statement names.

A table with a column `tenant_id` is a table of tenants. The role of the application sees and writes only those of its
rows that belong to the tenant of its transaction, and without one it sees none. Group commits, relays and sweeps work
for many tenants in one statement: they have a role of their own, the system's, which may use the commands that `Access`
names, table by table, and nothing else. The tables belong to a third role, whose only work is migrations.

Policies and grants follow from this module and from the declarations of services, so a new table has them from its
first migration on. They are compared with the catalogue at each start, and made again where they differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores.scope import EVERY_TENANT, EVERY_TENANT_SETTING, TENANT_SETTING

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Connection

log = structlog.get_logger("postgres")

COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# In a sub-select, so that it is read once in a statement and not for each row.
SAME_TENANT = f"tenant_id = (SELECT current_setting('{TENANT_SETTING}', true))"
_FOR_ALL_TENANTS = f"(SELECT current_setting('{EVERY_TENANT_SETTING}', true)) = '{EVERY_TENANT}'"
# Policies with other names are the work of an administrator, and stay.
_PREFIX = "soma_"
TENANT_POLICY = f"{_PREFIX}tenant"

_ROLES = """
    SELECT rolname::text AS name, rolsuper OR rolbypassrls AS above FROM pg_roles
    WHERE rolname = ANY($1::text[]) OR rolname = current_user
"""
_OWNER = "SELECT current_user::text AS name, rolsuper AS superuser FROM pg_roles WHERE rolname = current_user"
_MAY_USE = "SELECT has_schema_privilege($1, $2, 'USAGE')"
_TABLES = """
    SELECT relname::text AS name, relrowsecurity AND relforcerowsecurity AS walled,
        EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = class.oid AND attname = 'tenant_id' AND NOT attisdropped
        ) AS of_tenants,
        ARRAY(
            SELECT polname || ' ' || polcmd::text || ' ' || array_to_string(ARRAY(
                SELECT rolname FROM pg_roles WHERE pg_roles.oid = ANY(polroles) ORDER BY rolname
            ), ',') FROM pg_policy WHERE polrelid = class.oid AND starts_with(polname::text, $2)
        ) AS policies,
        ARRAY(
            SELECT rolname || ' ' || privilege_type FROM aclexplode(relacl) JOIN pg_roles ON pg_roles.oid = grantee
            WHERE grantee <> relowner AND rolname = ANY($3::text[])
        ) AS grants
    FROM pg_class AS class
    WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p') ORDER BY relname
"""
_LEAKPROOF = "SELECT proleakproof FROM pg_proc WHERE oid = $1::text::regprocedure"


@dataclass(frozen=True)
class Access:
    """What a schema needs beside the tenants' own access to their rows; commands are those of SQL, with spaces between.

    Attributes:
        system: what statements about many tenants do, by table.
        shared: what statements of one tenant do to tables that have no tenant, by table.
        leakproof: operators' functions that an index of a table of tenants needs. Postgres looks for rows with such an
            operator before it has compared their tenants only if it knows that the operator betrays nothing about
            them. Only a superuser can tell it so; without one, it looks at all rows of the tenant.
    """

    system: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shared: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    leakproof: tuple[str, ...] = ()


@dataclass(frozen=True)
class Roles:
    """The roles of the application and of the system, by name; the same one where there is only one."""

    tenant: str
    system: str

    @property
    def one(self) -> bool:
        """Whether one role has both jobs."""
        return self.tenant == self.system


@dataclass(frozen=True)
class _Policy:
    name: str
    command: str
    role: str
    rule: str

    def __str__(self) -> str:
        """As the catalogue has it, without the rule."""
        letters = {"ALL": "*", "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}
        return f"{self.name} {letters[self.command]} {self.role}"

    def statement(self, table: str) -> str:
        """The statement that makes it."""
        using = f" USING ({self.rule})" if self.command != "INSERT" else ""
        check = f" WITH CHECK ({self.rule})" if self.command in ("ALL", "INSERT", "UPDATE") else ""
        return f"CREATE POLICY {self.name} ON {table} FOR {self.command} TO {_quoted(self.role)}{using}{check}"


async def check_roles(connection: "Connection", roles: Roles) -> None:
    """Check that Postgres holds these roles to the policies; `connection` is the owner's.

    Raises:
        FailedPrecondition: one of two roles owns the tables, or policies do not bind it.
    """
    owner = await connection.fetchrow(_OWNER)
    assert owner is not None
    above = {row["name"] for row in await connection.fetch(_ROLES, [roles.tenant, roles.system]) if row["above"]}
    if roles.one:
        if roles.tenant in above:
            log.warning(
                "row-level security is off: policies do not bind the role of postgres_url; "
                "give postgres_url, postgres_system_url and postgres_owner_url three roles",
                role=roles.tenant,
            )
        else:
            log.warning(
                "row-level security is weak: one role owns the tables and works for all tenants; "
                "give postgres_url, postgres_system_url and postgres_owner_url three roles",
                role=roles.tenant,
            )
        return
    for setting, role in (("postgres_url", roles.tenant), ("postgres_system_url", roles.system)):
        if role in above or role == owner["name"]:
            why = "is a superuser or has BYPASSRLS" if role in above else "is that of postgres_owner_url"
            raise errors.FailedPrecondition(
                f"the role {role} of {setting} {why}, so row-level security does not bind it; give it a role that "
                "owns nothing",
                reason=reasons.POSTGRES_REFUSED,
            )


async def changes(
    connection: "Connection", schema: str, roles: Roles, access: Access, untouched: frozenset[str]
) -> list[str]:
    """The statements that bring the policies and grants of a schema to what they are to be; none if they are.

    Args:
        untouched: tables that only the owner uses.
    """
    owner = await connection.fetchrow(_OWNER)
    assert owner is not None
    others = sorted({roles.tenant, roles.system} - {owner["name"]})
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {_quoted(role)}"
        for role in others
        if not await connection.fetchval(_MAY_USE, role, schema)
    ]
    for table in await connection.fetch(_TABLES, schema, _PREFIX, [roles.tenant, roles.system]):
        if table["name"] not in untouched:
            statements += _changes_of(table, f"{schema}.{table['name']}", roles, access, others)
    if owner["superuser"]:
        for function in access.leakproof:
            if not await connection.fetchval(_LEAKPROOF, function):
                statements.append(f"ALTER FUNCTION {function} LEAKPROOF")
    return statements


def _changes_of(table: "asyncpg.Record", name: str, roles: Roles, access: Access, others: list[str]) -> Iterator[str]:
    of_tenants = table["of_tenants"]
    system = access.system.get(table["name"], "").split()
    if of_tenants:
        if not table["walled"]:
            yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        wanted = {str(policy): policy for policy in _policies(roles, system)}
        for found in table["policies"]:
            if found not in wanted:
                yield f"DROP POLICY {found.split()[0]} ON {name}"
        for policy in wanted.keys() - set(table["policies"]):
            yield wanted[policy].statement(name)
    own = COMMANDS if of_tenants else access.shared.get(table["name"], "").split()
    granted = {(roles.tenant, command) for command in own} | {(roles.system, command) for command in system}
    found = {tuple(grant.rsplit(" ", 1)) for grant in table["grants"]}
    for role, command in sorted(found - granted):
        yield f"REVOKE {command} ON {name} FROM {_quoted(role)}"
    for role, command in sorted(granted - found):
        if role in others:
            yield f"GRANT {command} ON {name} TO {_quoted(role)}"


def _policies(roles: Roles, system: list[str]) -> Iterator[_Policy]:
    yield _Policy(TENANT_POLICY, "ALL", roles.tenant, SAME_TENANT)
    rule, kind = (_FOR_ALL_TENANTS, "one_role") if roles.one else ("true", "system")
    for command in system:
        yield _Policy(f"{_PREFIX}{kind}_{command.lower()}", command, roles.system, rule)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
