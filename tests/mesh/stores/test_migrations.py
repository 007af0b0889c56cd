"""Migrations: each runs once and in order, all of them or none, also if processes start at the same time."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services.mesh.call import errors
from services.mesh.stores.migrations import migrate

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

FIRST = "CREATE TABLE item (id int PRIMARY KEY); CREATE INDEX ON item (id);"
SECOND = "ALTER TABLE item ADD COLUMN note text DEFAULT 'a:b %s';"

RUN = """
import asyncio, sys
from pathlib import Path
from services.mesh.stores.migrations import migrate

async def main() -> None:
    await migrate(sys.argv[1], "shop", Path(sys.argv[2]))

asyncio.run(main())
print("sqlalchemy" in sys.modules)
"""


def write(directory: Path, **files: str) -> None:
    for name, sql in files.items():
        (directory / f"{name[1:]}.sql").write_text(sql)


async def run(url: str, directory: Path) -> str:
    """Migrate in a new process; returns whether it imported SQLAlchemy, or its error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, url, str(directory)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def version(database: "OwnedDatabase") -> str | None:
    found: str | None = await database.fetchval("SELECT version_num FROM shop.schema_version")
    return found


async def test_files_run_in_order_and_only_the_new_ones_run_later(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    write(tmp_path, _0001_items=FIRST)
    await migrate(postgres_url, "shop", tmp_path)
    await database.execute("INSERT INTO shop.item VALUES (1)")
    write(tmp_path, _0002_note=SECOND)
    await migrate(postgres_url, "shop", tmp_path)
    assert await version(database) == "0002"
    assert await database.fetchval("SELECT note FROM shop.item") == "a:b %s"


async def test_processes_that_start_together_migrate_once(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    write(tmp_path, _0001_items=FIRST + "SELECT pg_sleep(0.3);", _0002_note=SECOND)
    outputs = await asyncio.gather(*(run(postgres_url, tmp_path) for _ in range(2)))
    assert set(outputs) <= {"True", "False"}
    assert await version(database) == "0002"
    assert await database.fetchval("SELECT count(*) FROM shop.schema_version") == 1


async def test_a_start_with_nothing_to_do_imports_no_sqlalchemy(postgres_url: str, tmp_path: Path) -> None:
    write(tmp_path, _0001_items=FIRST)
    assert await run(postgres_url, tmp_path) == "True"
    assert await run(postgres_url, tmp_path) == "False"


async def test_a_file_that_fails_leaves_the_schema_as_it_was(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    write(tmp_path, _0001_items=FIRST)
    await migrate(postgres_url, "shop", tmp_path)
    write(tmp_path, _0002_note=SECOND, _0003_broken="CREATE TABLE half (); SELECT 1/0;")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(postgres_url, "shop", tmp_path)
    assert await version(database) == "0001"
    assert await database.fetchval("SELECT to_regclass('shop.half')") is None
    write(tmp_path, _0003_broken="CREATE TABLE half ();")
    await migrate(postgres_url, "shop", tmp_path)
    assert await version(database) == "0003"


async def test_a_database_newer_than_the_code_is_refused(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    write(tmp_path, _0001_items=FIRST, _0002_note=SECOND)
    await migrate(postgres_url, "shop", tmp_path)
    (tmp_path / "0002_note.sql").unlink()
    with pytest.raises(errors.FailedPrecondition, match=r"version 0002.*up to 0001") as refused:
        await migrate(postgres_url, "shop", tmp_path)
    assert refused.value.reason == "DATABASE_NEWER"


@pytest.mark.parametrize("name", ["0002_skips_one", "1_short", "0001_Upper"])
async def test_a_misnamed_file_is_refused_before_anything_runs(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.sql").write_text("SELECT 1/0")
    with pytest.raises(errors.FailedPrecondition) as refused:
        await migrate(postgres_url, "shop", tmp_path)
    assert refused.value.reason == "MIGRATION_MISNAMED"


async def test_a_schema_of_a_service_that_sends_events_has_an_outbox(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    await migrate(postgres_url, "shop", tmp_path)
    assert await database.fetchval("SELECT to_regclass('shop.outbox')") is None
    await asyncio.gather(*(migrate(postgres_url, "shop", tmp_path, outbox=True) for _ in range(4)))
    await database.execute("INSERT INTO shop.outbox (tenant_id, aggregate, event) VALUES ('acme', 'a', 'b')")
    await migrate(postgres_url, "shop", tmp_path, outbox=True)
    assert await database.fetchval("SELECT count(*) FROM shop.outbox WHERE added_ms IS NULL") == 1


async def test_an_outbox_that_an_earlier_version_made_keeps_its_rows(
    postgres_url: str, database: "OwnedDatabase", tmp_path: Path
) -> None:
    write(
        tmp_path,
        _0001_outbox="CREATE TABLE shop.outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " tenant_id text NOT NULL, aggregate text NOT NULL, event bytea NOT NULL);",
    )
    await migrate(postgres_url, "shop", tmp_path)
    await database.execute("INSERT INTO shop.outbox (tenant_id, aggregate, event) VALUES ('acme', 'a', 'b')")
    await migrate(postgres_url, "shop", tmp_path, outbox=True)
    row = await database.fetchrow("SELECT * FROM shop.outbox")
    assert row is not None
    assert (row["event"], row["consumer"], row["added_ms"]) == (b"b", None, None)
