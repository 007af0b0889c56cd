"""Makes one script of a service's SQL files with Alembic, in its offline mode: it needs no connection and no driver."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap


def render(schema: str, version_table: str, files: Sequence[Path], version: str | None) -> str:
    """The statements that bring `schema` from `version` (None if it is empty) to the newest file.

    The script begins no transaction: the caller runs it in one.
    """
    output = io.StringIO()
    scripts: list[Script] = []

    def run(path: Path) -> Callable[[], None]:
        return lambda: context.impl.static_output(path.read_text(encoding="utf-8"))

    previous: str | None = None
    for path in files:
        module = ModuleType(path.stem)
        vars(module).update(down_revision=previous, upgrade=run(path))
        previous = path.name[:4]
        scripts.append(Script(module, previous, str(path)))
    revisions = RevisionMap(lambda: scripts)

    def steps(_heads: object, _context: object) -> Iterator[MigrationStep]:
        pending = [*revisions.iterate_revisions("head", version, implicit_base=True)]
        for script in reversed(pending):
            yield MigrationStep.upgrade_from_script(revisions, cast(Script, script))

    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={
            "as_sql": True,
            "output_buffer": output,
            "starting_rev": version,
            "version_table": version_table,
            "version_table_schema": schema,
            "fn": steps,
        },
    )
    context.run_migrations()
    return output.getvalue()
