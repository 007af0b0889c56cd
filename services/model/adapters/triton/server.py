"""A Triton server as one process uses it: one connection, over which every call goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from services.mesh.call.call import current_call
from services.mesh.call.errors import MeshError, Unavailable
from services.model.adapters.triton.address import address
from services.model.adapters.triton.channel import credentials
from services.model.adapters.triton.settings import TritonSettings

if TYPE_CHECKING:
    from tritonclient.grpc.aio import InferenceServerClient

T = TypeVar("T")
# Of the provider.

_ASKING_SECONDS = 5.0
_LOOK_SECONDS = 1.0
# A call whose caller has left is given up by gRPC this much later.
_FURTHER_SECONDS = 60.0
_CLOSING_SECONDS = 2.0
# A large model takes minutes.
_LOADING_SECONDS = 600.0


@dataclass(frozen=True)
class Found:
    """A model in the server's repository.

    Attributes:
        name: its name there.
        ready: whether it is loaded.
        reason: why it is not, as the server says.
    """

    name: str
    ready: bool
    reason: str = ""


class Server:
    """Made inside the event loop. Nothing is imported or connected before the first call.

    Attributes:
        missed: set when a model could not be asked, which may mean that the server has gone.
    """

    def __init__(self, settings: TritonSettings) -> None:
        self._settings = settings
        self._client: InferenceServerClient | None = None
        self._kept: set[asyncio.Future[Any]] = set()
        self.missed = asyncio.Event()

    @property
    def client(self) -> InferenceServerClient:
        """The client. Each further one would keep memory for ever (triton-inference-server/client, issue 731)."""
        if self._client is None:
            # Imported here, because it takes 0.2 s, also in a process that has no Triton.
            from tritonclient.grpc.aio import InferenceServerClient

            where = address(self._settings.url)
            options = [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_reconnect_backoff_ms", 500),
            ]
            self._client = InferenceServerClient(where.target, creds=credentials(self._settings), channel_args=options)
        return self._client

    async def live(self) -> bool:
        """Whether the server answers, within a second."""
        try:
            return bool(await self._asked(self.client.is_server_live(client_timeout=_LOOK_SECONDS)))
        except MeshError:
            return False

    async def ready(self, name: str) -> bool:
        """Whether a model is loaded and serves.

        Raises:
            MeshError: the server does not answer within a second.
        """
        return bool(await self._asked(self.client.is_model_ready(name, client_timeout=_LOOK_SECONDS), name))

    async def models(self) -> Sequence[Found]:
        """The models of its repository.

        Raises:
            MeshError: it does not answer.
        """
        index = await self._asked(self.client.get_model_repository_index(client_timeout=_ASKING_SECONDS))
        return [Found(each.name, each.state == "READY", each.reason) for each in index.models]

    async def configuration(self, name: str) -> Any:
        """The configuration of a loaded model, a `ModelConfig`.

        Raises:
            MeshError: it does not answer, or has no such model.
        """
        answer = await self._asked(self.client.get_model_config(name, client_timeout=_ASKING_SECONDS), name)
        return answer.config

    async def statistics(self) -> Any:
        """The statistics of all loaded models, a `ModelStatisticsResponse`.

        Raises:
            MeshError: it does not answer.
        """
        return await self._asked(self.client.get_inference_statistics(client_timeout=_ASKING_SECONDS))

    async def load(self, name: str, configuration: str = "", seconds: float = _LOADING_SECONDS) -> None:
        """Load a model, or load it again. `configuration` is JSON; until it is unloaded, it replaces that of the files.

        Raises:
            FailedPrecondition: reason MODEL_LOAD_FAILED; the server could not load it.
            MeshError: the server does not answer, or has no such model.
        """
        from tritonclient.utils import InferenceServerException

        from services.model.adapters.triton.refusal import load_refusal

        config = configuration or None
        try:
            await self.client.load_model(name, config=config, client_timeout=remaining(seconds))
        except InferenceServerException as error:
            raise load_refusal(error, name) from error

    async def unload(self, name: str) -> None:
        """Unload a model; the requests that it has are answered before.

        Raises:
            MeshError: the server does not answer.
        """
        await self._asked(self.client.unload_model(name, client_timeout=_ASKING_SECONDS), name)

    async def infer(self, name: str, inputs: Sequence[Any], seconds: float, priority: int = 0) -> Any:
        """Run a model; the caller's deadline, or `seconds` if that is earlier, also holds for the server's queue.

        `priority` is the request's place in that queue: 1 is the highest, 0 the model's default.

        A caller that leaves, or whose time is over, does not cancel the call: Triton 2.51 may abort when a call is
        cancelled (triton-inference-server/server, issue 8034). What the model makes for nobody is one batch.

        Raises:
            MeshError: it failed.
        """
        from services.model.adapters.triton.refusal import late

        seconds = remaining(seconds)
        running = self.keep(
            self.client.infer(
                name,
                inputs,
                priority=priority,
                timeout=int(seconds * 1e6),
                client_timeout=seconds + _FURTHER_SECONDS,
            )
        )
        try:
            async with asyncio.timeout(seconds):
                return await self._asked(asyncio.shield(running), name)
        except Unavailable:
            self.missed.set()
            raise
        except TimeoutError as error:
            raise late(seconds) from error

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Let `work` go on when its caller has left."""
        task = asyncio.ensure_future(work)
        self._kept.add(task)
        task.add_done_callback(self._end)
        return task

    async def close(self) -> None:
        """Wait a moment for what still runs, and close the connection."""
        if self._kept:
            await asyncio.wait(self._kept, timeout=_CLOSING_SECONDS)
        if self._client is not None:
            await self._client.close()
        for task in self._kept:
            task.cancel()
        await asyncio.gather(*self._kept, return_exceptions=True)

    def _end(self, task: asyncio.Future[Any]) -> None:
        self._kept.discard(task)
        if not task.cancelled():
            # Its caller has had it, or has left.
            task.exception()

    async def _asked(self, answer: Awaitable[T], model: str = "") -> T:
        from tritonclient.utils import InferenceServerException

        from services.model.adapters.triton.refusal import refusal

        try:
            return await answer
        except InferenceServerException as error:
            raise refusal(error, model) from error


def remaining(most: float) -> float:
    """The seconds until the deadline of the call that is served, at most `most`."""
    call = current_call()
    left = call.remaining() if call is not None else None
    return most if left is None else max(0.001, min(most, left))
