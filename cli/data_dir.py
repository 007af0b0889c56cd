"""The directory that holds everything a stack keeps: its layout, its version and its lock."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.lock import Lock, Purpose
from services.mesh.call.errors import FailedPrecondition

# Raised when what is kept changes so that an older soma could not read it. 2: Valkey's append-only file, beside which
# the Redis 6.2 of version 1 would start empty.
VERSION = 2
FOLDERS = {"postgres": 0o711, "redis": 0o700, "envoy": 0o700, "logs": 0o700, "run": 0o700, "models": 0o755}


@dataclass(frozen=True)
class DataDir:
    """Paths below one data directory; nothing outside it is ever written or has its permissions changed."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "DataDir":
        """The data directory at `path`, made absolute."""
        return cls(path.expanduser().absolute())

    def __getitem__(self, name: str) -> Path:
        return self.root / name

    @property
    def dev_key(self) -> Path:
        """The key clients use in `--dev`."""
        return self.root / "dev.key"

    @property
    def internal_key(self) -> Path:
        """The key that signs principals between processes."""
        return self.root / "internal.key"

    @property
    def lock(self) -> Lock:
        """Says which process runs on it."""
        return Lock(self.root)

    @property
    def state(self) -> Path:
        """What the running stack says of itself."""
        return self.root / "run" / "control.json"

    @property
    def orders(self) -> Path:
        """What commands ask of the running stack, and its answers."""
        return self.root / "run" / "orders"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.root / "logs" / f"{part}.log"

    def prepare(self) -> None:
        """Make the directory and its folders, or check that this version can read what is there.

        Raises:
            FailedPrecondition: it holds something else, or was made by a newer version.
        """
        with self.usable():
            self.root.mkdir(parents=True, exist_ok=True)
            self.check()
            marker = self.root / "version"
            if not marker.exists() or marker.read_text().strip() != str(VERSION):
                marker.write_text(f"{VERSION}\n")
            if os.geteuid() == 0:
                # The account Postgres runs as under root passes through to its own folder and can list nothing.
                self.root.chmod(self.root.stat().st_mode & 0o7777 | 0o011)
            for name, mode in FOLDERS.items():
                (self.root / name).mkdir(exist_ok=True)
                (self.root / name).chmod(mode)

    @contextmanager
    def usable(self) -> Iterator[None]:
        """A block that fails when the directory cannot be used, for want of room or of permission.

        Raises:
            FailedPrecondition: it cannot, and why.
        """
        try:
            yield
        except OSError as error:
            raise FailedPrecondition(
                f"{self.root} cannot be used: {error.strerror}", reason="DATA_DIR_UNUSABLE"
            ) from error

    def check(self) -> None:
        """Look whether this version can use what is there, if anything is.

        Raises:
            FailedPrecondition: it cannot.
        """
        marker = self.root / "version"
        if not marker.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise FailedPrecondition(
                    f"{self.root} is not empty and not a data directory of soma (it has no file `version`); "
                    "give --data-dir another",
                    reason="DATA_DIR_FOREIGN",
                )
            return
        found = marker.read_text().strip()
        if not found.isdigit() or int(found) > VERSION:
            raise FailedPrecondition(
                f"{self.root} has data version {found!r} and this soma reads up to {VERSION}; "
                "use the soma that made it, or another --data-dir",
                reason="DATA_VERSION_UNKNOWN",
            )

    @contextmanager
    def locked(self, purpose: Purpose) -> Iterator[Lock]:
        """Hold the directory for this process; the system lets go when the process ends, however it ends.

        Raises:
            FailedPrecondition: another process holds it, or it cannot be used.
        """
        lock = self.lock
        with ExitStack() as held:
            with self.usable():
                held.enter_context(lock.held(purpose))
            yield lock
