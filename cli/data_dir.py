"""The data directory of a stack: its layout, its version and its lock."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.lock import Lock, Purpose
from services.mesh.call.errors import FailedPrecondition

# Increased when an older soma could not read the data. 2: Valkey's append-only file; the Redis 6.2 of version 1 would
# ignore it and start empty.
VERSION = 2
FOLDERS = {
    "postgres": 0o711,
    "redis": 0o700,
    "envoy": 0o700,
    "logs": 0o700,
    "run": 0o700,
    "models": 0o755,
    "triton": 0o700,
    "llm": 0o700,
}


@dataclass(frozen=True)
class DataDir:
    """The paths in one data directory. Nothing outside it is written, and no permissions outside it are changed."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "DataDir":
        """The data directory at `path`, made absolute."""
        return cls(path.expanduser().absolute())

    def __getitem__(self, name: str) -> Path:
        return self.root / name

    @property
    def dev_key(self) -> Path:
        """The file of the API key for clients with `--dev`."""
        return self.root / "dev.key"

    @property
    def admin_password(self) -> Path:
        """The file of the first administrator's password, until it is changed."""
        return self.root / "admin.password"

    @property
    def internal_key(self) -> Path:
        """The file of the key that signs principals between processes."""
        return self.root / "internal.key"

    @property
    def lock(self) -> Lock:
        """The lock; it names the process that runs on the directory."""
        return Lock(self.root)

    @property
    def state(self) -> Path:
        """The file with the state of the running stack."""
        return self.root / "run" / "control.json"

    @property
    def orders(self) -> Path:
        """The folder of the commands' orders to the running stack, and of its answers."""
        return self.root / "run" / "orders"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.root / "logs" / f"{part}.log"

    def prepare(self) -> None:
        """Make the directory and its folders, or check that this version can read the existing data.

        Raises:
            FailedPrecondition: the directory holds something else, or a newer version made it.
        """
        with self.usable():
            self.root.mkdir(parents=True, exist_ok=True)
            self.check()
            marker = self.root / "version"
            if not marker.exists() or marker.read_text().strip() != str(VERSION):
                marker.write_text(f"{VERSION}\n")
            if os.geteuid() == 0:
                # Under root, Postgres runs as another account. It may pass through to its own folder, but list nothing.
                self.root.chmod(self.root.stat().st_mode & 0o7777 | 0o011)
            for name, mode in FOLDERS.items():
                (self.root / name).mkdir(exist_ok=True)
                (self.root / name).chmod(mode)

    @contextmanager
    def usable(self) -> Iterator[None]:
        """A block in which an OSError means that the directory cannot be used: no space, or no permission.

        Raises:
            FailedPrecondition: it cannot be used, and why.
        """
        try:
            yield
        except OSError as error:
            raise FailedPrecondition(
                f"{self.root} cannot be used: {error.strerror}", reason="DATA_DIR_UNUSABLE"
            ) from error

    def check(self) -> None:
        """Check that this version can use the existing data, if there is any.

        Raises:
            FailedPrecondition: it cannot use it.
        """
        marker = self.root / "version"
        if not marker.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise FailedPrecondition(
                    f"{self.root} is not empty and is not a data directory of soma (it has no file `version`); "
                    "give another --data-dir",
                    reason="DATA_DIR_FOREIGN",
                )
            return
        found = marker.read_text().strip()
        if not found.isdigit() or int(found) > VERSION:
            raise FailedPrecondition(
                f"{self.root} has data version {found!r}, and this soma reads versions up to {VERSION}; "
                "use the soma that made it, or another --data-dir",
                reason="DATA_VERSION_UNKNOWN",
            )

    @contextmanager
    def locked(self, purpose: Purpose) -> Iterator[Lock]:
        """Lock the directory for this process. The system releases the lock when the process ends, in any way.

        Raises:
            FailedPrecondition: another process has the lock, or the directory cannot be used.
        """
        lock = self.lock
        with ExitStack() as held:
            with self.usable():
                held.enter_context(lock.held(purpose))
            yield lock
