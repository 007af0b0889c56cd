"""Texts in the order of how well they fit a question, in the forms of Cohere's and Jina's clients, and over REST."""

from base64 import b64encode

from tests.e2e.media.vendor import TEXT, MediaVendor, sound
from tests.e2e.stack import Stack
from tests.model.media.samples import PNG

ASKED = {"query": "green tea", "documents": ["a cup", "green tea leaves", {"text": "tea", "source": "x"}]}


async def test_documents_come_in_their_order(media_stack: Stack, vendor: MediaVendor) -> None:
    async with media_stack.http() as http:
        answer = (
            await http.post("/v1/rerank", json=ASKED | {"return_documents": True, "max_tokens_per_doc": 9})
        ).json()
    assert [each["index"] for each in answer["results"]] == [1, 2, 0]
    assert answer["results"][0]["document"] == {"text": "green tea leaves"}
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert vendor.last.body == {
        "model": "rerank-v3.5",
        "query": "green tea",
        "documents": ["a cup", "green tea leaves", "tea"],
        "max_tokens_per_doc": 9,
    }


async def test_cohere_s_own_path_has_the_same(media_stack: Stack) -> None:
    async with media_stack.http() as http:
        answer = (await http.post("/v2/rerank", json=ASKED | {"model": "rerank-v3.5", "top_n": 1})).json()
    assert [(each["index"], "document" in each) for each in answer["results"]] == [(1, False)]


async def test_the_contract_s_paths_have_it_all(media_stack: Stack) -> None:
    async with media_stack.http() as http:

        async def call(path: str, body: object) -> str:
            reply = await http.post(f"/slm/v1/{path}", json=body)
            assert reply.status_code == 200, reply.text
            return reply.text

        wav, png = b64encode(sound()).decode(), b64encode(PNG).decode()
        audio = {"data": wav, "media_type": "audio/wav"}
        assert TEXT in await call("audio/transcriptions", {"model": "whisper-1", "audio": audio})
        assert "Good day." in await call("audio/translations", {"model": "whisper-1", "audio": audio})
        assert png in await call("images/generations", {"model": "gpt-image-1", "prompt": "tea"})
        picture = {"data": png, "media_type": "image/png"}
        edit = {"model": "gpt-image-1", "prompt": "tea", "images": [picture]}
        assert png in await call("images/edits", edit)
        assert '"flagged":true' in (
            await call("moderations", {"inputs": [{"parts": [{"text": {"text": "hate"}}]}]})
        ).replace(" ", "")
        ranked = await call("rerank", {"query": "tea", "documents": ["a", "tea"]})
        assert '"index":1' in ranked.replace(" ", "")
        events = (await call("audio/speech", {"model": "tts-1", "input": "Tea?", "voice": "coral"})).split("\n\n")
        assert '"finished"' in events[-2]
