"""Finds the providers: those of the catalogue file, and each vendor with a variable or a setting that is set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr

from services.mesh.call.credential import checked, trimmed
from services.mesh.process.sources import Location, wrong
from services.model.catalogue_file import CatalogueFile, ProviderKind, ProviderSettings, base_url, invalid
from services.model.vendor import Vendor

_KINDS: Mapping[str, ProviderKind] = {"openai": "openai", "anthropic": "anthropic"}


@dataclass(frozen=True, slots=True)
class Given:
    """The user's configuration: environment variables, and the settings of `[model]` by name."""

    environment: Mapping[str, str]
    settings: Mapping[str, str]
    places: Mapping[str, Location]

    def of(self, variables: Sequence[str], setting: str = "") -> tuple[str, str]:
        """A value, and the place where it was set. The place of a default is empty; a missing value is empty too."""
        if setting:
            return self.settings[setting], str(self.places.get(setting, ""))
        for name in variables:
            if value := trimmed(self.environment.get(name, "")):
                return value, f"{name} in the environment"
        return "", ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A vendor that is not used, and the variables that must be set to use it."""

    vendor: Vendor
    variables: tuple[str, ...]


def of_file(
    file: CatalogueFile, path: Path | None, vendors: Mapping[str, Vendor], given: Given
) -> list[ProviderSettings]:
    """The providers of the catalogue file, each with its URL and its key.

    Raises:
        FailedPrecondition: two providers have the same name; a vendor is unknown; a value that the vendor needs is
            missing; or a key has characters that a header cannot have.
    """
    entries = [_completed(entry, path, vendors, given) for entry in file.provider]
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names) or "local" in names:
        raise invalid(f"{path}: provider names must differ from each other and from `local`")
    return entries


def found(vendors: Mapping[str, Vendor], given: Given) -> Iterator[ProviderSettings | Missing]:
    """Each vendor that variables or settings can configure, in the vendors' order: as a provider, or as missing.

    Raises:
        InvalidArgument: a variable has an invalid value; the message names the variable.
    """
    for vendor in vendors.values():
        server = vendor.server
        key, key_place = given.of(server.key_variables, server.key_setting)
        url, url_place = given.of(server.url_variables, server.url_setting)
        models, _ = given.of(server.models_variables)
        values = {"key": key, "url": url or server.url, "models": models}
        variables = {"key": server.key_variables, "url": server.url_variables, "models": server.models_variables}
        usual = [*server.key_variables, *server.url_variables]
        if not usual:
            continue
        lacking = tuple(variables[each][0] for each in server.needs if not values[each])
        if lacking or not (key or url_place or (url and url != server.url) or models or server.always):
            yield Missing(vendor, lacking or (usual[0],))
            continue
        # OpenAI's variables may name a server that is not OpenAI's; the file of another vendor then applies.
        elsewhere = server.elsewhere and url and urlsplit(url).hostname != urlsplit(server.url).hostname
        described = vendors[server.elsewhere] if elsewhere else vendor
        yield ProviderSettings(
            name=vendor.name,
            vendor=described.name,
            kind=_KINDS.get(described.name, "openai_compatible"),
            base_url=_placed(_valid(base_url, url, url_place) or server.url, described, given),
            api_key=SecretStr(_valid(checked, key, key_place)),
            key_place=key_place or next((f"{name} in the environment" for name in server.key_variables), ""),
            url_place=url_place,
            models=tuple(name for each in models.split(",") if (name := trimmed(each))),
            optional=server.always,
        )


def _completed(
    entry: ProviderSettings, path: Path | None, vendors: Mapping[str, Vendor], given: Given
) -> ProviderSettings:
    where = f"{path}: provider `{entry.name}`"
    if entry.vendor and "kind" in entry.model_fields_set:
        raise invalid(f"{where}: give `vendor` or `kind`, not both")
    vendor = vendors.get(entry.vendor or entry.kind)
    if vendor is None:
        raise invalid(f"{where}: there is no vendor `{entry.vendor}`; there are {', '.join(vendors)}")
    server = vendor.server
    url = entry.base_url or given.of(server.url_variables, server.url_setting)[0] or server.url
    if "models" in server.needs and not entry.models:
        raise invalid(f"{where}: {vendor.title} needs `models`")
    if not url:
        raise invalid(f"{where}: {vendor.title} needs `base_url`")
    key, place = given.of(server.key_variables, server.key_setting) if entry.vendor else ("", "")
    if entry.api_key_env:
        key = given.environment.get(entry.api_key_env, "")
        place = f"{entry.api_key_env} in the environment (api_key_env of provider `{entry.name}` in {path})"
    try:
        key = checked(key)
    except ValueError as error:
        raise invalid(f"{place}: {error}") from error
    return entry.model_copy(
        update={
            "vendor": vendor.name,
            "base_url": _placed(url, vendor, given),
            "url_place": f"base_url of provider `{entry.name}` in {path}",
            "api_key": SecretStr(key),
            "key_place": place,
        }
    )


def _placed(url: str, vendor: Vendor, given: Given) -> str:
    """The base URL in the form that the vendor's paths are appended to, with the query that each request has."""
    server = vendor.server
    parts = urlsplit(url)
    path = parts.path
    if not path and parts.hostname == urlsplit(server.url).hostname:
        path = urlsplit(server.url).path
    for ending in server.path_dropped:
        path = path.removesuffix(ending)
    path = path.removesuffix(server.path_added) + server.path_added
    own = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    usual = {
        name: given.of(server.query_variables.get(name, ()))[0] or value
        for name, value in server.query.items()
        if name not in own
    }
    query = "&".join(each for each in (parts.query, urlencode(usual)) if each)
    return parts._replace(path=path, query=query).geturl()


def _valid(check: Callable[[str], str], value: str, place: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise wrong(f"{place}: {error}") from error
