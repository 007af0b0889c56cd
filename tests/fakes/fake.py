"""What every fake of a service can be told: to fail, to be away, to be slow."""

import asyncio

from soma.errors.v1 import reasons

from services.mesh.call.errors import MeshError, Unavailable


def away() -> MeshError:
    """The error of a call to a service that runs nowhere."""
    return Unavailable("no instance is alive", reason=reasons.SERVICE_UNAVAILABLE, retry_after=1.0)


class Fake:
    """A service that notes what it is asked.

    Attributes:
        happened: what was asked, in order, answered or not; several fakes may share a list.
        failure: what every call fails with; None to answer.
        held: what every call waits for before it is answered; None to answer at once.
    """

    def __init__(self, happened: list[str] | None = None) -> None:
        self.happened = happened if happened is not None else []
        self.failure: MeshError | None = None
        self.held: asyncio.Event | None = None

    async def meet(self, asked: str) -> None:
        """Note a call, and let it wait or fail as a test says.

        Raises:
            MeshError: `failure`.
        """
        self.happened.append(asked)
        if self.held is not None:
            await self.held.wait()
        if self.failure is not None:
            raise self.failure
