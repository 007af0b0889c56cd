"""The first call that needs it finds a provider that starts after the mesh; a broken provider affects no other."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.call import run_as
from services.mesh.call.errors import FailedPrecondition, NotFound, Unavailable
from services.mesh.testing.local import SOMEBODY
from services.model.catalogue import Catalogue, CatalogueEntry
from services.model.provider import ProviderEvent
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Serving, asking
from tests.ports import free_port


class Late:
    """A Provider that fails with `error` until a test clears it; `asked` counts the requests."""

    lacks = frozenset[str]()
    takes = None

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.asked = 0
        self.waiting: asyncio.Event | None = None

    async def models(self) -> Sequence[Model]:
        self.asked += 1
        if self.waiting is not None:
            await self.waiting.wait()
        if self.error is not None:
            raise self.error
        return [Model(name=f"{self.name}-model", provider=self.name, capabilities=[Model.CAPABILITY_CHAT])]

    def described(self, name: str) -> Model:
        return Model(name=name, provider=self.name, capabilities=[Model.CAPABILITY_CHAT])

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        raise NotImplementedError


async def test_a_broken_provider_hides_no_other() -> None:
    broken, sound = Late("broken", UnicodeEncodeError("latin-1", "k", 0, 1, "no")), Late("sound")
    catalogue = Catalogue([CatalogueEntry(broken, only=("m",)), CatalogueEntry(sound)], "", fallback="none")
    await catalogue.refresh()
    listed = {model.name: model for model in catalogue.models()}
    assert listed["sound-model"].available
    assert "UnicodeEncodeError" in listed["m"].unavailable_reason
    broken.error = None
    await catalogue.refresh()
    assert catalogue.resolve("m").model.provider == "broken"


async def test_a_provider_that_starts_later_is_found_by_the_first_call() -> None:
    late = Late("late", Unavailable("refused"))
    catalogue = Catalogue([CatalogueEntry(late, optional=True)], "", fallback="none", look_interval=0.0)
    await catalogue.refresh()
    with pytest.raises(NotFound):
        await catalogue.find("late-model")
    late.error = None
    assert (await catalogue.find("late-model")).model.name == "late-model"
    asked = late.asked
    await catalogue.find("late-model")
    assert late.asked == asked


async def test_a_provider_that_starts_later_becomes_the_default_at_the_next_look_at_those_that_are_away() -> None:
    late = Late("late", Unavailable("refused", reason="PROVIDER_UNAVAILABLE"))
    refusing = Late("refusing", FailedPrecondition("no", reason="PROVIDER_CREDENTIAL_REFUSED"))
    sound = Late("sound")
    catalogue = Catalogue([CatalogueEntry(each) for each in (late, refusing, sound)], "", fallback="none")
    await catalogue.refresh()
    assert catalogue.default() == "sound-model"
    late.error = None
    await catalogue.refresh_away()
    assert catalogue.default() == "late-model"
    await catalogue.refresh_away()
    assert (late.asked, refusing.asked, sound.asked) == (2, 1, 1)


async def test_the_list_shows_a_provider_that_has_started() -> None:
    late = Late("late", Unavailable("refused"))
    catalogue = Catalogue([CatalogueEntry(late, optional=True)], "", fallback="none")
    await catalogue.refresh()
    late.error = None
    assert [model.name for model in await catalogue.listed()] == ["late-model"]


async def test_concurrent_calls_share_one_refresh_and_later_ones_wait_for_the_next() -> None:
    late = Late("late")
    late.waiting = asyncio.Event()
    catalogue = Catalogue([CatalogueEntry(late)], "", fallback="none")
    calls = [asyncio.create_task(catalogue.find("late-model")) for _ in range(5)]
    others = [asyncio.create_task(catalogue.find("nobody")) for _ in range(5)]
    late.waiting.set()
    assert {route.model.name for route in await asyncio.gather(*calls)} == {"late-model"}
    assert all(isinstance(error, NotFound) for error in await asyncio.gather(*others, return_exceptions=True))
    assert late.asked == 1


async def test_a_provider_that_hangs_delays_calls_only_briefly() -> None:
    late = Late("late")
    late.waiting = asyncio.Event()
    catalogue = Catalogue([CatalogueEntry(late)], "", fallback="none")
    async with asyncio.timeout(15):
        with pytest.raises(NotFound):
            await catalogue.find("late-model")


@pytest.mark.usefixtures("nothing_left")
async def test_a_server_that_starts_after_the_mesh_answers_the_first_call_and_is_listed(serving: Serving) -> None:
    fake = FakeUpstream()
    port = free_port()
    fake.url = f"http://127.0.0.1:{port}"
    async with serving([fake]) as models:
        await fake.start(port)
        try:
            with run_as(SOMEBODY):
                events = [event async for event in models.model.Generate(asking())]
                listed = await models.catalogue.ListModels(ListModelsRequest())
        finally:
            await fake.__aexit__(None, None, None)
    assert events[-1].HasField("finished")
    assert "fake-large" in {model.name for model in listed.models if model.available}
