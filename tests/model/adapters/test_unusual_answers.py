"""Answers that deviate from their protocol: none is lost, merged or wrongly taken for complete."""

import json
from typing import Any

import pytest
from soma.model.v1.message_pb2 import FINISH_REASON_STOP, FINISH_REASON_TOOL_CALLS

from services.mesh.call.errors import Code, MeshError
from services.model.testing.dialects import Behaviour, Dialect, Fault
from tests.model.adapters.answering import (
    ANTHROPIC,
    OPENAI,
    Heard,
    ask,
    data,
    delta,
    events,
    message,
    sent,
    text_block,
)

HELLO = delta(content="Hello")
STOP = delta("stop")
SAID = events(*message(text_block("Hello")))


def wrapped(error: Any) -> list[bytes]:
    return data(HELLO, {"choices": [], "error": error})


FAILURES = [
    (
        OPENAI,
        data(HELLO, {"error": {"code": 502, "message": "gone"}, **delta("error", content="")}),
        "PROVIDER_UNAVAILABLE",
    ),
    (OPENAI, wrapped({"code": 502, "message": "gone"}), "PROVIDER_UNAVAILABLE"),
    (OPENAI, wrapped({"code": "429", "message": "gone"}), "PROVIDER_RATE_LIMITED"),
    (OPENAI, wrapped("gone"), "PROVIDER_UNAVAILABLE"),
    (OPENAI, data(HELLO, delta("error")), "PROVIDER_UNAVAILABLE"),
    (OPENAI, data(HELLO, delta("abort")), "PROVIDER_UNAVAILABLE"),
    (OPENAI, data(HELLO, delta("insufficient_system_resource")), "PROVIDER_UNAVAILABLE"),
    (OPENAI, data(HELLO, STOP, {"error": {"message": "gone"}}), "PROVIDER_UNAVAILABLE"),
    (
        OPENAI,
        data(HELLO, {"choices": [{"delta": {}, "error": {"code": 429, "message": "gone"}, "finish_reason": "stop"}]}),
        "PROVIDER_RATE_LIMITED",
    ),
    (OPENAI, data(HELLO, {"object": "error", "message": "gone", "code": 400}), "PROVIDER_REFUSED_REQUEST"),
    (OPENAI, [*data(HELLO, end=b""), b"event: error\ndata: gone\n\n"], "PROVIDER_UNAVAILABLE"),
    (OPENAI, [*data(HELLO, end=b""), b'error: {"code": 503, "message": "gone"}\n\n'], "PROVIDER_UNAVAILABLE"),
    (OPENAI, [*data(HELLO, end=b""), b'{"error": {"message": "gone"}}\n'], "PROVIDER_UNAVAILABLE"),
    (
        ANTHROPIC,
        [*SAID[:3], *events({"type": "error", "error": {"type": "overloaded_error", "message": "gone"}})],
        "PROVIDER_UNAVAILABLE",
    ),
    (
        ANTHROPIC,
        [*SAID[:-1], *events({"type": "error", "error": {"type": "rate_limit_error"}})],
        "PROVIDER_RATE_LIMITED",
    ),
    (ANTHROPIC, [*SAID[:3], *events({"type": "error", "error": "gone"})], "PROVIDER_UNAVAILABLE"),
    (ANTHROPIC, [*SAID[:3], b'event: error\ndata: {"message": "gone"}\n\n'], "PROVIDER_UNAVAILABLE"),
    (ANTHROPIC, [*SAID[:3], b'data: {"error": {"message": "gone"}}\n\n', *SAID[3:]], "PROVIDER_UNAVAILABLE"),
    (ANTHROPIC, events(*message(text_block("Hello"), stop_reason="engine_failed")), "PROVIDER_UNAVAILABLE"),
]


@pytest.mark.parametrize(("dialect", "frames", "reason"), FAILURES)
async def test_a_failure_inside_a_stream_is_a_failure(dialect: Dialect, frames: list[bytes], reason: str) -> None:
    heard = Heard()
    with pytest.raises(MeshError) as raised:
        await ask(dialect, Behaviour(sent=frames), heard=heard)
    assert raised.value.reason == reason
    assert (heard.text, heard.finished) == ("Hello", None)


REFUSALS = [
    (OPENAI, {"error": {"message": "too long", "code": 400}}, Code.INVALID_ARGUMENT),
    (OPENAI, [{"error": {"message": "too long", "code": 429}}], Code.RESOURCE_EXHAUSTED),
    (OPENAI, {"detail": "too long"}, Code.UNAVAILABLE),
    (OPENAI, {"error": "too long", "choices": []}, Code.UNAVAILABLE),
    (
        ANTHROPIC,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}},
        Code.INVALID_ARGUMENT,
    ),
    (ANTHROPIC, {"detail": "too long"}, Code.UNAVAILABLE),
]


