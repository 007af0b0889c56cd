"""The settings of every process and service as they are now, and where each value came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.settings import GatewaySettings
from services.declared import SERVICES, declarations
from services.mesh.process.sources import wrong
from services.mesh.settings import Settings, SomaSettings

HIDDEN = "********"


@dataclass(frozen=True)
class Effective:
    """One setting: its name in `soma.toml`, its value for people, and its source."""

    name: str
    value: str
    source: str


def settings_classes() -> Sequence[type[SomaSettings]]:
    """The mesh's settings, those of the gateway, and those that each service declares, with their parts."""
    found: list[type[SomaSettings]] = [Settings, GatewaySettings]
    for declaration in declarations():
        if issubclass(declaration.settings, SomaSettings):
            found += (declaration.settings, *declaration.settings.parts)
    return found


def require_known_tables() -> None:
    """Refuse a table of `soma.toml` that nothing reads; each settings class sees only its own.

    Raises:
        InvalidArgument: there is one, or the file cannot be read.
    """
    _, file = Settings.sources()
    # A service's table has its name. Its declaration is read, which takes a while, only for what has none of these.
    if not file.tables - {*SERVICES, GatewaySettings.table}:
        return
    known = {kind.table for kind in settings_classes() if kind.table is not None}
    unknown = sorted(file.tables - known)
    if unknown:
        raise wrong(f"[{unknown[0]}] in {file.path}: there is no such table; there are {', '.join(sorted(known))}")


def effective(kind: type[SomaSettings]) -> Sequence[Effective]:
    """Every setting of one class.

    Raises:
        InvalidArgument: a value is not one the class takes.
    """
    values, places = kind(), kind.places()
    table = kind.model_config.get("env_prefix", "").removeprefix("SOMA_").strip("_").lower()
    prefix = f"{table}." if table else ""
    return [
        Effective(
            f"{prefix}{name}", _shown(getattr(values, name)), places[name].source if name in places else "default"
        )
        for name in kind.model_fields
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    # Secrets know how to hide themselves; an empty one has nothing to hide.
    if hasattr(value, "get_secret_value"):
        return HIDDEN if value.get_secret_value() else "-"
    text = str(value)
    # The query of a URL may hold a key.
    address, asked, _ = text.partition("?")
    return f"{address}?{HIDDEN}" if asked and "://" in address else text or "-"
