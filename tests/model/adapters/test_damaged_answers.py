"""Answers that are damaged on their way: what is known to be complete is kept, and nothing else is.

Each case was found by `tests/model/fuzz`.
"""

import json
from typing import Any

import pytest
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP

from services.mesh.call.errors import MeshError
from services.model.testing.dialects import Behaviour, Fault
from tests.model.adapters.answering import ANTHROPIC, OPENAI, ask, data, delta, events, message, sent, text_block

HELLO, STOP = delta(content="Hello"), delta("stop")
MARK = b"data: [DONE]\n\n"
SAID = events(*message(text_block("Hello")))
OVERLOADED = events({"type": "error", "error": {"type": "overloaded_error", "message": "gone"}})
CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
INPUT = [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"x"', ":1}")]


def called(*more: dict[str, Any], **members: Any) -> list[dict[str, Any]]:
    """Anthropic's events of a message with one call."""
    return message({**CALL, **members, "deltas": list(INPUT)}, *more, stop_reason="tool_use")


async def test_a_reason_that_comes_after_the_end_mark_counts() -> None:
    heard = await sent(OPENAI, *data(HELLO, end=MARK), *data(delta(content="!"), delta("length")))
    assert heard.finished is not None
    assert (heard.text, heard.finished.finish_reason) == ("Hello!", FINISH_REASON_LENGTH)
    heard = await sent(ANTHROPIC, *SAID[:-2], SAID[-1], SAID[-2])
    assert heard.finished is not None
    assert (heard.text, heard.finished.finish_reason) == ("Hello", FINISH_REASON_STOP)


async def test_nothing_after_a_reason_and_the_end_mark_belongs_to_the_answer() -> None:
    later = data(delta(content="!"), {"error": {"message": "gone"}})
    assert (await sent(OPENAI, *data(HELLO, STOP), *later)).text == "Hello"
    assert (await sent(ANTHROPIC, *SAID, *OVERLOADED)).text == "Hello"
    assert (await sent(ANTHROPIC, *SAID, *SAID)).text == "Hello"


@pytest.mark.parametrize("chunk", [delta(content=5), delta(tool_calls=["x"]), {"choices": [7]}, {"choices": 7}])
async def test_a_chunk_of_another_shape_after_the_reason_is_an_error(chunk: Any) -> None:
    with pytest.raises(MeshError, match="another shape"):
        await sent(OPENAI, *data(HELLO, STOP, chunk))


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": {}}, {"message": ""}])
async def test_a_whole_answer_without_a_message_is_an_error(choice: dict[str, Any]) -> None:
    with pytest.raises(MeshError, match="another shape"):
        await sent(OPENAI, json.dumps({"choices": [{**choice, "finish_reason": "stop"}]}).encode())


async def test_an_answer_that_ended_to_call_tools_without_a_call_is_an_error() -> None:
    body = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "tool_calls"}]}
    unknown = {**CALL, "type": "x", "deltas": list(INPUT)}
    for dialect, frames in (
        (OPENAI, data(HELLO, delta("tool_calls"))),
        (OPENAI, [json.dumps(body).encode()]),
        (ANTHROPIC, events(*message(text_block("Hello"), stop_reason="tool_use"))),
        (ANTHROPIC, events(*message(text_block("Hello"), unknown, stop_reason="tool_use"))),
    ):
        with pytest.raises(MeshError, match="no call in it"):
            await sent(dialect, *frames)


@pytest.mark.parametrize(
    "begin", [b"data: {broken", b"data:", b"data: ", b"dat", b": note", b"event: x\ndata: {broken"]
)
async def test_an_error_in_the_middle_of_an_event_is_an_error(begin: bytes) -> None:
    broken = begin + b'\n{"error": {"message": "gone"}}\n: note\n\n'
    for frames in (data(HELLO, STOP, end=b""), data(HELLO, end=b"")):
        with pytest.raises(MeshError, match="gone"):
            await sent(OPENAI, *frames, broken, *data(STOP))


