"""`soma models`: what can be used, and of each vendor that cannot, why."""

from collections.abc import AsyncGenerator, Sequence

from soma.model.v1.catalog_service_pb2 import Model, Provider
from soma.model.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import FailedPrecondition, MeshError
from services.model.catalogue import Catalogue, CatalogueEntry
from services.model.provider import ProviderEvent
from services.model.service import CatalogService
from tests.cli.commands import soma
from tests.cli.mesh import KEY, ScriptedChat, serving


class Listing:
    """A Provider that lists one model, or fails with `error`."""

    lacks = frozenset[str]()
    takes = None

    def __init__(self, name: str, error: MeshError | None = None) -> None:
        self.name = name
        self.error = error

    async def models(self) -> Sequence[Model]:
        if self.error is not None:
            raise self.error
        return [self.described(f"{self.name}-1")]

    def described(self, name: str) -> Model:
        return Model(
            name=name,
            provider=self.name,
            capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
            input_modalities=[Model.MODALITY_TEXT, Model.MODALITY_IMAGE],
        )

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        raise NotImplementedError


async def test_providers_are_listed_with_why_they_cannot_be_used() -> None:
    refused = FailedPrecondition("check GROQ_API_KEY", reason="PROVIDER_CREDENTIAL_REFUSED")
    entries = [CatalogueEntry(Listing("lab"), title="The lab"), CatalogueEntry(Listing("groq", refused), title="Groq")]
    unset = Provider(name="xai", title="xAI", state=Provider.STATE_NOT_SET, reason="set XAI_API_KEY")
    catalogue = Catalogue(entries, "", fallback="none", unused=[unset])
    await catalogue.refresh()
    registration = (add_CatalogServiceServicer_to_server, CatalogService(catalogue))
    async with serving(ScriptedChat(), registration) as door:
        ended = await soma("models", "--url", door.url, "--key", KEY)
    assert ended.status == 0, ended.errors
    models, providers = ended.output.split("\n\n")
    assert models.splitlines()[1].split() == ["lab-1", "lab", "chat,", "tools", "text,", "image", "default"]
    assert [" ".join(line.split()) for line in providers.splitlines()[1:]] == [
        "lab The lab 1 ready",
        "groq Groq key refused: check GROQ_API_KEY",
        "xai xAI not set: set XAI_API_KEY",
    ]
