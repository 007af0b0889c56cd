"""The statements of all stores: whose they are, what they may do, and that they keep their indexes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from services.declared import declarations
from services.memory.store import facts
from services.mesh.stores import migrations
from tests.mesh.row_security.statements import SYSTEM, Statement, statements, written_elsewhere
from tests.mesh.row_security.test_catalogue import TABLES, system_commands

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection
    from tests.databases import OwnedDatabase

# EXPLAIN takes parameters without values only in a statement that has none itself.
EXPLAIN = """
    CREATE FUNCTION explained(statement text) RETURNS json LANGUAGE plpgsql AS $$
        DECLARE plan json;
        BEGIN EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO plan; RETURN plan; END
    $$
"""
# Tables that are read whole, and why.
WHOLE = {
    "mesh.blob_garbage": "the sweep takes any of its rows",
    "identity.revocation_counter": "it has one row",
    "identity.signing_key": "it has a few rows, and all are wanted",
}
# The modules of services write their statements as constants; these are not about rows of services.
WITHOUT_ROWS = ("services/mesh/stores/",)
ALL = tuple(statements())


@pytest.fixture
async def explaining(database: "OwnedDatabase") -> "OwnedDatabase":
    """A database whose roles can ask for plans without values."""
    await database.execute(EXPLAIN)
    return database


async def explain(connection: "Connection", statement: Statement) -> Any:
    """The plan of a statement for any parameters."""
    return await connection.fetchval("SELECT explained($1)", statement.sql)


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    if isinstance(plan, list):
        for each in plan:
            yield from nodes(each)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for value in plan.values():
            yield from nodes(value)


def test_statements_are_constants_that_this_test_finds() -> None:
    assert [place for place in written_elsewhere() if not place.startswith(WITHOUT_ROWS)] == []
    assert len(ALL) > 120


def test_the_statements_of_the_system_are_those_of_this_list() -> None:
    known = {(each.module, each.name) for each in ALL} | {(each.module, "*") for each in ALL}
    listed = {(module, name) for module, names in SYSTEM.items() for name in names}
    assert listed - known == set()


async def test_every_role_may_do_its_statements(explaining: "OwnedDatabase") -> None:
    async with explaining.tenants.connection("acme") as connection:
        for statement in ALL:
            if statement.of_tenants:
                assert await explain(connection, statement), statement
    async with explaining.system.connection() as connection:
        for statement in ALL:
            if statement.of_system:
                assert await explain(connection, statement), statement


async def test_the_system_may_do_nothing_that_none_of_its_statements_needs(explaining: "OwnedDatabase") -> None:
    of_system = [each for each in ALL if each.of_system]

    async def refused(table: str, command: str) -> bool:
        """Whether a statement fails without a command."""
        about = [each for each in of_system if table in each.sql]
        await explaining.execute(f"REVOKE {command} ON {table} FROM {explaining.system_role}")
        try:
            async with explaining.system.connection() as connection:
                for statement in about:
                    try:
                        await explain(connection, statement)
                    except asyncpg.InsufficientPrivilegeError:
                        return True
            return False
        finally:
            await explaining.execute(f"GRANT {command} ON {table} TO {explaining.system_role}")

    # One area stands for all of their outboxes.
    others = {f"{each.name}.outbox" for each in declarations() if each.name != "model"}
    grants = [
        (table, command) for table, words in system_commands().items() for command in words if table not in others
    ]
    assert [grant for grant in grants if not await refused(*grant)] == []


@pytest.mark.parametrize("whose", ["tenants", "system"])
async def test_no_plan_reads_a_whole_table(explaining: "OwnedDatabase", whose: str) -> None:
    tables = {row["name"] for row in await explaining.fetch(TABLES, ["mesh", *(each.name for each in declarations())])}
    assert tables >= WHOLE.keys()
    pool = explaining.tenants.transaction("acme") if whose == "tenants" else explaining.system.transaction()
    read = set()
    async with pool as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        for statement in ALL:
            if statement.of_tenants if whose == "tenants" else statement.of_system:
                for node in nodes(await explain(connection, statement)):
                    if node["Node Type"] == "Seq Scan":
                        read.add((statement.module, statement.name, node["Relation Name"]))
    names = {table.partition(".")[2] for table in WHOLE}
    assert {each for each in read if each[2] not in names} == set()


async def test_recalls_keep_their_indexes_with_many_tenants(database: "OwnedDatabase") -> None:
    await _remember_much(database)
    vector = [1.0] + [0.0] * 383
    async with database.tenants.transaction("tenant1") as connection:
        await connection.execute(facts.SCAN_ON)
        by_meaning = await _analysed(connection, facts.BY_MEANING, "tenant1", vector, {}, 5)
        rows = await connection.fetch(facts.BY_MEANING, "tenant1", vector, {}, 5)
        by_words = await _analysed(connection, facts.BY_WORDS, "tenant1", "word771", {}, 5)
        recall = await _analysed(connection, facts.RECALL, "tenant1", "tenant1/1", 1)
    assert "passage_by_meaning" in _indexes(by_meaning)
    assert [row["key"].split("/")[0] for row in rows] == ["tenant1"] * 5
    assert "passage_by_words" in _indexes(by_words)
    scans = [node for node in nodes(recall) if "Relation Name" in node and "Scan" in node["Node Type"]]
    assert scans
    assert all("Index" in node["Node Type"] for node in scans)
    assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans) <= 1


async def _remember_much(database: "OwnedDatabase") -> None:
    """Ten tenants with 400 facts each."""
    # The index is much faster to make at the end.
    index = await database.fetchval("SELECT pg_get_indexdef('memory.passage_by_meaning'::regclass)")
    await database.execute(f"""
        DROP INDEX memory.passage_by_meaning;
        INSERT INTO memory.fact (tenant_id, key, value, facets)
        SELECT 'tenant' || n % 10, 'tenant' || n % 10 || '/' || n, '', '{{}}' FROM generate_series(1, 4000) AS n;
        INSERT INTO memory.passage (tenant_id, fact_id, heading, text, embedding)
        SELECT tenant_id, id, '', 'word' || split_part(key, '/', 2),
            (SELECT array_agg(sin(split_part(key, '/', 2)::int * i)) FROM generate_series(1, 384) AS i)::real[]::vector
        FROM memory.fact;
        {index};
        ANALYZE memory.fact; ANALYZE memory.passage;
    """)


def _indexes(plan: Any) -> set[object]:
    return {node.get("Index Name") for node in nodes(plan)}


async def _analysed(connection: "Connection", statement: str, *arguments: object) -> Any:
    return await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)


def test_the_schema_of_the_mesh_is_one_of_those_that_are_tested() -> None:
    assert migrations.MESH_SCHEMA in {each.sql.partition(".")[0].split()[-1] for each in ALL}