@pytest.mark.parametrize(("dialect", "body", "code"), REFUSALS)
async def test_an_error_with_status_200_is_an_error_with_its_message(dialect: Dialect, body: Any, code: Code) -> None:
    with pytest.raises(MeshError, match="too long") as raised:
        await sent(dialect, json.dumps(body).encode())
    assert raised.value.code == code


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    "body", [b'{"detail": "too long"}', b'{"detail": [{"msg": "too long"}]}', b'[{"error": {"message": "too long"}}]']
)
@pytest.mark.parametrize("status", [422, 529])
async def test_an_error_body_of_another_shape_is_read(dialect: Dialect, body: bytes, status: int) -> None:
    with pytest.raises(MeshError, match="too long"):
        await ask(dialect, Behaviour(sent=[body], status=status))


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
async def test_unreadable_data_is_described(dialect: Dialect) -> None:
    with pytest.raises(MeshError, match="too many people") as plain:
        await ask(dialect, Behaviour(sent=[b"too many people"], status=503))
    assert plain.value.reason == "PROVIDER_UNAVAILABLE"
    with pytest.raises(MeshError, match="an object with trouble, id"):
        await ask(dialect, Behaviour(sent=[b'{"trouble": 1, "id": 2}'], status=400))
    with pytest.raises(MeshError, match="7 bytes that are not JSON"):
        await sent(dialect, *(SAID[:3] if dialect is ANTHROPIC else data(HELLO, end=b"")), b"data: {broken\n\n")


ENDS = [
    (OPENAI, data(HELLO, STOP, end=b"")),
    (OPENAI, data(HELLO)),
    (OPENAI, data(HELLO, STOP, end=b"data:[DONE] \n\n")),
    (OPENAI, data(HELLO, STOP, end=b"data: [DONE]")),
    (OPENAI, data(HELLO, STOP, end=b'data: {"usage": {"prompt_to')),
    (OPENAI, data(HELLO, STOP, "what is this")),
    (ANTHROPIC, SAID),
    (ANTHROPIC, SAID[:-1]),
    (ANTHROPIC, [*SAID[:-1], SAID[-1].strip()]),
    (ANTHROPIC, [*SAID[:-1], b"data: {broken\n\n"]),
]


@pytest.mark.parametrize(("dialect", "frames"), ENDS)
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.RESET_END])
async def test_an_answer_with_a_single_end_mark_is_complete(
    dialect: Dialect, frames: list[bytes], fault: Fault
) -> None:
    if fault is Fault.RESET_END and not frames[-1].endswith(b"\n\n"):
        frames = [*frames[:-1], frames[-1] + b"\n\n"]
    heard = await ask(dialect, Behaviour(sent=frames, fault=fault))
    assert heard.text == "Hello"
    assert heard.finished is not None
    assert heard.finished.finish_reason == FINISH_REASON_STOP


@pytest.mark.parametrize(("dialect", "frames"), [(OPENAI, data(HELLO, end=b"")), (ANTHROPIC, SAID[:-2])])
@pytest.mark.parametrize("half", [b"", b'data: {"choi'])
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.RESET_END])
async def test_without_an_end_mark_an_answer_is_cut(
    dialect: Dialect, frames: list[bytes], half: bytes, fault: Fault
) -> None:
    with pytest.raises(MeshError) as raised:
        await ask(dialect, Behaviour(sent=[*frames, half] if half else frames, fault=fault))
    assert raised.value.reason == "PROVIDER_STREAM_CUT"


@pytest.mark.parametrize(("dialect", "frames"), [(OPENAI, data(HELLO, STOP)), (ANTHROPIC, SAID)])
async def test_a_connection_that_stays_open_after_the_end_is_not_waited_for(
    dialect: Dialect, frames: list[bytes]
) -> None:
    heard = await ask(dialect, Behaviour(sent=frames, fault=Fault.HANG_END))
    assert heard.finished is not None


COUNTS: list[dict[str, Any] | list[int] | str] = [
    {"prompt_tokens": None, "completion_tokens": None},
    {"prompt_tokens": -1, "completion_tokens": -5, "total_tokens": -6},
    {"prompt_tokens": 2**40, "completion_tokens": "many"},
    {"prompt_tokens_details": 3, "completion_tokens_details": []},
    {"input_tokens": None, "output_tokens": -1},
    [1, 2],
    "eleven",
]


