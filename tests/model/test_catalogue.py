"""The names, defaults and availability of models."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import ROLE_USER, Media, Message, Part
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import InvalidArgument, MeshError, NotFound, Unavailable
from services.model.catalogue import Catalogue, CatalogueEntry
from services.model.provider import ProviderEvent


class Listing:
    """A Provider that lists its models, or fails with a reason."""

    lacks = frozenset[str]()
    takes = None

    def __init__(self, name: str, *models: str, chats: bool = True) -> None:
        self.name = name
        self.listed: Sequence[Model] = [
            Model(name=model, provider=name, capabilities=[Model.CAPABILITY_CHAT] if chats else []) for model in models
        ]
        self.error: MeshError | None = None

    async def models(self) -> Sequence[Model]:
        if self.error is not None:
            raise self.error
        return self.listed

    def described(self, name: str) -> Model:
        return Model(name=name, provider=self.name, capabilities=[Model.CAPABILITY_CHAT])

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        raise NotImplementedError


LOCAL = Listing("local", "soma-extract-v1")


async def catalogue(*providers: Listing, default: str = "", optional: bool = False) -> Catalogue:
    entries = [CatalogueEntry(LOCAL), *(CatalogueEntry(provider, optional=optional) for provider in providers)]
    made = Catalogue(entries, default, fallback="soma-extract-v1")
    await made.refresh()
    return made


async def test_without_a_remote_model_the_local_one_is_the_default() -> None:
    assert (await catalogue()).resolve("").model.name == "soma-extract-v1"
    assert (await catalogue(Listing("a", "embedder", chats=False))).default() == "soma-extract-v1"


async def test_the_first_remote_chat_model_is_the_default_unless_one_is_configured() -> None:
    providers = (Listing("a", "embedder", chats=False), Listing("b", "chatter", "other"))
    assert (await catalogue(*providers)).default() == "chatter"
    assert (await catalogue(*providers, default="other")).resolve("").model.name == "other"


async def test_the_default_is_a_model_of_the_next_provider_while_the_first_is_away() -> None:
    first, second = Listing("a", "x"), Listing("b", "y")
    made = await catalogue(first, second)
    assert made.default() == "x"
    first.error = Unavailable("gone")
    await made.refresh()
    assert made.default() == "y"


async def test_a_name_two_providers_have_goes_to_the_first_that_is_available_or_the_one_that_is_named() -> None:
    first, second = Listing("a", "x"), Listing("b", "x")
    made = await catalogue(first, second)
    assert made.resolve("x").provider is first
    assert made.resolve("b/x").provider is second
    first.error = Unavailable("gone")
    await made.refresh()
    assert made.resolve("x").provider is second
    assert made.resolve("a/x").provider is first


async def test_a_name_with_a_slash_of_its_own_is_found() -> None:
    assert (await catalogue(Listing("vllm", "meta/llama"))).resolve("vllm/meta/llama").model.name == "meta/llama"
    assert (await catalogue(Listing("vllm", "meta/llama"))).resolve("meta/llama").model.name == "meta/llama"


async def test_an_unknown_name_is_refused_with_names_like_it() -> None:
    made = await catalogue(Listing("a", "gpt-5-mini", "gpt-5", "zephyr"))
    with pytest.raises(NotFound) as raised:
        made.resolve("gpt-5-minni")
    assert raised.value.reason == "MODEL_NOT_FOUND"
    assert "gpt-5-mini" in raised.value.message
    assert "zephyr" not in raised.value.message


async def test_the_error_for_a_missing_default_says_that_it_is_configured() -> None:
    made = await catalogue(Listing("a", "x"), default="gone")
    with pytest.raises(NotFound, match="there is no model `gone`, the configured default; there are: "):
        made.resolve("")


async def test_models_of_a_provider_that_went_away_stay_listed_with_the_reason() -> None:
    provider = Listing("a", "x")
    made = await catalogue(provider)
    provider.error = Unavailable("the server cannot be reached")
    await made.refresh()
    listed = {model.name: model for model in made.models()}
    assert not listed["x"].available
    assert listed["x"].unavailable_reason == "the server cannot be reached"
    provider.error = None
    await made.refresh()
    assert {model.name: model.available for model in made.models()}["x"]


async def test_an_optional_provider_is_hidden_until_it_has_answered() -> None:
    provider = Listing("ollama", "llama")
    provider.error = Unavailable("refused")
    made = await catalogue(provider, optional=True)
    assert [model.name for model in made.models()] == ["soma-extract-v1"]
    provider.error = None
    await made.refresh()
    assert {model.name for model in made.models()} == {"soma-extract-v1", "llama"}


async def test_models_named_in_a_file_are_known_while_their_server_is_away() -> None:
    provider = Listing("a", "x", "y")
    provider.error = Unavailable("gone")
    made = Catalogue([CatalogueEntry(LOCAL), CatalogueEntry(provider, only=("x",))], "", fallback="soma-extract-v1")
    await made.refresh()
    assert made.resolve("x").provider is provider
    provider.error = None
    await made.refresh()
    assert {model.name for model in made.models()} == {"soma-extract-v1", "x"}


async def test_the_default_is_listed_first_and_marked_once() -> None:
    made = await catalogue(Listing("a", "x"), Listing("b", "x", "y"), default="x")
    first, *others = made.models()
    assert (first.name, first.default) == ("x", True)
    assert not any(model.default for model in others)


async def test_a_model_without_a_capability_is_refused() -> None:
    route = (await catalogue()).resolve("soma-extract-v1")
    with pytest.raises(InvalidArgument) as raised:
        route.require(Model.CAPABILITY_TOOLS, "call tools")
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"


async def test_the_check_fails_while_no_model_can_chat() -> None:
    provider = Listing("a", "x")
    made = Catalogue([CatalogueEntry(provider)], "", fallback="soma-extract-v1")
    with pytest.raises(Unavailable) as asked_never:
        await made.check()
    assert asked_never.value.reason == "MODEL_UNAVAILABLE"
    await made.refresh()
    await made.check()
    provider.error = Unavailable("gone")
    await made.refresh()
    with pytest.raises(Unavailable):
        await made.check()
    only_vectors = await catalogue_of(Listing("b", "embedder", chats=False))
    with pytest.raises(Unavailable):
        await only_vectors.check()


async def catalogue_of(provider: Listing) -> Catalogue:
    made = Catalogue([CatalogueEntry(provider)], "", fallback="soma-extract-v1")
    await made.refresh()
    return made


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        (Model.CAPABILITY_EMBEDDING, "the model `m` cannot hold a conversation; it makes vectors of texts"),
        (Model.CAPABILITY_TRANSCRIPTION, "the model `m` cannot hold a conversation; it writes down what is said"),
    ],
)
async def test_the_refusal_of_a_model_names_the_purpose_of_the_model(
    capability: "Model.Capability.ValueType", said: str
) -> None:
    provider = Listing("a", "m")
    provider.listed = [Model(name="m", provider="a", capabilities=[capability])]
    route = (await catalogue(provider)).resolve("m")
    with pytest.raises(InvalidArgument) as raised:
        route.require(Model.CAPABILITY_CHAT, "hold a conversation")
    assert raised.value.message.startswith(said)
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"


async def test_a_provider_whose_models_may_not_be_the_default_is_used_only_by_name() -> None:
    made = Catalogue(
        [
            CatalogueEntry(LOCAL),
            CatalogueEntry(Listing("a", "x"), may_be_default=False),
            CatalogueEntry(Listing("b", "y")),
        ],
        "",
        fallback="none",
    )
    await made.refresh()
    assert made.default() == "y"
    assert made.resolve("x").model.provider == "a"


async def test_a_model_that_does_not_see_refuses_a_picture_and_names_models_that_do() -> None:
    first, second = Listing("a", "blind", "unknown"), Listing("b", "seeing", "away")
    first.listed[0].input_modalities.append(Model.MODALITY_TEXT)
    for model in second.listed:
        model.input_modalities.extend([Model.MODALITY_TEXT, Model.MODALITY_IMAGE])
    made = await catalogue(first, second)
    shown = [Message(role=ROLE_USER, parts=[Part(image=Media(url="https://a.example/a.png"))])]
    with pytest.raises(InvalidArgument) as raised:
        made.require_reading(made.resolve("blind"), shown)
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"
    assert raised.value.message == "the model `blind` does not read pictures; these do: `seeing`, `away`"
    for name in ("unknown", "seeing"):
        made.require_reading(made.resolve(name), shown)
    made.require_reading(made.resolve("blind"), [Message(role=ROLE_USER, content="Hi")])
    both = [Message(role=ROLE_USER, parts=[*shown[0].parts, Part(audio=Media(data=b"1"))])]
    with pytest.raises(InvalidArgument, match=r"does not read sound$"):
        made.require_reading(made.resolve("seeing"), both)
