"""The sources of settings: environment variables and `soma.toml`. Both know the location of each value.

What copying adds around a value is removed, and an empty value counts as not given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.credential import trimmed
from services.mesh.process import toml


@dataclass(frozen=True, slots=True)
class EmptyCounts:
    """Marks a setting whose empty text is a value of its own."""


@dataclass(frozen=True, slots=True)
class Location:
    """The location of a setting: its name in a `source`, and the path if that is a file."""

    name: str
    source: str
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.name} in {self.path or f'the {self.source}'}"


class Environment(EnvSettingsSource):
    """Environment variables; if a setting has several, the first one that is not empty counts."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        key, _variable, nested = self._extract_field_info(field, field_name)[0]
        found = self._variable(field, field_name)
        return (None, key, nested) if found is None else (trimmed(self.env_vars[found] or ""), key, nested)

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        """The value of a setting; a list is JSON, or separated by commas, and a table is JSON.

        Raises:
            InvalidArgument: a list or a table begins as JSON and is no JSON.
        """
        if self.field_is_complex(field) and isinstance(value, str) and not value.startswith(("[", "{")):
            return [trimmed(each) for each in value.split(",") if each.strip()]
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError as error:
            form = "a table in JSON" if str(value).startswith("{") else "a list in JSON, or one separated by commas"
            raise wrong(f"{self.locations()[field_name]}: it is {form}") from error

    def locations(self) -> Mapping[str, Location]:
        """The variable of each setting that the environment has."""
        found = {name: self._variable(field, name) for name, field in self.settings_cls.model_fields.items()}
        return {name: Location(variable.upper(), "environment") for name, variable in found.items() if variable}

    def _variable(self, field: FieldInfo, field_name: str) -> str | None:
        for _, variable, _ in self._extract_field_info(field, field_name):
            value = self.env_vars.get(variable)
            if value is not None and (trimmed(value) or _empty_counts(field)):
                return variable
        return None


class TomlTable(PydanticBaseSettingsSource):
    """One table of `soma.toml`, or its top level without the tables; `tables` are the names of all."""

    def __init__(self, settings_class: type[BaseSettings], table: str | None, path: Path) -> None:
        super().__init__(settings_class)
        self._table = table
        content = _read(path)
        self.tables = frozenset(key for key, value in content.items() if isinstance(value, dict))
        self.path = path
        if table is None:
            given = {key: value for key, value in content.items() if not isinstance(value, dict)}
        else:
            given = content.get(table, {})
            if not isinstance(given, dict):
                raise wrong(f"{table} in {path}: it is a table, written [{table}]")
        fields = settings_class.model_fields
        self._values = {
            key: _cleaned(value)
            for key, value in given.items()
            if value != "" or key not in fields or _empty_counts(fields[key])
        }

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every value of the table, by the name that the other sources use; an unknown key is refused later."""
        fields = self.settings_cls.model_fields
        return {_key(name, fields[name]) if name in fields else name: value for name, value in self._values.items()}

    def locations(self) -> Mapping[str, Location]:
        """The location of each key in the file, also of a key that is no setting."""
        table = f"[{self._table}] " if self._table else ""
        return {name: Location(f"{table}{name}", "soma.toml", self.path) for name in self._values}


def wrong(message: str) -> errors.InvalidArgument:
    """The error for settings that are not valid."""
    return errors.InvalidArgument(f"the settings are wrong: {message}", reason=reasons.SETTINGS_INVALID)


def names_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The names of a setting: its own name and its aliases."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else (alias,)
    return (name, *(each for each in choices if isinstance(each, str)))


def _key(name: str, field: FieldInfo) -> str:
    """The first alias of a setting, or its name: with two names, the same setting would be given twice."""
    names = names_of(name, field)
    return names[1] if len(names) > 1 else name


def _empty_counts(field: FieldInfo) -> bool:
    return any(isinstance(each, EmptyCounts) for each in field.metadata)


def _cleaned(value: Any) -> Any:
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    return trimmed(value) if isinstance(value, str) else value


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return toml.parsed(path.read_bytes())
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise wrong(f"{path}: {error}") from error