@pytest.mark.parametrize(("dialect", "frames"), [(OPENAI, data(HELLO, STOP, end=b"")), (ANTHROPIC, SAID[:-1])])
async def test_a_connection_that_breaks_before_the_last_blank_line_loses_no_answer(
    dialect: Any, frames: list[bytes]
) -> None:
    whole = b"".join(frames)[:-2]
    heard = await ask(dialect, Behaviour(sent=[whole], fault=Fault.RESET_END))
    assert heard.text == "Hello"
    with pytest.raises(MeshError) as raised:
        await ask(dialect, Behaviour(sent=[whole[:-1]], fault=Fault.RESET_END))
    assert raised.value.reason == "PROVIDER_STREAM_CUT"


async def test_a_second_start_of_an_open_block_is_no_second_call() -> None:
    said = called()
    heard = await sent(ANTHROPIC, *events(*said[:2], *said[1:]))
    assert heard.calls == {0: ("a", "f", '{"x":1}')}


async def test_a_block_without_its_end_is_closed_by_the_next_one_with_its_index() -> None:
    first, second = called()[1:-3], called(id="b", name="g")[1:]
    heard = await sent(ANTHROPIC, *events(message()[0], *first, *second))
    assert heard.calls == {0: ("a", "f", '{"x":1}'), 1: ("b", "g", '{"x":1}')}


async def test_a_second_message_in_an_answer_is_an_error() -> None:
    with pytest.raises(MeshError, match="a second message"):
        await sent(ANTHROPIC, *SAID[:-2], *SAID)


@pytest.mark.parametrize("order", [(0, 1, 3, 4, 5, 2, 6), (0, 2, 1, 3, 4, 5, 6), (0, 1, 2, 4, 5, 3, 6)])
async def test_a_piece_of_a_call_outside_its_block_is_an_error(order: tuple[int, ...]) -> None:
    said = called()
    with pytest.raises(MeshError, match="without its start, or after its end"):
        await sent(ANTHROPIC, *events(*(said[at] for at in order)))


@pytest.mark.parametrize(
    ("at", "member", "value"),
    [(1, "type", 5), (1, "type", None), (2, "type", None), (2, "type", True), (1, "name", None), (1, "name", "")],
)
async def test_a_call_whose_block_cannot_be_read_is_an_error(at: int, member: str, value: Any) -> None:
    said = called()
    said[at] = {**said[at], "content_block": {**CALL, member: value}, "delta": {**INPUT[0], member: value}}
    with pytest.raises(MeshError, match="another shape"):
        await sent(ANTHROPIC, *events(*said))


async def test_an_event_of_no_type_is_an_error() -> None:
    said = called()
    with pytest.raises(MeshError, match="another shape"):
        await sent(ANTHROPIC, *events(*said[:2]), b'data: {"type": 5, "index": 0}\n\n', *events(*said[2:]))


@pytest.mark.parametrize("value", [5, True, [7], {"x": 7}])
async def test_details_of_another_type_cost_no_answer(value: Any) -> None:
    cited = {"type": "char_location", "cited_text": value, "document_title": value}
    blocks = (
        {"type": "redacted_thinking", "data": value},
        {"type": "thinking", "thinking": "", "signature": value, "deltas": [{"type": "signature_delta"}]},
        {"type": "text", "text": "", "citations": value, "deltas": [{"type": "text_delta", "text": "Hello"}]},
    )
    blocks[2]["deltas"] += [{"type": "citations_delta", "citation": each} for each in (cited, value)]
    said = message(*blocks, output_tokens=3)
    said[-2]["delta"]["stop_sequence"] = value
    heard = await sent(ANTHROPIC, *events(*said))
    assert heard.finished is not None
    assert (heard.text, heard.finished.finish_reason) == ("Hello", FINISH_REASON_STOP)
