"""Thoughts, citations and stop sequences in the answers of OpenAI-compatible servers."""

import json
from typing import Any

import pytest
from soma.model.v1.message_pb2 import Citation, Delta, Reasoning, ToolCall
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.messages.answer import Answer
from services.model.adapters.openai_answer import ChatAnswer
from tests.model.adapters.answering import delta


def read(*chunks: dict[str, Any], stops: tuple[str, ...] = ()) -> tuple[Answer, GenerationFinished, list[Delta]]:
    """The answer of these chunks, its final event, and its pieces."""
    reader, answer, pieces = ChatAnswer("lab", stops), Answer(), list[Delta]()
    for chunk in chunks:
        pieces.extend(reader.read(json.dumps(chunk).encode()))
    reader.read(b"[DONE]")
    held, finished = reader.finished()
    pieces.extend(held)
    for piece in pieces:
        answer.add(piece)
    return answer, finished, pieces


def whole(message: dict[str, Any], **more: Any) -> tuple[Answer, GenerationFinished]:
    """The same of a document."""
    reader, answer = ChatAnswer("lab"), Answer()
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    for piece in reader.read_whole(json.dumps({"choices": [choice], **more}).encode()):
        answer.add(piece)
    held, finished = reader.finished()
    for piece in held:
        answer.add(piece)
    return answer, finished


def thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
def test_pieces_of_a_thought_are_joined_and_a_thought_after_the_text_is_another(member: str) -> None:
    answer, _, _ = read(
        delta(**{member: "Let ", "content": None}),
        delta(**{member: "me see."}),
        delta(content="It "),
        delta(**{member: "Hm."}),
        delta(content="is."),
        delta("stop"),
    )
    assert [each.text for each in answer.thoughts()] == ["Let me see.", "Hm."]
    assert answer.text == "It is."


def test_a_thought_that_comes_under_two_names_is_read_once() -> None:
    answer, _, _ = read(delta(reasoning="Hm.", reasoning_content="Hm."), delta("stop", content="Yes."))
    assert [each.text for each in answer.thoughts()] == ["Hm."]
    answer, _ = whole({"reasoning": "Hm.", "reasoning_content": "Hm.", "content": "Yes."})
    assert ([each.text for each in answer.thoughts()], answer.text) == (["Hm."], "Yes.")


def test_entries_of_reasoning_details_keep_every_member() -> None:
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    hidden = {"type": "reasoning.encrypted", "data": "xyz", "id": "call_1", "format": "google-gemini-v1", "index": 0}
    summary = {"type": "reasoning.summary", "summary": "In short.", "id": None, "index": 1}
    answer, _, _ = read(
        delta(reasoning="Let ", reasoning_details=[{**text, "text": "Let "}]),
        delta(reasoning="me see.", reasoning_details=[{**text, "text": "me see."}]),
        delta(reasoning_details=[{**text, "signature": "sig"}]),
        delta(reasoning_details=[hidden]),
        delta(reasoning="In short.", reasoning_details=[summary]),
        delta("stop", content="Yes."),
    )
    first, second, third = answer.thoughts("lab")
    assert (first.text, first.signature, json.loads(first.details)) == ("Let me see.", "sig", text)
    rest = {name: value for name, value in hidden.items() if name != "data"}
    assert (second.text, second.redacted, json.loads(second.details)) == ("", "xyz", rest)
    assert (third.text, json.loads(third.details)["type"]) == ("In short.", "reasoning.summary")


def test_an_entry_with_another_id_is_another_thought() -> None:
    entries = [{"type": "reasoning.encrypted", "data": data, "id": data, "index": 0} for data in ("a", "b")]
    answer, _, _ = read(delta(reasoning_details=entries), delta("stop", content="Yes."))
    assert [each.redacted for each in answer.thoughts()] == ["a", "b"]


@pytest.mark.parametrize("details", ["text", [1, "x"], {"type": "x"}, [{"type": ["x"], "index": {}, "text": 7}], 7])
def test_thoughts_of_another_shape_cost_no_answer(details: Any) -> None:
    answer, _, _ = read(delta(reasoning_details=details, content="Yes."), delta("stop", reasoning={"a": 1}))
    assert answer.text == "Yes."
    assert [each.text for each in answer.thoughts() if each.text] == []


def test_thoughts_in_parts_of_the_content_are_read_in_their_order() -> None:
    parts = [thought("Let me "), {"type": "text", "text": "It "}, thought("Hm."), "is."]
    answer, _, pieces = read(delta(content=[thought("see: ")]), delta("stop", content=parts))
    assert [each.text for each in answer.thoughts()] == ["see: Let me ", "Hm."]
    assert answer.text == "It is."
    assert [bool(piece.reasoning) for piece in pieces] == [True, True, False, True, False]
    closed = read(delta(content=[thought("Hm.")]), delta("stop", content=[{**thought(""), "closed": True}]))[0]
    assert [(each.text, each.details) for each in closed.thoughts()] == [("Hm.", '{"closed":true}')]
    assert [each.text for each in whole({"content": [{"type": "reasoning", "reasoning": "Hm."}]})[0].thoughts()] == [
        "Hm."
    ]


