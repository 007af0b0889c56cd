"""The tokens that `soma login` stored, one pair for each URL, in a file that only the user can read."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub

from services.mesh.call.errors import FailedPrecondition, Unauthenticated

if TYPE_CHECKING:
    import grpc
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

CALL_SECONDS = 10.0
# A token is renewed when it has less time left.
LEAST_SECONDS = 60.0


@dataclass
class Login:
    """The tokens for one URL; `expires_at` is in seconds of Unix time."""

    url: str
    username: str
    access_token: str
    refresh_token: str
    expires_at: float

    async def renew(self, channel: "grpc.aio.Channel") -> None:
        """Renew the tokens if they expire soon, and store the new ones.

        One command at a time renews them: a refresh token that is used twice would end the session.

        Raises:
            Unauthenticated: the session has ended.
        """
        if self.expires_at - time.time() > LEAST_SECONDS:
            return
        logins = Logins()
        with logins.locked():
            stored = logins.get(self.url)
            if stored is not None and stored.expires_at - time.time() > LEAST_SECONDS:
                self.access_token, self.expires_at = stored.access_token, stored.expires_at
                return
            stub: AuthServiceAsyncStub = AuthServiceStub(channel)
            token = (stored or self).refresh_token
            try:
                answer = await stub.Refresh(pb.RefreshRequest(refresh_token=token), timeout=CALL_SECONDS)
            except Unauthenticated as error:
                logins.remove(self.url)
                raise Unauthenticated(f"{error.message}: soma login", reason=error.reason) from error
            self.access_token, self.refresh_token = answer.access_token, answer.refresh_token
            self.expires_at = time.time() + answer.expires_in
            logins.put(self)


class Logins:
    """The file with the logins of this user."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(typer.get_app_dir("somamesh")) / "logins.json"

    def get(self, url: str) -> Login | None:
        """The login for a URL; None if there is none."""
        found = self._read().get(url.rstrip("/"))
        return Login(**found) if found is not None else None

    def put(self, login: Login) -> None:
        """Store a login in place of the one for its URL."""
        self._write({**self._read(), login.url.rstrip("/"): asdict(login)})

    def remove(self, url: str) -> None:
        """Forget the login for a URL."""
        self._write({key: value for key, value in self._read().items() if key != url.rstrip("/")})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from renewing tokens."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise FailedPrecondition(
                f"{self._path} cannot be read ({error}); delete it and log in again", reason="LOGINS_UNREADABLE"
            ) from error
        return found

    def _write(self, logins: dict[str, dict[str, Any]]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(logins, file)
        new.replace(self._path)
