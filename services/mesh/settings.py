"""Settings of every process: defaults, then `soma.toml`, then `SOMA_*`, then options of the command line.

The file has these settings at its top level; a service's own settings are in the table of its name and in
`SOMA_<NAME>_*`.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.mesh.process.sources import Environment, Location, TomlTable, names_of, wrong
from services.mesh.transport import url
from services.mesh.transport.address import joined, listenable, literal, split

CONFIG_FILE = Path("soma.toml")
# As browsers send it: scheme, host, and the port if it is not the default one.
Origin = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]
# `Host` is a name or an IP address; Envoy needs an IP address.
Host = Annotated[str, AfterValidator(listenable)]
IpAddress = Annotated[str, AfterValidator(literal)]
HostPort = Annotated[str, AfterValidator(lambda address: joined(*split(address)))]
HttpUrl = Annotated[str, AfterValidator(url.http_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(lambda given: SecretStr(url.postgres_url(given.get_secret_value())))]
LlmUrl = Annotated[SecretStr, AfterValidator(lambda given: SecretStr(url.llm_url(given.get_secret_value())))]
RedisUrl = Annotated[SecretStr, AfterValidator(lambda given: SecretStr(url.redis_url(given.get_secret_value())))]


class SomaSettings(BaseSettings):
    """Base of all settings classes: frozen, unknown keys refused, read from the sources above.

    `table` names the table of `soma.toml` that a subclass reads; None means the top level. `parts` are the classes of
    further settings in it, each of which reads a table of its own.
    """

    table: ClassVar[str | None] = None
    parts: ClassVar[tuple[type["SomaSettings"], ...]] = ()
    model_config = SettingsConfigDict(env_prefix="SOMA_", frozen=True, extra="forbid", hide_input_in_errors=True)

    def __init__(self, **values: Any) -> None:
        """Read the settings; `values` take precedence over all sources.

        Raises:
            InvalidArgument: a setting has a wrong value, or `soma.toml` cannot be read.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise wrong(_why(error, type(self), values)) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources by precedence: command line, environment, file."""
        return init_settings, *cls.sources()

    @classmethod
    def sources(cls) -> tuple[Environment, TomlTable]:
        """The environment, and the file that it may name.

        Raises:
            InvalidArgument: the file cannot be read, or is named and missing.
        """
        named = Environment(_ConfigPath)().get("config")
        path = Path(named or CONFIG_FILE)
        if named is not None and not path.exists():
            raise wrong(f"SOMA_CONFIG in the environment: there is no file {path}")
        return Environment(cls), TomlTable(cls, cls.table, path)

    @classmethod
    def locations(cls) -> dict[str, Location]:
        """The location of each setting that is given."""
        environment, file = cls.sources()
        return {**file.locations(), **environment.locations()}


def _why(error: ValidationError, kind: type[SomaSettings], given: dict[str, Any]) -> str:
    locations = kind.locations()
    for name, field in kind.model_fields.items():
        if given.keys() & set(names_of(name, field)):
            locations.pop(name, None)
    said = []
    for each in error.errors(include_url=False, include_input=False):
        message = each["msg"].removeprefix("Value error, ")
        called, *within = each["loc"] or ("",)
        name = next((name for name, field in kind.model_fields.items() if called in names_of(name, field)), str(called))
        where = str(locations[name]) if name in locations else ".".join(map(str, (name, *within)))
        said.append(f"{where}: {message}" if where else message)
    return "; ".join(said)


class _ConfigPath(BaseSettings):
    """The path of `soma.toml`: `SOMA_CONFIG`, or else the working directory."""

    model_config = SettingsConfigDict(env_prefix="SOMA_")
    config: Path = CONFIG_FILE


class Settings(SomaSettings):
    """What every process of a stack shares."""

    config: Path = Field(CONFIG_FILE, description="path of soma.toml")
    data_dir: Path = Field(Path(".somamesh"), description="where everything of a stack is kept")
    dev: bool = Field(False, description="development stack: one generated API key")
    host: Host = Field("127.0.0.1", description="address of the public port, or a name of this machine")
    port: int = Field(8080, ge=1, le=65535, description="the public port")
    cors_origins: tuple[Origin, ...] = Field((), description="origins whose pages browsers let call; * for all")
    postgres_url: PostgresUrl | None = Field(None, description="an external Postgres; embedded when unset")
    postgres_system_url: PostgresUrl | None = Field(
        None, description="the same database, for the role whose statements are about many tenants"
    )
    postgres_owner_url: PostgresUrl | None = Field(
        None, description="the same database, for the role that owns the tables; for migrations"
    )
    redis_url: RedisUrl | None = Field(None, description="an external Redis; embedded when unset")
    llm_url: LlmUrl | None = Field(
        None, description="where the part llm is, with its key; a stack gives it its processes"
    )
    control: HostPort | None = Field(None, description="host:port of the stack's control process, to join it")
    bind: IpAddress = Field("127.0.0.1", description="address inner servers listen on")
    advertise: IpAddress | None = Field(None, description="address neighbours reach this process at; `bind` when unset")
    control_port: int = Field(0, ge=0, le=65535, description="where the control process is joined; 0 for any free port")
    grpc_port: int = Field(0, ge=0, le=65535, description="gRPC of a process that joins; 0 for any free port")
    unary_port: int = Field(0, ge=0, le=65535, description="unary calls, of a process that joins; 0 for any free port")
    http_port: int = Field(0, ge=0, le=65535, description="the edge's, of a process that joins; 0 for any free port")
    admin_port: int = Field(0, ge=0, le=65535, description="probes and metrics of one that joins; 0 for any free port")
    max_requests: int = Field(
        1024, ge=1, description="unary calls in flight per service, and streams; more are refused with 503"
    )
    max_message_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="largest message received, such as one with pictures; others have at most 4 MiB",
    )
    drain_seconds: float = Field(0.3, ge=0, description="from NOT_SERVING until calls are waited for")
    grace_seconds: float = Field(5.0, ge=0, description="how long a stopping process waits for its calls")
    leave_seconds: float = Field(120.0, ge=0, description="how long a replaced process waits for its calls")
    trace_sample_ratio: float = Field(0.01, ge=0, le=1, description="share of new traces that are recorded")
    otlp_endpoint: HttpUrl | None = Field(None, description="OTLP/HTTP collector spans are sent to")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="least level logged")
    log_format: str = Field("json", pattern="^(json|console)$", description="json lines, or for people")
    name: str | None = Field(None, description="this process's name in its certificate; soma up gives one")
    mtls: str = Field(
        "auto",
        pattern="^(auto|on|off)$",
        description="certificates between processes; auto: where they listen beyond this machine",
    )
    tls: bool = Field(False, description="TLS on the public port, by the stack's own CA unless tls_cert is given")
    tls_cert: Path | None = Field(None, description="certificate chain of the public port, PEM")
    tls_key: Path | None = Field(None, description="its key, PEM")
    postgres_pool: int = Field(
        20, ge=2, le=20, description="connections of a process to Postgres; half as many more for postgres_system_url"
    )

    def part_url(self, part: str) -> str | None:
        """Where a part is that services need, with its password; None where that is not given."""
        url: SecretStr | None = getattr(self, f"{part}_url")
        return url.get_secret_value() if url is not None else None

    @classmethod
    def part_settings(cls, part: str) -> list[str]:
        """The settings that say where a part is: one, or of Postgres one for each of its roles."""
        return [name for name in cls.model_fields if name.startswith(f"{part}_") and name.endswith("_url")]

    def part_urls(self, part: str) -> dict[str, str]:
        """Where a part is that services need, with its passwords, by the settings that are given."""
        urls: dict[str, SecretStr | None] = {name: getattr(self, name) for name in self.part_settings(part)}
        return {name: url.get_secret_value() for name, url in urls.items() if url is not None}

    @classmethod
    def inner_ports(cls) -> list[str]:
        """The settings that say on which ports the servers of one process listen: all but the public port."""
        return [name for name in cls.model_fields if name.endswith("_port")]

    @model_validator(mode="after")
    def _reached(self) -> Self:
        """Refuse an address that neighbours and the gateway cannot use to reach this process."""
        if ip_address(self.advertise or self.bind).is_unspecified:
            raise ValueError("neighbours cannot reach a process at every address of its machine: set advertise to one")
        return self

    @model_validator(mode="after")
    def _three_roles(self) -> Self:
        """Refuse two of the three roles of Postgres: nobody could say which one is missing."""
        given = [name for name in ("postgres_system_url", "postgres_owner_url") if getattr(self, name) is not None]
        if given and (self.postgres_url is None or len(given) == 1):
            raise ValueError(
                "postgres_url, postgres_system_url and postgres_owner_url belong together: "
                "give all three, or postgres_url alone"
            )
        return self

    @property
    def mutual_tls(self) -> bool:
        """Whether processes use mutual TLS.

        On the loopback interface it would be useless: whoever can read that traffic can read the keys as well.
        """
        return self.mtls == "on" or (self.mtls == "auto" and not ip_address(self.bind).is_loopback)
