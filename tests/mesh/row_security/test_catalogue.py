"""The catalogue: no table of tenants without its policies, and no index that does not begin with the tenant."""

from typing import TYPE_CHECKING

import pytest

from cli.parts.postgres import USER
from services.declared import declarations, schemas
from services.mesh.call import errors
from services.mesh.stores import migrations, row_security
from services.mesh.stores.row_security import COMMANDS, SAME_TENANT, Access, Roles
from tests.databases import APP, SYSTEM, TWO_ROLES

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

# Tables without rows of tenants, and why.
WITHOUT_TENANTS = {
    "mesh.lease": "which process works",
    "mesh.event_group": "which service consumes which area",
    "mesh.consumed": "the ids of events that a service has handled",
    "mesh.blob_garbage": "names of objects that nobody has any more",
    "identity.revocation_counter": "how many revocations there were",
    "identity.signing_key": "the stack's own keys",
    "orchestrator.seal_key": "the stack's own key",
    **{f"{schema}.{migrations.VERSION_TABLE}": "the version of the schema" for schema in schemas()},
}
# Indexes that do not begin with the tenant, and why.
NOT_TENANT_FIRST = {
    "memory.passage_by_meaning": "HNSW takes one column; `hnsw.iterative_scan` goes on until enough passages pass",
    "memory.passage_by_words": "GIN takes no text without an extension; it is joined with `passage_of_fact`",
    "memory.passage_pkey": "the indexer gives passages of all tenants their vectors",
    "memory.passage_without_vector": "the indexer looks for passages of all tenants",
    "memory.fact_expiring": "sweep",
    "mesh.blob_object_key": "the sweep looks for objects without a row",
    "mesh.blob_released_pkey": "sweep",
    "mesh.dead_letter_by_age": "sweep",
    "identity.api_key_pkey": "a key says nothing about its tenant",
    "identity.refresh_token_pkey": "a refresh token says nothing about its tenant",
    "identity.session_by_end": "sweep",
    "identity.revocation_pkey": "processes follow the revocations of all tenants",
    "identity.revocation_by_age": "sweep",
    "orchestrator.pending_turn_oldest": "turns of processes that were killed, of all tenants",
    "orchestrator.response_by_age": "sweep",
    **{
        f"{declaration.name}.{index}": "the relay"
        for declaration in declarations()
        if declaration.sends
        for index in ("outbox_pkey", "outbox_waiting", "outbox_added")
    },
}
TABLES = """
    SELECT relnamespace::regnamespace::text || '.' || relname AS name, relrowsecurity AS enabled,
        relforcerowsecurity AS forced, relowner::regrole::text AS owner,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = class.oid AND attname = 'tenant_id') AS of_tenants
    FROM pg_class AS class WHERE relkind IN ('r', 'p', 'm', 'f') AND relnamespace::regnamespace::text = ANY($1)
"""
POLICIES = """
    SELECT schemaname || '.' || tablename AS name, policyname::text, cmd, roles::text[] AS roles, permissive, qual,
        with_check
    FROM pg_policies WHERE schemaname = ANY($1)
"""
INDEXES = """
    SELECT indexrelid::regclass::text AS name, indrelid::regclass::text AS table,
        pg_get_indexdef(indexrelid, 1, true) AS first
    FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace::regnamespace::text = ANY($1)
        AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'tenant_id')
"""
GRANTS = """
    SELECT table_schema || '.' || table_name AS name, grantee::text, privilege_type::text AS command
    FROM information_schema.role_table_grants WHERE table_schema = ANY($1) AND grantee = ANY($2)
"""
ROLES = """
    SELECT rolname::text AS name FROM pg_roles
    WHERE rolname = ANY($1) AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
"""
OWNED = "SELECT count(*) FROM pg_class WHERE relowner::regrole::text = ANY($1)"
MEMBERS = "SELECT count(*) FROM pg_auth_members WHERE member::regrole::text = ANY($1)"


def access() -> dict[str, Access]:
    """What the schemas declare."""
    return {migrations.MESH_SCHEMA: migrations.MESH_ACCESS} | {each.name: each.access for each in declarations()}


def system_commands() -> dict[str, set[str]]:
    """What the system's role may do, by table."""
    commands = {
        f"{schema}.{table}": set(words.split())
        for schema, each in access().items()
        for table, words in each.system.items()
    }
    for declaration in declarations():
        if declaration.sends:
            commands.setdefault(f"{declaration.name}.outbox", set()).update({"SELECT", "UPDATE", "DELETE"})
    return commands


async def test_every_table_has_forced_policies_or_a_reason_to_have_none(database: "OwnedDatabase") -> None:
    tables = await database.fetch(TABLES, [*schemas()])
    assert {row["name"] for row in tables if not row["of_tenants"]} == WITHOUT_TENANTS.keys()
    of_tenants = [row for row in tables if row["of_tenants"]]
    assert len(of_tenants) > 15
    assert [row["name"] for row in of_tenants if not (row["enabled"] and row["forced"])] == []
    assert {row["owner"] for row in tables} == {USER}