@pytest.mark.parametrize("usage", COUNTS)
async def test_invalid_counts_do_not_fail_an_answer(usage: Any) -> None:
    openai = await sent(OPENAI, *data(HELLO, {**STOP, "usage": usage}))
    start = {"type": "message_start", "message": {"usage": usage}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    claude = await sent(ANTHROPIC, *events(start), *SAID[1:-2], *events(end, {"type": "message_stop"}))
    for heard in (openai, claude):
        assert heard.finished is not None
        assert heard.text == "Hello"
        assert min(heard.finished.usage.prompt_tokens, heard.finished.usage.completion_tokens) == 0


@pytest.mark.parametrize(
    "chunks",
    [
        [HELLO, {**STOP, "usage": {"prompt_tokens": 11, "completion_tokens": 3}}],
        [
            {**HELLO, "usage": {"prompt_tokens": 11, "completion_tokens": 1}},
            STOP,
            {"choices": [], "usage": {"total_tokens": 14, "prompt_tokens": 11, "completion_tokens": 3}},
        ],
        [
            HELLO,
            {**STOP, "usage": {"prompt_tokens": 11, "completion_tokens": 3}},
            {"choices": [], "usage": {"prompt_tokens": None}},
        ],
        [HELLO, {"choices": [{**STOP["choices"][0], "usage": {"prompt_tokens": 11, "completion_tokens": 3}}]}],
        [HELLO, {**STOP, "usage": {"prompt_tokens": 11, "total_tokens": 14}}],
    ],
)
async def test_usage_is_found_in_any_place_and_any_number_of_times(chunks: list[dict[str, Any]]) -> None:
    heard = await sent(OPENAI, *data(*chunks))
    assert heard.finished is not None
    usage = heard.finished.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 3, 14)


@pytest.mark.parametrize("logprobs", [{"content": [{"token": "a", "logprob": None}]}, {"content": [3]}, 0.5, [1]])
async def test_invalid_log_probabilities_do_not_fail_an_answer(logprobs: Any) -> None:
    chunk = {"choices": [{"delta": {"content": "Hello"}, "logprobs": logprobs}]}
    assert (await sent(OPENAI, *data(chunk, STOP))).text == "Hello"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hello"}],
        ["Hel", "lo"],
        {"type": "text", "text": "Hello"},
        [{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "Hello"}],
    ],
)
async def test_content_in_parts_is_text(content: Any) -> None:
    assert (await sent(OPENAI, *data(delta(content=content), STOP))).text == "Hello"


async def test_a_character_split_over_two_pieces_is_joined() -> None:
    first, second = b'"\\ud83c', b'\\udf0d"'
    chunk = b'data: {"choices": [{"delta": {"content": %s}}]}\n\n'
    heard = await sent(OPENAI, chunk % (first + b'"'), chunk % (b'"' + second), *data(STOP))
    assert heard.text == "🌍"
    block = b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": %s}}\n\n'
    heard = await sent(ANTHROPIC, *SAID[:2], block % (first + b'"'), block % (b'"' + second), *SAID[3:])
    assert heard.text == "🌍"
    entry = b'{"index": 0, "id": "a", "function": {"name": "f", "arguments": %s}}'
    call = b'data: {"choices": [{"delta": {"tool_calls": [' + entry + b"]}}]}\n\n"
    heard = await sent(OPENAI, call % b'"{\\"x\\": \\"\\ud83c"', call % b'"\\udf0d\\"}"', *data(delta("tool_calls")))
    assert heard.asked == [("f", '{"x": "🌍"}')]


@pytest.mark.parametrize("end", [data(STOP), data(delta(content="!"), STOP)])
async def test_a_single_half_of_a_character_is_replaced(end: list[bytes]) -> None:
    heard = await sent(OPENAI, b'data: {"choices": [{"delta": {"content": "Hi \\ud83c"}}]}\n\n', *end)
    assert heard.text.replace("!", "") == "Hi \ufffd"


WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI, {**WHOLE, "usage": {"prompt_tokens": 11, "completion_tokens": 3}}),
        (ANTHROPIC, {**MESSAGE, "usage": {"input_tokens": 11, "output_tokens": 3}}),
    ],
)
@pytest.mark.parametrize("before", ["", "\n \r\n"])
async def test_an_answer_in_one_piece_is_read(dialect: Dialect, body: Any, before: str) -> None:
    whole = (before + json.dumps(body, indent=1)).encode()
    heard = await sent(dialect, *(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert heard.finished is not None
    assert (heard.text, heard.finished.usage.prompt_tokens, heard.finished.usage.completion_tokens) == ("Hello", 11, 3)
    with pytest.raises(MeshError):
        await sent(dialect, whole[:-9])


async def test_tool_calls_in_one_piece_are_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    heard = await sent(OPENAI, json.dumps({"choices": [choice]}).encode())
    assert heard.calls == {0: ("c1", "f", "{}")}
    block = {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}
    heard = await sent(ANTHROPIC, json.dumps({**MESSAGE, "content": [block], "stop_reason": "tool_use"}).encode())
    assert heard.calls == {0: ("c1", "f", '{"x":1}')}


def call(index: int | str | None = "none", name: str | None = None, arguments: Any = "", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"function": function, **({} if index == "none" else {"index": index}), **more}


TWO = [("f", '{"x":1}'), ("g", '{"x":2}')]
SAME = [("f", '{"x":1}'), ("f", '{"x":2}')]
CALLS: list[tuple[list[list[dict[str, Any]]], list[tuple[str, str]]]] = [
    ([[call(0, "f", '{"x":1}', id="a")], [call(0, "g", '{"x":2}', id="b")]], TWO),
    ([[call(0, "f", '{"x":1}', id="a")], [call(0, "f", '{"x":2}', id="b")]], SAME),
    ([[call(None, "f", '{"x":1}', id="a"), call(None, "g", '{"x":2}', id="b")]], TWO),
    ([[call("none", "f", '{"x":1}', id="a")], [call("none", "g", '{"x":2}', id="b")]], TWO),
    ([[call("none", "f", '{"x":1}'), call("none", "f", '{"x":2}')]], SAME),
    ([[call(0, "f", '{"x":1}')], [call(0, "f", '{"x":2}')]], SAME),
    ([[call(0, "f", '{"x":1}', id="a")], [call(1, "g", '{"x":2}', id="a")]], TWO),
    ([[call(0, "f", '{"x"', id="a")], [call(0, "f", ":1}", id="a")], [call(1, "g", '{"x":2}', id="b")]], TWO),
    ([[call(0, "f", id="a"), call(1, "g", id="b")], [call(0, None, '{"x":1}'), call(1, None, '{"x":2}')]], TWO),
    ([[call("none", "f", '{"x"', id="a")], [call("none", None, ":1}")], [call("none", "g", '{"x":2}', id="b")]], TWO),
    ([[call(0, "f", "")], [call(0, None, '{"x":1}')], [call(1, "g", {"x": 2})]], TWO),
    ([[call(0, None, "", id="a")], [call(0, "f", '{"x":1}')], [call(1, "g", '{"x":2}', id="b")]], TWO),
    ([[call(0, "f", '{"x":1}', id="a")], [call(0, "f", '{"x":1}', id="a")], [call(1, "g", '{"x":2}', id="b")]], TWO),
    ([[call(3, "f", '{"x":1}', id="a"), call(7, "g", '{"x":2}', id="b" * 300)]], TWO),
    ([[call(0, "f", "", id="a"), call(1, "g", None, id="")]], [("f", "{}"), ("g", "{}")]),
]


@pytest.mark.parametrize(("deltas", "expected"), CALLS)
async def test_pieces_of_calls_are_assigned_to_the_right_call(
    deltas: list[list[dict[str, Any]]], expected: list[tuple[str, str]]
) -> None:
    heard = await sent(OPENAI, *data(*(delta(tool_calls=calls) for calls in deltas), delta("tool_calls")))
    assert heard.asked == expected
    assert all(0 < len(call_id) <= 256 for call_id, _, _ in heard.calls.values())
    assert heard.finished is not None
    assert heard.finished.finish_reason == FINISH_REASON_TOOL_CALLS


async def test_the_older_form_of_a_call_is_read() -> None:
    pieces = ({"name": "f", "arguments": '{"x"'}, {"arguments": ":1}"})
    heard = await sent(OPENAI, *data(*(delta(function_call=piece) for piece in pieces), delta("function_call")))
    assert heard.asked == [("f", '{"x":1}')]


async def test_a_call_without_a_name_is_an_error() -> None:
    with pytest.raises(MeshError, match="a tool call has no name"):
        await sent(OPENAI, *data(delta(tool_calls=[call(0, None, "{}", id="a")]), delta("tool_calls")))


async def test_claudes_calls_keep_their_input_in_every_form() -> None:
    start = {"type": "tool_use", "name": "f", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"x"', ":1}")]
    blocks = (
        {**start, "id": "a", "deltas": pieces},
        {**start, "id": "a", "name": "g", "input": {"x": 2}},
        {"type": "server_tool_use", "id": "s", "name": "web", "input": {}, "deltas": pieces},
        {**start, "id": None, "name": "h"},
    )
    heard = await sent(ANTHROPIC, *events(*message(*blocks, stop_reason="tool_use")))
    assert heard.asked == [*TWO, ("h", "{}")]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("dialect", "frames"), [(OPENAI, data(HELLO, STOP)), (ANTHROPIC, SAID)])
async def test_comments_and_other_line_ends_are_ignored(dialect: Dialect, frames: list[bytes], ending: bytes) -> None:
    noisy = b": OPENROUTER PROCESSING\n\n" + b": ping\n\n".join(frames)
    assert (await sent(dialect, noisy.replace(b"\n", ending))).text == "Hello"
