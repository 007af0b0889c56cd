"""The catalogue file: a `[[provider]]` for each provider. `catalogue.example.toml` is an example."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.credential import checked, trimmed
from services.mesh.process import toml
from services.mesh.transport.url import http_url

# Paths of methods. People often copy one of them together with the base URL.
_METHODS = ("/chat/completions", "/completions", "/embeddings", "/messages", "/models", "/responses", "/api/chat")


def base_url(text: str) -> str:
    """Check the base URL of a server; an empty text stays empty.

    Raises:
        ValueError: the text is not a URL, or it is the URL of one method.
    """
    if not text:
        return ""
    found = http_url(trimmed(text))
    path = urlsplit(found).path
    for method in _METHODS:
        if path.endswith(method):
            raise ValueError(f"the URL is that of one method; leave out {method} and what follows it")
    return found


def _key(given: SecretStr) -> SecretStr:
    return SecretStr(checked(given.get_secret_value()))


Url = Annotated[str, AfterValidator(base_url)]
Key = Annotated[SecretStr, AfterValidator(_key)]
ProviderKind = Literal["openai", "openai_compatible", "anthropic"]


class ProviderSettings(BaseModel):
    """One provider: a `[[provider]]` of the catalogue file, or one found in the environment.

    `vendor` names a file of `vendors/`, or a file of the user; its values are used where this entry has none. `kind` is
    enough for OpenAI's own server, for any other server of its protocol, and for Anthropic's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    vendor: str = ""
    kind: ProviderKind = "openai_compatible"
    base_url: Url = ""
    # Name of the environment variable that holds the key: a catalogue file holds no secret.
    api_key_env: str = ""
    api_key: Key = Field(default=SecretStr(""), exclude=True)
    # The places where the key and the URL are set, for messages.
    key_place: str = Field(default="", exclude=True)
    url_place: str = Field(default="", exclude=True)
    # Only these models are offered; if empty, all models that the server lists.
    models: tuple[str, ...] = ()
    # Hidden until it has answered once, so that a server that may not exist is not reported as missing.
    optional: bool = False


class CatalogueFile(BaseModel):
    """The catalogue file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    default: str = ""
    provider: tuple[ProviderSettings, ...] = ()


def read_catalogue(path: Path | None) -> CatalogueFile:
    """The content of the file; that of an empty file if there is no file.

    Raises:
        FailedPrecondition: it cannot be read, or is not valid; the message says where.
    """
    if path is None:
        return CatalogueFile()
    try:
        content = toml.parsed(path.read_bytes())
        return CatalogueFile.model_validate(content)
    except ValidationError as error:
        raise invalid(f"the model catalogue {path} is wrong: {_why(error, content)}") from error
    except OSError as error:
        raise invalid(f"the model catalogue {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise invalid(f"the model catalogue {path} is wrong: {error}") from error


def invalid(message: str) -> errors.FailedPrecondition:
    """The error for a catalogue file that is not valid."""
    return errors.FailedPrecondition(message, reason=reasons.CATALOGUE_INVALID)


def _why(error: ValidationError, content: dict[str, Any]) -> str:
    said = []
    for each in error.errors(include_url=False, include_input=False):
        where = ".".join(str(step + 1) if isinstance(step, int) else step for step in each["loc"])
        match each["loc"]:
            case ("provider", int(number), *rest) if isinstance(entry := content["provider"][number], dict):
                where = f"provider {number + 1} (`{entry.get('name', '')}`): {'.'.join(map(str, rest))}"
        said.append(f"{where}: {each['msg'].removeprefix('Value error, ')}")
    return "; ".join(said)
