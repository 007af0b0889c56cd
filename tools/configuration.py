"""Writes the tables of `docs/configuration.md` from the settings classes; a test fails when they differ."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings

from cli.effective_settings import settings_classes

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "configuration.md"
BEGIN = "<!-- from the settings classes: python -m tools.configuration -->\n"


def tables() -> str:
    """A table for each settings class."""
    return "\n".join("\n".join(_table(kind)) for kind in settings_classes())


def page() -> str:
    """The whole page: the text that people wrote, then the tables."""
    written, _, _ = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{written}{BEGIN}\n{tables()}"


def _table(kind: type[BaseSettings]) -> Iterator[str]:
    prefix = kind.model_config.get("env_prefix", "")
    table = getattr(kind, "table", None)
    yield f"## {f'`[{table}]`' if table else 'Every process'}\n"
    yield "| setting | variable | default | |\n|---|---|---|---|"
    for name, field in kind.model_fields.items():
        yield f"| `{name}` | {_variables(prefix, name, field)} | {_default(field)} | {field.description or ''} |"
    yield ""


def _variables(prefix: str, name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    names = alias.choices if isinstance(alias, AliasChoices) else [alias or f"{prefix}{name}".upper()]
    return ", ".join(f"`{each}`" for each in names)


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT)
    if isinstance(value, Mapping):
        value = json.dumps(to_jsonable_python(value))
    return f"`{value}`" if value not in (None, "", ()) else "–"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
