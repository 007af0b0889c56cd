"""Recorded answers, changed in every way: no caller gets an incomplete answer as a whole one, and none loses one.

What a caller gets from the real adapters, over HTTP, is compared with what `tests/model/fuzz/oracle.py` allows.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, FINISH_REASON_TOOL_CALLS
from structlog.testing import capture_logs

from tests.model.fuzz.mutations import (
    BROKEN,
    ERRORS,
    VALUES,
    Case,
    changed,
    damaged,
    failed,
    moved,
    of_text,
    paths_of,
    repeated,
    singles,
    without,
)
from tests.model.fuzz.oracle import Said, Verdict, verdict
from tests.model.fuzz.recordings import RECORDINGS, Recording
from tests.model.fuzz.server import Delivery, Exchange, Heard, exchanging
from tests.size import Size, examples


@pytest.fixture(scope="module")
async def exchange() -> AsyncIterator[Exchange]:
    async with exchanging() as running:
        yield running


async def fault(exchange: Exchange, case: Case) -> str:
    """What is wrong with what a caller gets; empty if nothing is."""
    protocol, whole = case.recording.protocol, case.recording.whole
    carried, clean = case.delivery.carried(case.body)
    allowed = verdict(protocol, carried, clean=clean)
    try:
        # Without its log lines, of which there would be thousands.
        with capture_logs():
            heard = await exchange.hear(protocol, case.body, case.delivery, whole=whole)
    except Exception as error:  # whatever an adapter raises is a finding
        return f"raised {error!r}"
    return _fault(heard, allowed)


def _fault(heard: Heard, allowed: Verdict) -> str:
    if heard.finished is None:
        if heard.error is None:
            return "neither an answer nor an error"
        if allowed.answers and not allowed.may_fail:
            return f"lost: {heard.error}"
        if not allowed.sent.startswith(heard.text):
            return f"text that was not sent: {heard.text!r}, not {allowed.sent!r}"
        return ""
    if not allowed.answers:
        return f"finished, although it is incomplete: {heard}"
    found = [_difference(heard, said) for said in allowed.answers]
    return "" if "" in found else found[0]


def _difference(heard: Heard, said: Said) -> str:
    for what, got, wanted in (("text", heard.text, said.text), ("refusal", heard.refusal, said.refusal)):
        if got != wanted:
            return f"{what}: {got!r}, not {wanted!r}"
    if heard.thoughts != said.thoughts and not said.vague_thoughts:
        return f"thoughts: {heard.thoughts!r}, not {said.thoughts!r}"
    assert heard.finished is not None
    if heard.finished.finish_reason not in said.ends:
        return f"finish: {heard.finished.finish_reason}, not in {sorted(said.ends)}"
    if len(set(heard.call_ids)) != len(heard.calls) or "" in heard.call_ids:
        return f"ids of calls: {heard.call_ids}"
    calls = [(call.name, call.arguments) for call in said.calls]
    if said.vague_calls:
        named = {name for name, _ in calls if name}
        return "" if {name for name, _ in heard.calls} == named else f"calls: {heard.calls}, not of {calls}"
    same = len(calls) == len(heard.calls) and all(
        got[0] == each[0] and _same_arguments(got[1], each[1]) for got, each in zip(heard.calls, calls, strict=True)
    )
    return "" if same else f"calls: {heard.calls}, not {calls}"


def _same_arguments(got: str, sent: str) -> bool:
    """Whether arguments are the same text, or the same object; none at all are an empty object."""
    if got == (sent if sent.strip() else "{}"):
        return True
    try:
        return bool(json.loads(got) == json.loads(sent or "{}"))
    except ValueError:
        return False


# What the recordings say, read by a person: text, thoughts, names and arguments of calls, finish reason.
WEATHER, OSLO = ("weather", {"city": "Zürich"}), ("weather", {"city": "Oslo"})
CET: tuple[str, dict[str, str]] = ("time", {"zone": "CET"})
NOW: tuple[str, dict[str, str]] = ("time", {})
SAID: Mapping[str, tuple[str, str, list[tuple[str, Any]], int]] = {
    "anthropic-calls.sse": ("Ich sehe nach.", "", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
    "anthropic-text.sse": ("Grüße aus 🌍", "", [], FINISH_REASON_STOP),
    "anthropic-thoughts.json": ("Es ist Zürich.", "Erst denken.", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
    "anthropic-thoughts.sse": ("Es ist Zürich.", "Erst denken.", [WEATHER], FINISH_REASON_TOOL_CALLS),
    "deepseek-calls.sse": ("Moment.", "I need both.", [WEATHER, OSLO], FINISH_REASON_TOOL_CALLS),
    "deepseek-thoughts.json": ("Guten Tag 🌞", "The user grüßt.", [], FINISH_REASON_STOP),
    "deepseek-thoughts.sse": ("Guten Tag 🌞", "The user grüßt.", [], FINISH_REASON_STOP),
    "gemini-calls.json": ("", "", [WEATHER, CET], FINISH_REASON_TOOL_CALLS),
    # Gemini says `stop` after calls.
    "gemini-calls.sse": ("", "Erst suchen.", [WEATHER, CET], FINISH_REASON_STOP),
    "gemini-text.sse": ("Grüße 🌍", "", [], FINISH_REASON_STOP),
    "groq-thoughts.sse": ("Naïve Antwort", "Kurz.", [], FINISH_REASON_STOP),
    "mistral-calls.sse": ("", "", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
    "mistral-thoughts.json": ("Çà et là.", "Let me see.", [], FINISH_REASON_STOP),
    "mistral-thoughts.sse": ("Çà et là.", "Let me see.", [], FINISH_REASON_STOP),
    "ollama-calls.sse": ("", "Zwei Orte.", [WEATHER, OSLO], FINISH_REASON_TOOL_CALLS),
    "ollama-text.json": ("Héllo", "", [], FINISH_REASON_LENGTH),
    "ollama-text.sse": ("Héllo", "", [], FINISH_REASON_LENGTH),
    "openai-calls.json": ("", "", [WEATHER, CET], FINISH_REASON_TOOL_CALLS),
    "openai-calls.sse": ("", "", [WEATHER, CET], FINISH_REASON_TOOL_CALLS),
    "openai-text.json": ("Grüße aus 🌍", "", [], FINISH_REASON_STOP),
    "openai-text.sse": ("Grüße aus 🌍", "", [], FINISH_REASON_STOP),
    "openrouter-calls.sse": ("", "", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
    "openrouter-thoughts.json": ("Schöne Grüße", "Hm, klar.", [], FINISH_REASON_STOP),
    "openrouter-thoughts.sse": ("Schöne Grüße", "Hm, klar.", [], FINISH_REASON_STOP),
    "vllm-calls.json": ("Ich sehe nach.", "Also gut.", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
    "vllm-calls.sse": ("Ich sehe nach.", "Also gut.", [WEATHER, NOW], FINISH_REASON_TOOL_CALLS),
}
REFUSED, FAILED = "openai-refusal.sse", "openrouter-error.sse"


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_the_oracle_reads_a_recording_as_a_person_does(recording: Recording) -> None:
    body = b"".join(recording.frames)
    read = verdict(recording.protocol, body, clean=True)
    assert not read.may_fail
    if recording.name == FAILED:
        assert read.answers == []
        return
    (said,) = read.answers
    if recording.name == REFUSED:
        assert (said.refusal, said.text, list(said.ends)) == ("I cannot do that.", "", [FINISH_REASON_STOP])
        return
    calls = [(call.name, json.loads(call.arguments)) for call in said.calls]
    (end,) = said.ends
    assert (said.text, said.thoughts, calls, end) == SAID[recording.name]
    assert not (said.vague_calls or said.vague_thoughts)


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_one_change_neither_loses_an_answer_nor_makes_one_up(
    exchange: Exchange, recording: Recording, size: Size
) -> None:
    stride = size.of(37, full=1)
    found = []
    for case in list(singles(recording))[::stride]:
        if wrong := await fault(exchange, case):
            found.append(f"{'; '.join(case.done)}: {wrong}")
    assert not found, "\n".join(found)


@st.composite
def changes(draw: st.DrawFn) -> Case:
    """A recording that was changed several times, and is delivered in any way."""
    recording = draw(st.sampled_from(RECORDINGS))
    case = Case(recording, recording.frames)
    for _ in range(draw(st.integers(0, 3))):
        case = _changed(draw, case)
    body = case.body
    return case.delivered(
        Delivery(
            draw(st.sampled_from(("chunks", "length", "close"))),
            draw(st.none() | st.integers(0, len(body))),
            draw(st.sampled_from(("clean", "closed", "reset"))),
            draw(st.just(0) | st.integers(-len(body), 20)),
            tuple(draw(st.lists(st.integers(1, max(1, len(body))), max_size=6))),
        )
    )


def _changed(draw: st.DrawFn, case: Case) -> Case:
    """The case with one more change."""
    kind = draw(st.sampled_from(("lost", "repeated", "moved", "failed", "member", "text", "bytes")))
    count, size = len(case.frames), len(case.body)
    at = draw(st.integers(0, max(0, count - 1)))
    errors = ERRORS[case.recording.protocol]
    if kind == "text":
        return draw(st.sampled_from(list(of_text(case)))) if count else case
    if kind == "bytes" or case.recording.whole:
        instead = draw(st.sampled_from((*BROKEN[case.recording.protocol], b"")) | st.binary(max_size=3))
        return damaged(case, draw(st.integers(0, size)), instead, draw(st.integers(0, 3) | st.integers(0, size)))
    if kind == "failed" or not count:
        return failed(case, at, draw(st.sampled_from(errors)))
    if kind == "lost":
        return without(case, at)
    if kind == "member" and (paths := paths_of(case, at)):
        return changed(case, at, draw(st.sampled_from(paths)), draw(st.sampled_from(VALUES)))
    to = draw(st.integers(0, count - 1))
    return moved(case, at, to) if kind == "moved" else repeated(case, at, to)


@settings(max_examples=examples(1500))
@given(case=changes())
async def test_several_changes_neither_lose_an_answer_nor_make_one_up(exchange: Exchange, case: Case) -> None:
    assert await fault(exchange, case) == "", case.done
