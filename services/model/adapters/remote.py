"""Makes the adapter for a provider that was found."""

from contextlib import AsyncExitStack

from services.model.adapters.anthropic import Anthropic
from services.model.adapters.http1.network import DIRECT, Network
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Advice, Patience, Upstream
from services.model.catalogue_file import ProviderSettings
from services.model.media.reader import MediaReader
from services.model.vendor import Vendor


async def remote(
    entry: ProviderSettings,
    vendor: Vendor,
    patience: Patience,
    stack: AsyncExitStack,
    network: Network = DIRECT,
    media: MediaReader | None = None,
) -> Anthropic | OpenAICompatible:
    """The adapter for the provider, according to its vendor's file; `stack` closes its connections."""
    vendor = vendor.at(entry.base_url)
    server = vendor.server
    key = entry.api_key.get_secret_value()
    headers = {**server.headers, **({server.key_header: f"{server.key_prefix}{key}"} if key else {})}
    upstream = Upstream(entry.name, entry.base_url, headers, patience, _advice(entry), vendor.limits, network)
    await stack.enter_async_context(upstream)
    if vendor.protocol == "messages":
        return Anthropic(upstream, vendor, media)
    return OpenAICompatible(upstream, vendor, entry.models, media)


def _advice(entry: ProviderSettings) -> Advice:
    usual = Advice()
    key, url = usual.key, usual.url
    if entry.key_place:
        key = f"{'check' if entry.api_key.get_secret_value() else 'it wants a key: set'} {entry.key_place}"
    if entry.url_place:
        url = f"check {entry.url_place}"
    return Advice(key, url)
