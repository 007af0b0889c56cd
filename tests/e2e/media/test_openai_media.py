"""OpenAI's own Python client for sounds, pictures and judgements; only its base URL and key are changed."""

from base64 import b64decode, b64encode
from typing import Any

import openai as sdk
import orjson
import pytest
from openai import AsyncOpenAI
from openai.types import ModerationImageURLInputParam, ModerationTextInputParam

from tests.e2e.media.vendor import SPEECH, TEXT, MediaVendor, sound
from tests.model.media.samples import PNG


async def test_a_sound_is_written_down(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    answer = await client.audio.transcriptions.create(
        model="whisper-1", file=("tea.wav", sound()), language="en", prompt="tea", temperature=0.2
    )
    assert answer.text == TEXT
    assert answer.usage is not None
    assert answer.usage.to_dict() == {"type": "duration", "seconds": 1.0}
    (member, name, kind, data) = vendor.last.files[0]
    assert (member, name, kind, data) == ("file", "tea.wav", "audio/wav", sound())
    expected = {"model": "whisper-1", "language": "en", "prompt": "tea", "temperature": "0.2"}
    assert vendor.last.body == expected | {"response_format": "json"}


async def test_a_transcript_has_times_and_words(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    answer = await client.audio.transcriptions.create(
        model="whisper-1",
        file=("tea.wav", sound()),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.language, answer.duration, answer.text) == ("english", 1.0, TEXT)
    assert answer.segments is not None
    assert [(each.id, each.start, each.end, each.text) for each in answer.segments] == [
        (0, 0.0, 0.5, " The tea"),
        (1, 0.5, 1.0, " is green."),
    ]
    assert answer.segments[0].avg_logprob == -0.25
    assert answer.words is not None
    assert answer.words[0].word == "The"
    assert vendor.last.body["timestamp_granularities[]"] == ["word", "segment"]


async def test_a_transcript_comes_as_text_and_as_subtitles(client: AsyncOpenAI) -> None:
    async def written(form: Any) -> Any:
        return await client.audio.transcriptions.create(
            model="whisper-1", file=("tea.wav", sound()), response_format=form
        )

    assert await written("text") == f"{TEXT}\n"
    assert await written("srt") == (
        "1\n00:00:00,000 --> 00:00:00,500\nThe tea\n\n2\n00:00:00,500 --> 00:00:01,000\nis green.\n\n"
    )
    assert await written("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nThe tea\n\n00:00:00.500 --> 00:00:01.000\nis green.\n\n"
    )


async def test_speakers_are_told_apart(client: AsyncOpenAI) -> None:
    answer = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("tea.wav", sound()),
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    assert [(each.speaker, each.text, each.id) for each in answer.segments] == [("A", TEXT, "seg_1")]


async def test_a_transcript_streams_while_it_is_made(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    stream = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("tea.wav", sound()), stream=True, include=["logprobs"]
    )
    events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert (last.text, last.usage and last.usage.total_tokens) == (TEXT, 19)
    assert vendor.last.body["include[]"] == ["logprobs"]


async def test_a_model_that_cannot_stream_sends_the_whole_transcript_at_the_end(client: AsyncOpenAI) -> None:
    stream = await client.audio.transcriptions.create(model="whisper-1", file=("tea.wav", sound()), stream=True)
    assert [event.type async for event in stream] == ["transcript.text.done"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_sound_is_translated(client: AsyncOpenAI) -> None:
    answer = await client.audio.translations.create(model="whisper-1", file=("guten.wav", sound()))
    assert answer.text == "Good day."


async def test_a_text_is_spoken(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    answer = await client.audio.speech.create(
        model="gpt-4o-mini-tts", input="Tea?", voice="coral", instructions="softly", response_format="wav", speed=1.5
    )
    assert answer.content == SPEECH
    assert answer.response.headers["content-type"] == "audio/wav"
    assert vendor.last.body == {
        "model": "gpt-4o-mini-tts",
        "input": "Tea?",
        "voice": "coral",
        "instructions": "softly",
        "response_format": "wav",
        "speed": 1.5,
    }


async def test_speech_streams_while_it_is_made(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    vendor.paces = 0.05
    pieces = []
    async with client.audio.speech.with_streaming_response.create(model="tts-1", input="Tea?", voice="coral") as answer:
        async for piece in answer.iter_bytes():
            pieces.append(piece)
    assert b"".join(pieces) == SPEECH
    assert len(pieces) > 1


async def test_speech_comes_as_events(client: AsyncOpenAI) -> None:
    answer = await client.audio.speech.create(model="gpt-4o-mini-tts", input="Tea?", voice="coral", stream_format="sse")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    found = [orjson.loads(each) for each in events[:-1]]
    assert b"".join(b64decode(each["audio"]) for each in found[:-1]) == SPEECH
    assert found[-1]["type"] == "speech.audio.done"


async def test_pictures_are_made_as_bytes(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    answer = await client.images.generate(
        model="gpt-image-1", prompt="tea", n=2, size="1024x1024", quality="low", background="opaque", moderation="low"
    )
    assert answer.data is not None
    assert [b64decode(each.b64_json or "") for each in answer.data] == [PNG, PNG]
    assert answer.usage is not None
    assert (answer.usage.total_tokens, answer.usage.input_tokens_details.text_tokens) == (30, 10)
    assert (answer.size, answer.output_format) == ("1024x1024", "png")
    assert vendor.last.body["moderation"] == "low"


async def test_pictures_are_made_as_addresses(client: AsyncOpenAI) -> None:
    answer = await client.images.generate(model="dall-e-3", prompt="tea", response_format="url", style="vivid")
    assert answer.data is not None
    assert (answer.data[0].url, answer.data[0].revised_prompt) == ("https://pictures.example/1.png", "a green tea")


async def test_unfinished_pictures_stream(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(model="gpt-image-1", prompt="tea", stream=True, partial_images=2)
    events = [event async for event in stream]
    kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.type for event in events] == kinds
    assert all(b64decode(event.b64_json) == PNG for event in events)
    assert events[-1].usage.total_tokens == 30  # type: ignore[union-attr]


async def test_pictures_are_changed(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    pictures = [("a.png", PNG, "image/png"), ("b.png", PNG, "image/png")]
    answer = await client.images.edit(
        model="gpt-image-1", image=pictures, mask=("m.png", PNG, "image/png"), prompt="greener", input_fidelity="high"
    )
    assert answer.data is not None
    assert b64decode(answer.data[0].b64_json or "") == PNG
    assert [name for name, *_ in vendor.last.files] == ["image[]", "image[]", "mask"]
    assert vendor.last.body["input_fidelity"] == "high"
    stream = await client.images.edit(model="gpt-image-1", image=pictures[0], prompt="greener", stream=True)
    assert [event.type async for event in stream] == ["image_edit.completed"]


async def test_texts_are_judged(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    answer = await client.moderations.create(input=["tea", "violence"])
    assert [each.flagged for each in answer.results] == [False, True]
    assert answer.results[1].categories.violence is True
    assert answer.results[1].category_scores.violence == 0.9
    assert answer.model == "omni-moderation-latest"
    assert vendor.last.body == {"model": "omni-moderation-latest", "input": ["tea", "violence"]}


async def test_a_picture_is_judged_with_a_text(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    url = f"data:image/png;base64,{b64encode(PNG).decode()}"
    inputs: list[ModerationImageURLInputParam | ModerationTextInputParam] = [
        {"type": "text", "text": "tea"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    answer = await client.moderations.create(model="omni-moderation-latest", input=inputs)
    assert [each.flagged for each in answer.results] == [False]
    assert vendor.last.body["input"][1] == {"type": "image_url", "image_url": {"url": url}}


async def test_a_model_without_the_ability_is_refused_and_others_are_named(client: AsyncOpenAI) -> None:
    with pytest.raises(sdk.BadRequestError) as caught:
        await client.audio.speech.create(model="whisper-1", input="Tea?", voice="coral")
    assert caught.value.code == "model_capability_missing"
    assert "`tts-1`" in caught.value.message
    with pytest.raises(sdk.NotFoundError):
        await client.audio.speech.create(model="nobody", input="Tea?", voice="coral")
