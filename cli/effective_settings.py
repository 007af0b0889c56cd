"""The settings of every process and service as they are now, and where each value came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import isclass
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource

from cli.layout import SERVICES
from gateway.settings import GatewaySettings
from services.mesh.settings import Settings

HIDDEN = "********"


@dataclass(frozen=True)
class Effective:
    """One setting: its name in `soma.toml`, its value for people, and its source."""

    name: str
    value: str
    source: str


def settings_classes() -> Sequence[type[BaseSettings]]:
    """The mesh's settings, those of every service that has its own, and those of embeddings, which are the model's."""
    found: list[type[BaseSettings]] = [Settings, GatewaySettings]
    packages = ["gateway.edge" if service == "edge" else f"services.{service}" for service in SERVICES]
    for package in [*packages, "services.model.embedding"]:
        name = f"{package}.settings"
        if find_spec(package) is not None and find_spec(name) is not None:
            module = import_module(name)
            found += [
                each
                for each in vars(module).values()
                if isclass(each) and issubclass(each, BaseSettings) and each.__module__ == name
            ]
    return found


def effective(kind: type[BaseSettings]) -> Sequence[Effective]:
    """Every setting of one class.

    Raises:
        InvalidArgument: a value is not one the class takes.
    """
    values = kind()
    environment = EnvSettingsSource(kind)
    sources = kind.settings_customise_sources(kind, InitSettingsSource(kind, {}), environment, environment, environment)
    given: dict[str, str] = {}
    # The first source wins, so it is asked last.
    for source in reversed(sources):
        from_environment = isinstance(source, EnvSettingsSource)
        given |= dict.fromkeys(source(), "environment" if from_environment else "soma.toml")
    table = kind.model_config.get("env_prefix", "").removeprefix("SOMA_").strip("_").lower()
    prefix = f"{table}." if table else ""
    return [
        Effective(f"{prefix}{name}", _shown(getattr(values, name)), _source(given, name, field.validation_alias))
        for name, field in kind.model_fields.items()
    ]


def _source(given: dict[str, str], name: str, alias: Any) -> str:
    return given.get(name) or given.get(str(alias)) or "default"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    # Secrets know how to hide themselves; an empty one has nothing to hide.
    if hasattr(value, "get_secret_value"):
        return HIDDEN if value.get_secret_value() else "-"
    return str(value) or "-"
