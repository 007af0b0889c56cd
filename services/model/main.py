"""Declares and builds the model service: its providers, its catalogue, its ledger."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from pydantic import SecretStr
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.catalog_service_pb2 import Provider as ProviderState
from soma.model.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from soma.model.v1.cost_service_pb2_grpc import add_CostServiceServicer_to_server
from soma.model.v1.media_service_pb2_grpc import add_MediaServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server

from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.parts import LLM
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.stores.row_security import Access
from services.model.adapters import llm
from services.model.adapters.extract import voice
from services.model.adapters.extract.engine import ExtractEngine
from services.model.adapters.extract.ranking import Ranking
from services.model.adapters.local import LocalProvider, local_model
from services.model.adapters.markov import engine as markov
from services.model.adapters.remote import remote
from services.model.adapters.triton.provider import TritonProvider
from services.model.adapters.triton.wiring import Triton
from services.model.adapters.upstream import Patience
from services.model.catalogue import Catalogue, CatalogueEntry
from services.model.catalogue_file import ProviderSettings
from services.model.discovery import Missing
from services.model.embedding.minilm import MiniLm
from services.model.generation import Generations
from services.model.judging import Judging
from services.model.ledger import Ledger
from services.model.llm.files import FOLDER, Files
from services.model.media.reader import MediaReader
from services.model.media_service import MediaService
from services.model.service import CatalogService, CostService, ModelService
from services.model.settings import ModelSettings
from services.model.specialists import Specialists
from services.model.store import RECORDED, UsageStore
from services.model.vectors import Vectors
from services.model.vendor import Vendor
from services.model.vendor_files import load
from services.model.works import Works

# A start waits this many seconds for the lists of remote providers. Slower providers appear when they answer.
_FIRST_LOOK_SECONDS = 1.5
# Seconds between two looks at providers that could not be reached.
_AWAY_SECONDS = 5.0
# The vendor whose form of requests the chat models in Triton have.
_TRITON_DIALECT = "llamacpp"


async def build(mesh: Mesh, settings: ModelSettings, stack: AsyncExitStack) -> Service:
    """Make the service; `stack` closes its resources."""
    embedding = settings.embedding
    if "directory" not in embedding.model_fields_set:
        embedding = embedding.model_copy(update={"directory": mesh.data_dir / "models"})
    embedder = MiniLm(embedding)
    stack.push_async_callback(embedder.close)
    embedder.begin()
    vendors = await asyncio.to_thread(load, settings.vendors or mesh.data_dir / "vendors")
    triton = Triton.opened(settings.triton, embedder, stack)
    catalogue = await _catalogue(mesh, settings, vendors, embedder, triton, stack)
    looked = await _first_look(catalogue, stack)
    usage = UsageStore(mesh.postgres, mesh.outbox)
    stack.push_async_callback(usage.close)
    ledger = Ledger(usage.write)
    stack.push_async_callback(ledger.drain)
    generations = Generations(ledger, settings.heartbeat_interval, settings.answer_limit_bytes)
    vectors = Vectors(triton.embedder if triton is not None else embedder, ledger)
    servicer = ModelService(catalogue, generations, vectors, Judging(ledger), markov.NAME)
    works = Works(ledger, settings.heartbeat_interval)
    # While Redis is unavailable, events wait in the outbox and calls are served, so health does not depend on Redis.
    return Service(
        servicers=(
            (add_ModelServiceServicer_to_server, servicer),
            (add_MediaServiceServicer_to_server, MediaService(Specialists(catalogue), works)),
            (add_CatalogServiceServicer_to_server, CatalogService(catalogue)),
            (add_CostServiceServicer_to_server, CostService(usage)),
        ),
        jobs=(
            Job(
                "catalogue",
                catalogue.refresh,
                every=settings.refresh_interval,
                first=settings.refresh_interval if looked else 0.0,
            ),
            # So that a server that starts after the mesh can become the default within seconds.
            Job("catalogue_away", catalogue.refresh_away, every=_AWAY_SECONDS, first=_AWAY_SECONDS),
            *(triton.jobs(catalogue) if triton is not None else ()),
        ),
        checks={"postgres": mesh.check_postgres, "embedder": embedder.check},
        wants={"llm": catalogue.check, **(triton.wants if triton is not None else {})},
    )


async def _catalogue(
    mesh: Mesh,
    settings: ModelSettings,
    vendors: Mapping[str, Vendor],
    embedder: MiniLm,
    triton: Triton | None,
    stack: AsyncExitStack,
) -> Catalogue:
    local = LocalProvider(
        engines=(
            ExtractEngine(Ranking(embedder.embed_at_once)),
            markov.MarkovEngine(await asyncio.to_thread(markov.packaged_chain)),
        ),
        listed=(local_model(embedder.model, Model.CAPABILITY_EMBEDDING),),
    )
    default, configured = settings.providers(vendors)
    patience = Patience(
        settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout, settings.whole_timeout
    )
    network = settings.network()
    media = MediaReader(mesh.blobs, settings.media, network)
    entries = [CatalogueEntry(local, title="this process")]
    if triton is not None:
        chat = vendors[_TRITON_DIALECT].chat
        provider = TritonProvider(triton.server, chat, patience, settings.triton, embedder.model)
        entries.append(CatalogueEntry(provider, title="NVIDIA Triton", may_be_default=False))
    if (part := await _llm(mesh, settings, vendors, patience, stack)) is not None:
        entries.append(part)
    for each in configured:
        vendor = vendors[each.vendor]
        entries.append(
            CatalogueEntry(
                await remote(each, vendor, patience, stack, network, media),
                only=each.models,
                optional=each.optional,
                title=vendor.title,
                may_be_default=vendor.models.may_be_default,
            )
        )
    unused = [_unused(each) for each in settings.missing(vendors)]
    return Catalogue(entries, default, fallback=voice.NAME, unused=unused)


async def _llm(
    mesh: Mesh, settings: ModelSettings, vendors: Mapping[str, Vendor], patience: Patience, stack: AsyncExitStack
) -> CatalogueEntry | None:
    """The part `llm` of this stack; None if it has none."""
    url = mesh.optional(LLM)
    if url is None:
        return None
    vendor = vendors[llm.NAME]
    base_url, key = llm.address(url)
    server = ProviderSettings(name=llm.NAME, vendor=vendor.name, base_url=base_url, api_key=SecretStr(key))
    files = Files(mesh.data_dir / FOLDER, settings.llm.gguf)
    provider = llm.LlmProvider(files, settings.llm.engine(), await remote(server, vendor, patience, stack))
    return CatalogueEntry(provider, title=vendor.title, here=True, may_be_default=vendor.models.may_be_default)


def _unused(missing: Missing) -> ProviderState:
    return ProviderState(
        name=missing.vendor.name,
        title=missing.vendor.title,
        state=ProviderState.STATE_NOT_SET,
        reason=f"set {', '.join(missing.variables)}",
    )


async def _first_look(catalogue: Catalogue, stack: AsyncExitStack) -> bool:
    """Ask every provider, and wait a short time for the answers; return False if it failed and must be repeated."""
    look = asyncio.create_task(catalogue.refresh())

    async def ended() -> None:
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)

    stack.push_async_callback(ended)
    await asyncio.wait((look,), timeout=_FIRST_LOOK_SECONDS)
    return not look.done() or look.exception() is None


SERVICE = Declaration(
    name="model",
    build=build,
    settings=ModelSettings,
    needs=("postgres", "redis"),
    uses=("llm",),
    migrations=Path(__file__).parent / "migrations",
    sends=(RECORDED,),
    access=Access(system={"usage": "SELECT INSERT", "outbox": "INSERT"}),
)