async def test_a_tenant_has_one_policy_and_those_of_the_system_name_table_and_command(
    database: "OwnedDatabase",
) -> None:
    of_tenants = {row["name"] for row in await database.fetch(TABLES, [*schemas()]) if row["of_tenants"]}
    rule = await database.fetchval("SELECT $1", SAME_TENANT.replace("soma.tenant'", "soma.tenant'::text"))
    expected = f"({rule.replace('(SELECT', '( SELECT').removesuffix(')')} AS current_setting))"
    own, system = set(), dict[str, set[str]]()
    for row in await database.fetch(POLICIES, [*schemas()]):
        assert row["permissive"] == "PERMISSIVE"
        if row["roles"] == [APP]:
            assert (row["cmd"], row["qual"], row["with_check"]) == ("ALL", expected, expected)
            own.add(row["name"])
            continue
        assert row["roles"] == [SYSTEM]
        assert {row["qual"], row["with_check"]} <= {"true", None}
        system.setdefault(row["name"], set()).add(row["cmd"])
    assert own == of_tenants
    assert system == {table: commands for table, commands in system_commands().items() if table in of_tenants}


async def test_roles_of_services_have_the_commands_that_are_declared_and_no_others(database: "OwnedDatabase") -> None:
    of_tenants = {row["name"] for row in await database.fetch(TABLES, [*schemas()]) if row["of_tenants"]}
    expected = {(table, APP, command) for table in of_tenants for command in COMMANDS}
    expected |= {
        (f"{schema}.{table}", APP, command)
        for schema, each in access().items()
        for table, words in each.shared.items()
        for command in words.split()
    }
    expected |= {(table, SYSTEM, command) for table, words in system_commands().items() for command in words}
    grants = await database.fetch(GRANTS, [*schemas()], [APP, SYSTEM])
    assert {(row["name"], row["grantee"], row["command"]) for row in grants} == expected


async def test_roles_of_services_own_nothing_and_have_no_power(database: "OwnedDatabase") -> None:
    roles = [APP, SYSTEM]
    assert await database.fetch(ROLES, roles) == []
    assert await database.fetchval(OWNED, roles) == 0
    assert await database.fetchval(MEMBERS, roles) == 0


async def test_the_tenant_is_first_in_every_index_or_there_is_a_reason(database: "OwnedDatabase") -> None:
    indexes = await database.fetch(INDEXES, [*schemas()])
    others = {row["name"] for row in indexes if row["first"].split()[0] != "tenant_id"}
    assert others == NOT_TENANT_FIRST.keys()
    assert len(indexes) - len(others) > 20


async def test_a_start_with_nothing_to_do_changes_no_policy_and_one_that_differs_is_made_again(
    database: "OwnedDatabase",
) -> None:
    untouched = frozenset({migrations.VERSION_TABLE})
    own = {each.name: each for each in declarations()}["memory"].access
    outbox = Access(system={**own.system, "outbox": "SELECT UPDATE DELETE"}, leakproof=own.leakproof)

    async def missing() -> list[str]:
        async with database.acquire() as connection:
            return await row_security.changes(connection, "memory", TWO_ROLES, outbox, untouched)

    assert await missing() == []
    await database.execute("ALTER TABLE memory.fact NO FORCE ROW LEVEL SECURITY")
    await database.execute("DROP POLICY soma_tenant ON memory.turn")
    await database.execute(f"CREATE POLICY soma_more ON memory.turn TO {APP} USING (true)")
    await database.execute(f"CREATE POLICY reports ON memory.turn TO {USER} USING (true)")
    await database.execute(f"GRANT TRUNCATE ON memory.media TO {APP}")
    statements = await missing()
    assert sorted(statement.split(" USING")[0] for statement in statements) == [
        "ALTER TABLE memory.fact ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f'CREATE POLICY soma_tenant ON memory.turn FOR ALL TO "{APP}"',
        "DROP POLICY soma_more ON memory.turn",
        f'REVOKE TRUNCATE ON memory.media FROM "{APP}"',
    ]
    for statement in statements:
        await database.execute(statement)
    assert await missing() == []


async def test_roles_that_policies_do_not_bind_are_refused(postgres_url: str) -> None:
    await migrations.check_roles(postgres_url, TWO_ROLES)
    for roles, setting in ((Roles(USER, SYSTEM), "postgres_url"), (Roles(APP, USER), "postgres_system_url")):
        with pytest.raises(errors.FailedPrecondition, match=f"the role {USER} of {setting} is a superuser"):
            await migrations.check_roles(postgres_url, roles)
