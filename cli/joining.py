"""Where a process that is started by hand finds the stack it is to join."""

from typing import Any

from pydantic import SecretStr

from cli.data_dir import DataDir
from cli.parts.postgres import database_url
from cli.parts.redis import server_url
from cli.state import StackState, running
from services.mesh.settings import Settings


def settings_to_join(directory: DataDir, join: str | None) -> Settings:
    """The settings, completed with what the stack running on `directory` says; `join` is its registry if given.

    What is external, or on another machine, is in the settings already: SOMA_POSTGRES_URL, SOMA_REDIS_URL.
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
    if settings.postgres_url is None and (postgres := embedded.get("postgres")) is not None:
        values["postgres_url"] = SecretStr(database_url(directory["postgres"], postgres.port))
    if settings.redis_url is None and (redis := embedded.get("redis")) is not None:
        values["redis_url"] = SecretStr(server_url(directory["redis"], redis.port))
    return values
