"""External parts: somebody else runs them, and the settings have their URLs. They are only probed."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
from soma.errors.v1 import reasons

from cli.parts.part import Located
from cli.parts.permanence import is_permanent
from cli.parts.resp import ping
from services.mesh.call.errors import FailedPrecondition, InvalidArgument, Unavailable

PROBE_SECONDS = 3.0


class External(Located):
    """A part at a URL, which is the setting `NAME_url`.

    Raises:
        InvalidArgument: the URL is not valid for this part.
    """

    external = True
    patience = 15.0
    schemes: tuple[str, ...] = ()

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._url = url
        try:
            target = urlsplit(url)
            self._hosts = target.netloc.rpartition("@")[2]
            # Only a Postgres may have several hosts; its client reads their ports.
            self.port = None if "," in self._hosts else target.port
        except ValueError:
            raise self._invalid() from None
        if target.scheme not in self.schemes:
            raise self._invalid()
        self.where = f"{target.scheme}://{self._hosts}{target.path}"

    @property
    def url(self) -> str:
        """The URL from the settings."""
        return self._url

    @property
    def _setting(self) -> str:
        return f"{self.name}_url (SOMA_{self.name.upper()}_URL, or soma.toml)"

    def _invalid(self) -> InvalidArgument:
        # The message leaves out the wrong part, because it may be a part of the password.
        return InvalidArgument(
            f"{self._setting} is not a URL of a {self.name}: write {' or '.join(self.schemes)}, then "
            "://USER:PASSWORD@HOST:PORT/NAME; in a password the characters / @ : # ? % are written "
            "%2F %40 %3A %23 %3F %25",
            reason=f"{self.name.upper()}_URL_INVALID",
        )

    def _no_answer(self) -> Unavailable:
        return Unavailable(
            f"{self.name} at {self.where} does not answer in {PROBE_SECONDS:g} s; look at {self._setting}"
        )

    def _refused(self, error: Exception) -> FailedPrecondition:
        return FailedPrecondition(
            f"{self.name} at {self.where} cannot be used: {error}; look at {self._setting}",
            reason=f"{self.name.upper()}_REFUSED",
        )


class ExternalPostgres(External):
    """A Postgres by URL. Options that the URL does not have come from PGSSLMODE and similar variables."""

    schemes = ("postgresql", "postgres")

    async def probe(self, pid: int | None) -> None:
        """Open a connection."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_SECONDS)
        except TimeoutError as error:
            raise self._no_answer() from error
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            ValueError,
            OSError,
        ) as error:
            # An untrusted certificate is a ValueError and an OSError. Errors of asyncpg have a clear text.
            if isinstance(error, ValueError) and not isinstance(error, (OSError, asyncpg.InterfaceError)):
                raise self._invalid() from None
            if self._lacks_file(error):
                raise FailedPrecondition(
                    f"a certificate or key for {self.name} at {self.where} cannot be read: {error}; its path comes "
                    f"from sslrootcert, sslcert or sslkey of {self._setting}, from PGSSLROOTCERT, PGSSLCERT or "
                    "PGSSLKEY, or is in .postgresql of the home directory (HOME)",
                    reason=reasons.POSTGRES_REFUSED,
                ) from error
            if is_permanent(error):
                raise self._refused(error) from error
            raise Unavailable(f"postgres: {error}") from error
        version = connection.get_server_version()
        self.version = f"{version.major}.{version.minor}"
        await connection.close(timeout=PROBE_SECONDS)

    def _lacks_file(self, error: Exception) -> bool:
        """Whether a file is missing.

        If the host is a directory, it is the socket, which appears when the server starts.
        """
        over_tcp = bool(self._hosts) and not self._hosts.lower().startswith("%2f")
        return isinstance(error, (PermissionError, FileNotFoundError)) and over_tcp


class ExternalLlm(External):
    """A part `llm` of another stack by URL. It is not probed, because a question would start its process."""

    schemes = ("http", "https")

    async def probe(self, pid: int | None) -> None:
        """Do nothing."""


class ExternalRedis(External):
    """A Redis or Valkey by URL."""

    schemes = ("redis", "rediss")

    async def probe(self, pid: int | None) -> None:
        """Send PING."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await ping(self.url)
        except FailedPrecondition as error:
            raise self._refused(error) from error
        except TimeoutError as error:
            raise self._no_answer() from error
        except OSError as error:
            if is_permanent(error):
                raise self._refused(error) from error
            raise
