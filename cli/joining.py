"""The settings with which a process that is started by hand joins a stack."""

from typing import Any

from pydantic import SecretStr

from cli.data_dir import DataDir
from cli.parts.needed import NEEDED
from cli.state import StackState, running
from services.mesh.settings import Settings


def settings_to_join(directory: DataDir, join: str | None) -> Settings:
    """The settings, completed with addresses from the stack that runs on `directory`; `join` is a registry, if given.

    The settings already have the URLs of external parts and of parts on other machines, such as SOMA_POSTGRES_URL.
    """
    given: dict[str, Any] = {"data_dir": directory.root} | ({"control": join} if join is not None else {})
    settings = Settings(**given)
    stack = running(directory)
    return settings if stack is None else settings.model_copy(update=_missing(settings, stack, directory))


def _missing(settings: Settings, stack: StackState, directory: DataDir) -> dict[str, Any]:
    embedded = {part.name: part for part in stack.parts if part.port is not None and not part.external}
    values: dict[str, Any] = {}
    if settings.control is None and "control" in embedded:
        values["control"] = embedded["control"].where
    for name, needed in NEEDED.items():
        if settings.part_url(name) is None and name in embedded:
            urls = needed.settings(directory[name], embedded[name].port)
            values |= {setting: SecretStr(url) for setting, url in urls.items()}
    return values
