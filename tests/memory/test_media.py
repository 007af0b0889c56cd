"""Pictures and documents of conversations: kept with them, once per tenant, and read by their hash."""

import hashlib

from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1.message_pb2 import Media, Message

from services.memory.window import estimate
from services.mesh.call import errors
from tests.memory.conftest import Memory, as_globex, refused, user

PICTURE = b"\x89PNG\r\n\x1a\n and so on"
HASH = hashlib.sha256(PICTURE).hexdigest()


def seen(**media: object) -> Message:
    """A message with a picture."""
    message = user("What is this?")
    message.parts.add().image.CopyFrom(Media(**media))  # type: ignore[arg-type]
    return message


def asked(hash: str = HASH) -> pb.GetMediaRequest:
    """A request for bytes."""
    return pb.GetMediaRequest(hash=hash)


async def deleted(memory: Memory, conversation_id: str) -> None:
    """Delete a conversation."""
    await memory.stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=conversation_id))


async def test_bytes_become_a_hash_and_come_back_by_it(memory: Memory) -> None:
    await memory.say("c", seen(data=PICTURE, media_type="image/png", detail="high"))
    (turn,) = await memory.turns("c")
    assert turn.message == seen(hash=HASH, media_type="image/png", detail="high")
    found = await memory.stub.GetMedia(asked())
    assert (found.data, found.media_type) == (PICTURE, "image/png")


async def test_a_hash_is_accepted_if_the_tenant_has_the_bytes_and_only_then(memory: Memory) -> None:
    await memory.say("c", seen(data=PICTURE, media_type="image/png"))
    assert await memory.say("d", seen(hash=HASH)) == 1
    with as_globex():
        append = pb.AppendMessagesRequest(conversation_id="c", messages=[user("before"), seen(hash=HASH)])
        error = await refused(memory.stub.AppendMessages(append))
        assert (error.code, error.reason) == (errors.Code.NOT_FOUND, "MEDIA_NOT_FOUND")
        assert (await refused(memory.stub.GetMedia(asked()))).reason == "MEDIA_NOT_FOUND"
        assert (await refused(memory.turns("c"))).reason == "CONVERSATION_NOT_FOUND"


async def test_bytes_are_there_until_their_last_conversation_is_deleted(memory: Memory) -> None:
    await memory.say("c", seen(data=PICTURE, media_type="image/png"), seen(data=PICTURE, media_type="image/png"))
    await memory.say("d", seen(data=PICTURE))
    await deleted(memory, "c")
    found = await memory.stub.GetMedia(asked())
    # The other conversation states no type.
    assert (found.data, found.media_type) == (PICTURE, "application/octet-stream")
    await deleted(memory, "d")
    error = await refused(memory.stub.GetMedia(asked()))
    assert (error.code, error.reason) == (errors.Code.NOT_FOUND, "MEDIA_NOT_FOUND")


async def test_a_repeated_append_keeps_nothing_more(memory: Memory) -> None:
    id = "0190b9ea-0000-7000-8000-000000000001"
    await memory.say("c", seen(data=PICTURE), request_id=id)
    assert await memory.say("c", seen(data=b"other bytes"), request_id=id) == 1
    assert (await refused(memory.stub.GetMedia(asked(hashlib.sha256(b"other bytes").hexdigest())))).reason == (
        "MEDIA_NOT_FOUND"
    )
    assert [turn.message.parts[0].image.hash for turn in await memory.turns("c")] == [HASH]


async def test_an_append_that_fails_keeps_no_bytes(memory: Memory) -> None:
    await memory.pool.execute("ALTER TABLE memory.turn ADD CHECK (tokens < 1)")
    append = pb.AppendMessagesRequest(conversation_id="c", messages=[seen(data=PICTURE)])
    assert (await refused(memory.stub.AppendMessages(append))).code is errors.Code.INTERNAL
    assert (await refused(memory.stub.GetMedia(asked()))).reason == "MEDIA_NOT_FOUND"
    assert await memory.pool.fetchval("SELECT count(*) FROM mesh.blob") == 0


async def test_a_url_and_a_file_of_a_provider_stay_as_they_are(memory: Memory) -> None:
    await memory.say("c", seen(url="https://example.com/a.png"), seen(file_id="file-1"))
    turns = await memory.turns("c")
    assert [turn.message for turn in turns] == [seen(url="https://example.com/a.png"), seen(file_id="file-1")]


async def test_a_picture_counts_in_the_budget_of_a_context(memory: Memory) -> None:
    await memory.say("c", seen(data=PICTURE), user("and this?"), seen(data=PICTURE, detail="low"))
    text = estimate("What is this?")
    whole = await memory.stub.GetContext(pb.GetContextRequest(conversation_id="c"))
    assert whole.token_count == text + 1000 + estimate("and this?") + text + 85
    fitting = await memory.stub.GetContext(pb.GetContextRequest(conversation_id="c", token_budget=1000))
    assert [turn.sequence for turn in fitting.recent_messages] == [2, 3]


async def test_a_hash_that_is_none_is_refused(memory: Memory) -> None:
    error = await refused(memory.stub.GetMedia(asked("../../etc/passwd")))
    assert error.code is errors.Code.INVALID_ARGUMENT
