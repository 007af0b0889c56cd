"""What a client keeps and only the mesh can read."""

from typing import TYPE_CHECKING

import pytest

from services.orchestrator.responses.seal import Seal

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


async def test_content_opens_in_every_process_of_the_stack_for_its_tenant_and_purpose_alone(
    database: "OwnedDatabase",
) -> None:
    content = b"what was said" * 100
    text = await Seal(database.system, "compaction").close("one", content)
    assert text.isascii() and b"said" not in text.encode()
    # Another process has no key in its memory.
    assert await Seal(database.system, "compaction").open("one", text) == content
    for seal, tenant in ((Seal(database.system, "compaction"), "two"), (Seal(database.system, "thought"), "one")):
        with pytest.raises(ValueError, match="another tenant's"):
            await seal.open(tenant, text)


async def test_the_same_content_is_never_sealed_the_same_way(database: "OwnedDatabase") -> None:
    seal = Seal(database.system, "compaction")
    assert len({await seal.close("one", b"same") for _ in range(20)}) == 20


async def test_no_changed_text_opens(database: "OwnedDatabase") -> None:
    seal = Seal(database.system, "compaction")
    text = await seal.close("one", b"what was said")
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        for changed in (text[:at] + other + text[at + 1 :], text[:at], text[:at] + text[at + 1 :], f"{text}{at}"):
            with pytest.raises(ValueError, match="it "):
                await seal.open("one", changed)
