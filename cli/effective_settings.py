"""The current settings of all processes and services, and where each value comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.settings import GatewaySettings
from services.declared import SERVICES, declarations
from services.mesh.blobs.settings import BlobsSettings
from services.mesh.limits.settings import LimitSettings
from services.mesh.process.sources import wrong
from services.mesh.settings import Settings, SomaSettings

HIDDEN = "********"


@dataclass(frozen=True)
class EffectiveSetting:
    """One setting: its name in `soma.toml`, its value for people, and its source."""

    name: str
    value: str
    source: str


def settings_classes() -> Sequence[type[SomaSettings]]:
    """The settings classes of the mesh, of the gateway and of each service."""
    found: list[type[SomaSettings]] = [Settings, BlobsSettings, LimitSettings, GatewaySettings]
    for declaration in declarations():
        if issubclass(declaration.settings, SomaSettings):
            found += (declaration.settings, *declaration.settings.parts)
    return found


def require_known_tables() -> None:
    """Refuse a table of `soma.toml` that no settings class reads; each class reads only its own table.

    Raises:
        InvalidArgument: there is such a table, or the file cannot be read.
    """
    _, file = Settings.sources()
    # The table of a service has its name. The declarations take a while to load, so other names alone make us load
    # them.
    if not file.tables - {*SERVICES, BlobsSettings.table, LimitSettings.table, GatewaySettings.table}:
        return
    known = {kind.table for kind in settings_classes() if kind.table is not None}
    unknown = sorted(file.tables - known)
    if unknown:
        raise wrong(f"[{unknown[0]}] in {file.path}: there is no such table; there are {', '.join(sorted(known))}")


def effective(kind: type[SomaSettings]) -> Sequence[EffectiveSetting]:
    """Every setting of one class.

    Raises:
        InvalidArgument: the class refuses a value.
    """
    values, locations = kind(), kind.locations()
    table = kind.model_config.get("env_prefix", "").removeprefix("SOMA_").strip("_").lower()
    prefix = f"{table}." if table else ""
    return [
        EffectiveSetting(
            f"{prefix}{name}",
            _displayed(getattr(values, name)),
            locations[name].source if name in locations else "default",
        )
        for name in kind.model_fields
    ]


def _displayed(value: Any) -> str:
    if value is None:
        return "-"
    # An empty secret is shown as empty.
    if hasattr(value, "get_secret_value"):
        return HIDDEN if value.get_secret_value() else "-"
    text = str(value)
    # The query of a URL may hold a key.
    address, asked, _ = text.partition("?")
    return f"{address}?{HIDDEN}" if asked and "://" in address else text or "-"
