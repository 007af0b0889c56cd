"""The paths of Anthropic's API that are served here, and their handlers."""

from collections.abc import Sequence

from gateway.edge.anthropic.messages import Messages
from gateway.edge.anthropic.request import require_version
from gateway.edge.anthropic.token_counts import TokenCounts
from gateway.edge.body import read_body
from gateway.edge.routes import Exchange, Route


class Api:
    """Anthropic's API over the mesh; a body has at most `body_limit_bytes`."""

    def __init__(self, messages: Messages, token_counts: TokenCounts, body_limit_bytes: int) -> None:
        self._messages = messages
        self._token_counts = token_counts
        self._limit = body_limit_bytes

    @property
    def routes(self) -> Sequence[Route]:
        """The routes: one for each path and method."""
        return (
            Route("POST", "/v1/messages", self._create),
            Route("POST", "/v1/messages/count_tokens", self._count),
        )

    async def _create(self, exchange: Exchange) -> None:
        body, betas = await self._read(exchange)
        await self._messages.answer(body, betas, exchange.departure, exchange.reply)

    async def _count(self, exchange: Exchange) -> None:
        body, betas = await self._read(exchange)
        await self._token_counts.answer(body, betas, exchange.reply)

    async def _read(self, exchange: Exchange) -> tuple[bytes | bytearray, str | None]:
        """The body of a request, and its header `anthropic-beta`."""
        headers = exchange.headers
        require_version(headers.text(b"anthropic-version"))
        return await read_body(exchange.receive, headers, self._limit), headers.text(b"anthropic-beta")