def test_geminis_thoughts_and_the_signatures_of_its_calls_are_read() -> None:
    google: dict[str, Any] = {"extra_content": {"google": {"thought": True}}}
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer, _, _ = read(
        delta(content="<thought>Let me ", **google),
        delta(content="see.</thought>", **google),
        delta(content="Look: "),
        delta(tool_calls=[{**call, "extra_content": {"google": {"thought_signature": "sig"}}}]),
        delta("tool_calls"),
    )
    assert [each.text for each in answer.thoughts()] == ["Let me see."]
    assert answer.text == "Look: "
    assert answer.calls == [ToolCall(call_id="c1", name="f", arguments="{}", signature="sig")]


def test_a_signature_may_come_after_the_name_of_its_call() -> None:
    late = {"index": 0, "extra_content": {"google": {"thought_signature": "sig"}}, "function": {"arguments": ""}}
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}
    answer, _, _ = read(
        delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        delta(tool_calls=[late]),
        delta("tool_calls"),
    )
    assert answer.calls == [ToolCall(call_id="c1", name="f", arguments='{"a":1}', signature="sig")]


def test_a_character_of_a_thought_may_come_in_two_pieces() -> None:
    reader = ChatAnswer("lab")
    pieces = [
        *reader.read(b'{"choices": [{"delta": {"reasoning": "It is \\ud83c"}}]}'),
        *reader.read(b'{"choices": [{"delta": {"reasoning": "\\udf0d"}}]}'),
        *reader.read(b'{"choices": [{"delta": {"reasoning": "\\ud83c"}, "finish_reason": "stop"}]}'),
    ]
    pieces.extend(reader.finished()[0])
    assert "".join(each.text for piece in pieces for each in piece.reasoning) == "It is 🌍�"


def test_openais_annotations_are_citations_and_repetitions_count_once() -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 3, "end_index": 9}
    annotation = {"type": "url_citation", "url_citation": cited}
    answer, _, _ = read(
        delta(content="As said here."),
        delta(annotations=[annotation]),
        delta("stop", annotations=[annotation, {"type": "file", "file": {"name": "f.pdf", "hash": "h"}}]),
    )
    message = answer.message("lab")
    assert message is not None
    first, second = message.parts[0].text.citations
    assert json.loads(first.details) == annotation
    first.ClearField("details")
    assert first == Citation(url="https://a.example", title="A", start=3, end=9)
    assert second.title == "f.pdf"


def test_lists_of_what_a_search_found_come_once_at_the_end() -> None:
    urls = ["https://a.example", "https://b.example"]
    results = [{"title": url[-9:], "url": url, "snippet": "words"} for url in urls]
    chunks = [{**delta(content=text), "citations": urls, "search_results": results} for text in ("So", " it is.")]
    answer, _, pieces = read(*chunks, {**delta("stop"), "citations": urls, "search_results": results})
    assert [len(piece.citations) for piece in pieces] == [0, 0, 2]
    assert [(each.url, each.quote) for each in pieces[-1].citations] == [(url, "words") for url in urls]
    assert answer.text == "So it is."
    message = whole({"content": "So."}, citations=urls)[0].message("lab")
    assert message is not None
    assert [each.url for each in message.parts[0].text.citations] == urls


def test_mistrals_references_are_citations() -> None:
    parts = [{"type": "text", "text": "So it is."}, {"type": "reference", "reference_ids": [1, 2]}]
    message = whole({"content": parts})[0].message("lab")
    assert message is not None
    (citation,) = message.parts[0].text.citations
    assert json.loads(citation.details)["reference_ids"] == [1, 2]


@pytest.mark.parametrize("annotations", ["x", [7], {"a": 1}, [{"type": "url_citation", "url_citation": 7, "url": 7}]])
def test_citations_of_another_shape_cost_no_answer(annotations: Any) -> None:
    answer, _, _ = read({**delta("stop", content="Yes.", annotations=annotations), "citations": 7})
    assert answer.text == "Yes."


@pytest.mark.parametrize("member", ["stop_reason", "matched_stop"])
def test_the_stop_sequence_that_ended_the_text_is_named(member: str) -> None:
    for said, named in (("END", "END"), ("end_turn", ""), (128001, ""), (None, "")):
        chunk = delta("stop", content="Yes")
        chunk["choices"][0][member] = said
        assert read(chunk, stops=("STOP", "END"))[1].stop_sequence == named


def test_thoughts_alone_are_no_message() -> None:
    answer, _ = whole({"content": "", "reasoning": "Hm."})
    assert answer.message("lab") is None
    assert answer.thoughts("lab") == [Reasoning(text="Hm.", provider="lab")]


def test_tokens_written_to_a_cache_are_counted() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cache_write_tokens": 4}}
    assert whole({"content": "Yes."}, usage=usage)[1].usage.cache_write_prompt_tokens == 4
