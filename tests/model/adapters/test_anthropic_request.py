"""Every form of a conversation, and every option, reaches Anthropic in a request that its API accepts."""

import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Media,
    Message,
    Part,
    Reasoning,
    Source,
    Text,
    ToolCall,
)
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import (
    GenerationOptions,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)

from services.mesh.call.errors import InvalidArgument, MeshError
from services.model.adapters.anthropic_request import betas_of, messages_body
from services.model.adapters.anthropic_thinking import abilities_of, excluded
from services.model.media.contents import Content, Contents, key_of
from services.model.parameters import supported_request
from tests.model import vendors
from tests.model.adapters.anthropic_rules import Rules

BINDING = "thinking-binding-controls-2026-08-01"
NEWEST = "claude-opus-5-5"
ADAPTIVE, BOTH, BUDGET, OLD = (
    "claude-opus-4-8",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-3-5-haiku-latest",
)
CACHED = {"type": "ephemeral"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FORCED = ToolChoice(mode=ToolChoice.MODE_REQUIRED)
THINKING = '{"thinking": {"type": "enabled", "budget_tokens": 2000}}'
HIGH = ReasoningOptions(effort="high")


def user(text: str = "Hi", *parts: Part, **more: Any) -> Message:
    return Message(role=ROLE_USER, content=text, parts=parts, **more)


def said(text: str = "", *parts: Part, calls: tuple[str, ...] = (), **more: Any) -> Message:
    tool_calls = [ToolCall(call_id=call_id, name="f", arguments="{}") for call_id in calls]
    return Message(role=ROLE_ASSISTANT, content=text, parts=parts, tool_calls=tool_calls, **more)


def result(call_id: str, text: str = "42", *parts: Part, **more: Any) -> Message:
    return Message(role=ROLE_TOOL, tool_call_id=call_id, content=text, parts=parts, **more)


def thought(text: str = "Hm.", signature: str = "s", provider: str = "anthropic", redacted: str = "") -> Part:
    return Part(reasoning=Reasoning(text=text, signature=signature, provider=provider, redacted=redacted))


def text(said: str, **more: Any) -> Part:
    return Part(text=Text(text=said), **more)


def body_of(
    *messages: Message, model: str = BOTH, contents: Contents | None = None, rules: Rules | None = None, **options: Any
) -> dict[str, Any]:
    """The body for a conversation; checks that the API accepts it. The thought `Hm.` is signed with `s`."""
    request = GenerateRequest(messages=messages, options=GenerationOptions(**options))
    body = messages_body(request, model, "anthropic", contents, abilities_of(model, {}))
    if rules is None:
        rules = Rules()
        rules.signed = {"s": "Hm.", "sealed": ""}
    assert rules.refusal(body) == ""
    return body


def turns(*messages: Message, **options: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(turn["role"], turn["content"]) for turn in body_of(*messages, **options)["messages"]]


def block(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def read(*media: Media, **texts: str) -> Contents:
    """The media of a request, as they are read: each has its declared type."""
    return Contents({key_of(each): Content(each.data, each.media_type) for each in media})


def test_pictures_and_documents_are_blocks_with_their_bytes_url_text_or_file() -> None:
    picture = Media(data=b64decode(PNG), media_type="image/png", detail="high")
    pdf = Media(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
    note = Media(data="\ufeffGrüße".encode(), media_type="text/markdown", name="note.md")
    drawn = Media(data=b64decode(PNG), media_type="image/png", name="b.png")
    linked = Media(url="https://x.example/a.png")
    paper = Media(url="https://x.example/a.pdf")
    parts = [Part(image=picture), Part(file=pdf), Part(file=note), Part(file=drawn), Part(image=linked)]
    parts += [Part(file=paper), Part(file=Media(file_id="file_1", name="c.pdf")), Part(image=Media(file_id="file_2"))]
    ((_, content),) = turns(user("Look", *parts), contents=read(picture, pdf, note, drawn))
    png = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert content == [
        block("Look"),
        {"type": "image", "source": png},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjc="},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
            "title": "note.md",
        },
        {"type": "image", "source": png},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}, "title": "c.pdf"},
        {"type": "image", "source": {"type": "file", "file_id": "file_2"}},
    ]


@pytest.mark.parametrize("place", ["image", "file"])
def test_the_id_of_a_file_asks_for_the_trial_feature_that_reads_it(place: str) -> None:
    part = Part(**{place: Media(file_id="file_1")})  # type: ignore[arg-type]
    request = GenerateRequest(messages=[user("Look", part)])
    assert betas_of(request, {}) == ["files-api-2025-04-14"]
    request.options.provider_params = '{"betas": ["mcp-client-2025-11-20", "files-api-2025-04-14"]}'
    assert betas_of(request, {}) == ["mcp-client-2025-11-20", "files-api-2025-04-14"]


@pytest.mark.parametrize("betas", ['"a"', "[1]", '["a b"]', '["a\\r\\nx-api-key: b"]', "{}"])
def test_betas_that_are_no_names_are_refused(betas: str) -> None:
    request = GenerateRequest(options=GenerationOptions(provider_params=f'{{"betas": {betas}}}'))
    with pytest.raises(InvalidArgument, match=r"provider_params\.betas is not a list of names"):
        betas_of(request, {})


def test_sound_and_a_document_that_is_no_text_are_refused() -> None:
    sound = Media(data=b"ID3", media_type="audio/mpeg")
    with pytest.raises(InvalidArgument, match="does not read sounds") as raised:
        turns(user("Listen", Part(audio=sound)), contents=read(sound))
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"
    book = Media(data=b"PK\x03\x04\xff", media_type="application/vnd.oasis.opendocument.text", name="a.odt")
    with pytest.raises(InvalidArgument, match=r"a\.odt") as raised:
        turns(user("Read", Part(file=book)), contents=read(book))
    assert raised.value.reason == "MEDIA_INVALID"


def test_a_tool_result_has_its_pictures() -> None:
    picture = Media(data=b64decode(PNG), media_type="image/png")
    sent = turns(
        user(),
        said(calls=("a", "b", "c", "d")),
        result("a", "Taken.", Part(image=picture), text(" ")),
        result("b", "", Part(image=picture)),
        result("c", "", text("snow")),
        result("d", ""),
        contents=read(picture),
    )
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert [each["content"] for each in sent[-1][1]] == [[block("Taken."), image], [image], "snow", ""]


def test_cache_control_stands_at_parts_messages_results_tools_and_system_texts() -> None:
    mark = json.dumps({"cache_control": CACHED, "colour": "red"})
    body = body_of(
        Message(role=ROLE_SYSTEM, content="Be brief.", provider_params=mark),
        Message(role=ROLE_SYSTEM, content="Be kind.", parts=[text("Be true."), text(" ")]),
        user("Hi", text("one", provider_params=mark), text("two")),
        said("", thought(), text("Yes."), calls=("a",), provider_params=mark),
        result("a", provider_params='{"cache_control": {"type": "ephemeral", "ttl": "1h"}, "is_error": true}'),
        tools=[Tool(name="f", provider_params=mark), Tool(name="g", provider_params='{"defer_loading": true}')],
        provider_params=json.dumps({"cache_control": CACHED}),
    )
    assert body["system"] == [{**block("Be brief."), "cache_control": CACHED}, block("Be kind."), block("Be true.")]
    asked, answered, found = (turn["content"] for turn in body["messages"])
    assert asked == [block("Hi"), {**block("one"), "cache_control": CACHED}, block("two")]
    assert [each.get("cache_control") for each in answered] == [None, None, CACHED]
    assert found[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert found[0]["is_error"] is True
    assert body["tools"] == [
        {"name": "f", "input_schema": {"type": "object"}, "cache_control": CACHED},
        {"name": "g", "input_schema": {"type": "object"}, "defer_loading": True},
    ]
    assert body["cache_control"] == CACHED


def test_system_texts_are_one_text_unless_one_has_members_and_hold_what_is_remembered() -> None:
    plain = [
        Message(role=ROLE_SYSTEM, content="Be brief."),
        Message(role=ROLE_SYSTEM, parts=[text("Be kind.")]),
        user(),
    ]
    assert body_of(*plain)["system"] == "Be brief.\n\nBe kind."
    request = GenerateRequest(messages=plain, sources=[Source(key="pets/dog", text="Biscuit")])
    request.messages[0].provider_params = json.dumps({"cache_control": CACHED})
    first, second, remembered = messages_body(request, BOTH)["system"]
    assert (first["text"], second) == ("Be brief.", block("Be kind."))
    assert "[pets/dog] Biscuit" in remembered["text"]


def test_documents_can_be_cited() -> None:
    pdf = Media(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
    extra = '{"citations": {"enabled": true}, "context": "From 2020.", "title": "Report"}'
    ((_, content),) = turns(user("Read", Part(file=pdf, provider_params=extra)), contents=read(pdf))
    assert {**content[1], "source": ...} == {
        "type": "document",
        "source": ...,
        "title": "Report",
        "context": "From 2020.",
        "citations": {"enabled": True},
    }


def test_a_tool_that_runs_on_the_server_is_sent_as_it_is() -> None:
    search = Tool(name="web_search", provider_params='{"type": "web_search_20250305", "max_uses": 3}')
    custom = Tool(name="f", parameters='{"properties": {}}', provider_params='{"type": "custom", "max_uses": 3}')
    assert body_of(user(), tools=[search, custom])["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "custom", "name": "f", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_the_members_of_provider_params_are_sent_and_never_over_those_of_the_mesh() -> None:
    given = {
        "metadata": {"user_id": "other", "team": "red"},
        "service_tier": "standard_only",
        "output_config": {"effort": "low", "task_budget": 3},
        "betas": ["a-1"],
    }
    schema = ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema='{"type": "object"}')
    body = body_of(
        user(),
        user="u1",
        response_format=schema,
        reasoning=HIGH,
        provider_params=json.dumps(given),
        sampling=Sampling(),
    )
    assert body["metadata"] == {"user_id": "u1", "team": "red"}
    assert body["service_tier"] == "standard_only"
    assert body["output_config"] == {
        "effort": "high",
        "task_budget": 3,
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }
    assert "betas" not in body


def test_a_member_that_the_api_does_not_have_is_refused_by_name_or_dropped() -> None:
    chat = vendors.ANTHROPIC.chat
    request = GenerateRequest(options=GenerationOptions(provider_params='{"min_p": 0.1, "service_tier": "auto"}'))
    with pytest.raises(InvalidArgument, match=r"provider_params\.min_p"):
        supported_request(request, chat.lacks, "anthropic", chat.takes)
    request.options.drop_params = True
    supported, dropped = supported_request(request, chat.lacks, "anthropic", chat.takes)
    assert (supported.options.provider_params, dropped) == ('{"service_tier":"auto"}', ["provider_params.min_p"])


SHOWN = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort", "limit"),
    [
        (ADAPTIVE, {"effort": "xhigh"}, SHOWN, "xhigh", 4096),
        (ADAPTIVE, {"effort": "minimal"}, SHOWN, "low", 4096),
        (ADAPTIVE, {"effort": "none"}, {"type": "disabled"}, None, 4096),
        (BOTH, {"effort": "high"}, SHOWN, "high", 4096),
        (BOTH, {"budget_tokens": 5000}, {"type": "enabled", "budget_tokens": 5000}, None, 9096),
        (BOTH, {"effort": "low", "budget_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}, "low", 4096),
        (BUDGET, {"effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None, 4096),
        (BUDGET, {"effort": "max"}, {"type": "enabled", "budget_tokens": 32000}, None, 36096),
        (BUDGET, {"effort": "none"}, {"type": "disabled"}, None, 4096),
        (OLD, {"effort": "none"}, None, None, 4096),
        ("another-model", {"effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None, 4096),
        ("claude-later-9", {"effort": "low"}, SHOWN, "low", 4096),
        ("anthropic.claude-opus-4-7", {"effort": "low"}, SHOWN, "low", 4096),
        (NEWEST, {"effort": "max"}, SHOWN, "max", 4096),
        ("claude-sonnet-5-5", {"effort": "none"}, {"type": "between_tools"}, None, 4096),
        ("claude-haiku-5-5", {"effort": "none"}, {"type": "disabled"}, None, 4096),
        ("claude-sonnet-5", {"effort": "none"}, {"type": "disabled"}, None, 4096),
    ],
)
def test_how_much_a_model_thinks_is_said_as_it_understands_it(
    model: str, reasoning: dict[str, Any], thinking: Any, effort: str | None, limit: int
) -> None:
    body = body_of(user(), model=model, reasoning=ReasoningOptions(**reasoning))
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == limit


def test_the_list_of_models_says_what_a_model_takes() -> None:
    def entry(adaptive: bool, enabled: bool, **more: Any) -> dict[str, Any]:
        types = {"adaptive": {"supported": adaptive}, "enabled": {"supported": enabled}}
        return {"capabilities": {"thinking": {"supported": adaptive or enabled, "types": types}}, **more}

    later = abilities_of("claude-sonnet-4-5", entry(True, False, max_tokens=64_000))
    assert (later.adaptive, later.budget, later.samples, later.most_tokens) == (True, False, False, 64_000)
    none = abilities_of(ADAPTIVE, entry(False, False))
    assert (none.adaptive, none.budget) == (False, False)
    request = GenerateRequest(messages=[user()])
    assert messages_body(request, "m", abilities=later)["max_tokens"] == 32_000
    assert messages_body(request, "m", abilities=abilities_of(BOTH, {"max_tokens": 8192}))["max_tokens"] == 8192


@pytest.mark.parametrize(("max_tokens", "budget", "limit"), [(100, 2000, 2100), (2000, 2000, 4000), (3000, 2000, 3000)])
def test_the_limit_of_an_answer_leaves_room_for_its_text(max_tokens: int, budget: int, limit: int) -> None:
    sampling, reasoning = Sampling(max_tokens=max_tokens), ReasoningOptions(budget_tokens=budget)
    assert body_of(user(), sampling=sampling, reasoning=reasoning)["max_tokens"] == limit
    given = json.dumps({"thinking": {"type": "enabled", "budget_tokens": budget}})
    assert body_of(user(), sampling=sampling, provider_params=given)["max_tokens"] == limit


WARM = Sampling(temperature=0.5)


@pytest.mark.parametrize(
    ("model", "options", "fields"),
    [
        (
            BOTH,
            {"reasoning": HIGH, "sampling": Sampling(temperature=0.5, top_p=0.5, top_k=3)},
            "temperature top_k top_p",
        ),
        (BOTH, {"reasoning": HIGH, "sampling": Sampling(temperature=1, top_p=0.97)}, ""),
        (BUDGET, {"provider_params": THINKING, "sampling": WARM}, "temperature"),
        (BUDGET, {"provider_params": '{"thinking": {"type": "disabled"}}', "sampling": WARM}, ""),
        (BUDGET, {"reasoning": ReasoningOptions(effort="none"), "sampling": WARM}, ""),
        (BUDGET, {"sampling": Sampling(temperature=0.5, top_p=0.5, top_k=3)}, "top_p"),
        (BUDGET, {"sampling": Sampling(temperature=1, top_p=0.5)}, ""),
        (OLD, {"sampling": Sampling(temperature=0.5, top_p=0.5, top_k=3)}, ""),
        (ADAPTIVE, {"sampling": Sampling(temperature=0.5, top_p=0.5, top_k=3)}, "temperature top_k top_p"),
        (ADAPTIVE, {"sampling": Sampling(temperature=1, top_p=1)}, ""),
        (ADAPTIVE, {"reasoning": ReasoningOptions(budget_tokens=2000)}, "budget_tokens"),
        (OLD, {"reasoning": ReasoningOptions(effort="low", budget_tokens=2000)}, "budget_tokens effort"),
        (BUDGET, {"reasoning": HIGH, "tool_choice": FORCED, "tools": [Tool(name="f")]}, "effort"),
        (
            BOTH,
            {"reasoning": ReasoningOptions(budget_tokens=2000), "tool_choice": FORCED, "tools": [Tool(name="f")]},
            "budget_tokens",
        ),
        (BOTH, {"provider_params": THINKING, "tool_choice": FORCED, "tools": [Tool(name="f")]}, "thinking"),
        (NEWEST, {"reasoning": HIGH, "tool_choice": FORCED, "tools": [Tool(name="f")]}, "tool_choice"),
        (NEWEST, {"reasoning": ReasoningOptions(effort="none")}, "effort"),
        ("claude-fable-5", {"reasoning": ReasoningOptions(effort="none")}, "effort"),
        (
            BOTH,
            {"reasoning": ReasoningOptions(effort="none"), "tool_choice": FORCED, "tools": [Tool(name="f")]},
            "",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_name_or_dropped(
    model: str, options: dict[str, Any], fields: str
) -> None:
    request = GenerateRequest(messages=[user()], options=GenerationOptions(**options))
    abilities = abilities_of(model, {})
    lacks = excluded(request.options, abilities)
    if not fields:
        assert supported_request(request, lacks, "anthropic") == (request, [])
    else:
        with pytest.raises(InvalidArgument) as raised:
            supported_request(request, lacks, "anthropic")
        assert raised.value.reason == "PARAMETER_NOT_SUPPORTED"
        names = [violation.field.rpartition(".")[2] for violation in raised.value.facts.violations]
        assert sorted(names) == fields.split()
    request.options.drop_params = True
    supported, dropped = supported_request(request, lacks, "anthropic")
    assert len(dropped) == len(fields.split())
    assert Rules().refusal(messages_body(supported, model, abilities=abilities)) == ""


def test_two_orders_about_thinking_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"provider_params\.thinking and `reasoning`"):
        body_of(user(), reasoning=HIGH, provider_params=THINKING)
    adaptive = body_of(
        user(), reasoning=HIGH, provider_params='{"thinking": {"type": "adaptive", "display": "omitted"}}'
    )
    assert adaptive["thinking"] == {"type": "adaptive", "display": "omitted"}
    assert adaptive["output_config"] == {"effort": "high"}


def test_thoughts_go_back_before_the_text_and_the_calls() -> None:
    sent = turns(
        user(),
        said("", text("Let me"), thought(), thought("", "", redacted="sealed"), text(" see."), calls=("a",)),
        result("a"),
    )
    assert [each["type"] for each in sent[1][1]] == ["thinking", "redacted_thinking", "text", "text", "tool_use"]
    assert sent[1][1][:2] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "sealed"},
    ]


@pytest.mark.parametrize(
    "foreign",
    [thought(provider="openai"), thought(signature=""), thought("", "", "openai", "sealed")],
)
def test_thoughts_of_others_and_thoughts_without_a_signature_are_left_out(foreign: Part) -> None:
    sent = turns(user(), said("", foreign, text("Yes.")), user("Sure?"))
    assert sent[1] == ("assistant", [block("Yes.")])


def test_a_thought_of_a_clients_own_history_goes_back() -> None:
    sent = turns(user(), said("Yes.", thought(provider="")), user("Sure?"))
    assert [each["type"] for each in sent[1][1]] == ["thinking", "text"]


def test_a_thought_without_text_and_calls_is_no_message() -> None:
    assert turns(user(), said("", thought()), user("Well?")) == [("user", [block("Hi"), block("Well?")])]


@pytest.mark.parametrize(
    "options", [{"reasoning": ReasoningOptions(budget_tokens=2000)}, {"provider_params": THINKING}]
)
def test_calls_that_began_without_a_thought_are_continued_without_thinking(options: dict[str, Any]) -> None:
    loop = [user(), said("", thought(provider="openai"), calls=("a",)), result("a")]
    assert "thinking" not in body_of(*loop, **options)
    assert body_of(*loop, reasoning=HIGH)["thinking"] == SHOWN
    assert "thinking" in body_of(*loop, said("Yes."), user("And?"), **options)
    mine = [user(), said("", thought(), calls=("a",)), result("a")]
    assert body_of(*mine, **options)["thinking"]["budget_tokens"] == 2000


def plain(*said: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Turns of texts, such as `user: a, b`."""
    found = []
    for turn in said:
        role, _, texts = turn.partition(": ")
        found.append((role, [block(each) for each in texts.split(", ")]))
    return found


def test_thoughts_go_back_to_their_places_among_texts_and_calls() -> None:
    def at(characters: int, calls: int) -> Part:
        details = json.dumps({"after_characters": characters, "after_calls": calls})
        return Part(reasoning=Reasoning(text="Hm.", signature="s", provider="anthropic", details=details))

    message = said("", thought(), at(2, 0), at(2, 1), text("a "), text(" b cd"), calls=("a", "b"))
    ((_, _), (_, content), _) = turns(user(), message, result("a"), result("b"))
    shape = [each.get("text") or each.get("id") or "thought" for each in content]
    assert shape == ["thought", "a ", "thought", "a", "thought", " b cd", "b"]
    message.parts[1].reasoning.details = '{"after_characters": 4, "after_calls": 9}'
    message.parts[2].reasoning.details = '{"after_characters": "x", "after_calls": -1}'
    ((_, _), (_, content), _) = turns(user(), message, result("a"), result("b"))
    shape = [each.get("text") or each.get("id") or "thought" for each in content]
    assert shape == ["thought", "a ", " b", "a", "b", "thought", "thought", " cd"]
    late = said("Yes.", at(4, 0))
    assert turns(user(), late, user("Sure?"))[1] == ("assistant", [block("Yes.")])


def test_a_model_that_binds_its_thoughts_leaves_out_those_that_do_not_fit() -> None:
    history = [user(), said("Yes.", thought()), user("Sure?")]
    drop = {"prefix_mismatch_behavior": "drop_block"}

    def sent(model: str, *messages: Message, **options: Any) -> tuple[dict[str, Any], list[str]]:
        request = GenerateRequest(messages=messages, options=GenerationOptions(**options))
        body = body_of(*messages, model=model, **options)
        return body, betas_of(request, body)

    body, betas = sent(NEWEST, *history)
    assert (body["thinking"], betas) == ({"type": "adaptive", "block_binding": drop}, [BINDING])
    body, betas = sent(NEWEST, *history, reasoning=HIGH)
    assert (body["thinking"], betas) == ({**SHOWN, "block_binding": drop}, [BINDING])
    own = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "error"}}
    body, betas = sent(NEWEST, *history, provider_params=json.dumps({"thinking": own, "betas": [BINDING, "a-1"]}))
    assert (body["thinking"], betas) == (own, [BINDING, "a-1"])
    body, betas = sent("claude-sonnet-5-5", *history, reasoning=ReasoningOptions(effort="none"))
    assert (body["thinking"], betas) == ({"type": "between_tools"}, [])
    assert body["messages"][1]["content"] == [block("Yes.")]
    assert "thinking" not in sent(NEWEST, user())[0]
    assert "thinking" not in sent(ADAPTIVE, *history)[0]


HISTORIES = {
    "begins with the assistant": ([said("Welcome"), user()], plain("user: Begin.", "assistant: Welcome", "user: Hi")),
    "only instructions": ([Message(role=ROLE_SYSTEM, content="Sing.")], plain("user: Begin.")),
    "consecutive roles": (
        [user("a"), user("b"), said("c"), said("d"), user("e")],
        plain("user: a, b", "assistant: c, d", "user: e"),
    ),
    "blank texts": ([user("a"), said(" \n"), user("", text("\t")), user("b")], plain("user: a, b")),
    "ends with a blank message": (
        [user("a"), said("b"), user(" ")],
        plain("user: a", "assistant: b", "user: (no text)"),
    ),
    "only a blank message": ([user("")], plain("user: Begin.")),
    "ends with the assistant": ([user("a"), said("It is: \n")], plain("user: a", "assistant: It is:")),
    "ends with a blank assistant": ([user("a"), said("b "), said(" ")], plain("user: a", "assistant: b")),
}


@pytest.mark.parametrize(("history", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_a_history_of_any_form_is_accepted(
    history: list[Message], expected: list[tuple[str, list[dict[str, Any]]]]
) -> None:
    assert turns(*history) == expected


def test_results_without_calls_become_text_and_calls_without_results_get_one() -> None:
    sent = turns(user(), result("x", "lost"), said("", calls=("a", "b")), result("b", "2"), user("Well?"))
    assert sent[0][1][1]["text"] == "The result of the earlier tool call x:\nlost"
    results = {each["tool_use_id"]: each["content"] for each in sent[2][1] if each["type"] == "tool_result"}
    assert results == {"a": "There is no result of this call.", "b": "2"}
    assert sent[2][1][-1] == block("Well?")


def test_calls_of_one_message_with_the_same_id_keep_their_own_results() -> None:
    sent = turns(user(), said("", calls=("a", "a", "")), result("a", "1"), result("a", "2"), result("", "3"))
    ids = [each["id"] for each in sent[1][1]]
    assert len(set(ids)) == 3
    assert [(each["tool_use_id"], each["content"]) for each in sent[2][1]] == list(zip(ids, "123", strict=True))


TEXTS = st.sampled_from(["", " ", "Hi", "Hi "])
IDS = st.sampled_from(["", "a", "b", "functions.x:0", "ü" * 70])


def placed(characters: int, calls: int) -> Part:
    part = thought()
    part.reasoning.details = json.dumps({"after_characters": characters, "after_calls": calls})
    return part


PARTS = st.lists(
    st.one_of(
        st.builds(text, TEXTS),
        st.builds(thought, st.just("Hm."), st.sampled_from(["s", ""]), st.sampled_from(["", "anthropic", "lab"])),
        st.just(thought("", "", redacted="sealed")),
        st.builds(placed, st.integers(0, 5), st.integers(0, 4)),
    ),
    max_size=3,
)
MESSAGES = st.one_of(
    st.builds(lambda words, parts: user(words, *(each for each in parts if each.HasField("text"))), TEXTS, PARTS),
    st.builds(lambda words, parts, ids: said(words, *parts, calls=tuple(ids)), TEXTS, PARTS, st.lists(IDS, max_size=3)),
    st.builds(result, IDS, TEXTS),
    st.builds(lambda words: Message(role=ROLE_SYSTEM, content=words), TEXTS),
)


@given(
    st.lists(MESSAGES, min_size=1, max_size=8),
    st.sampled_from(["", "budget", "effort"]),
    st.sampled_from([BOTH, BUDGET, NEWEST, "another-model"]),
)
def test_no_history_is_refused(history: list[Message], thinks: str, model: str) -> None:
    if thinks == "budget" and history[-1].role == ROLE_ASSISTANT:
        # A model that thinks within a limit cannot continue a text.
        history = [*history, user("Go on")]
    reasoning = {"": None, "budget": ReasoningOptions(budget_tokens=2000), "effort": HIGH}[thinks]
    body_of(*history, model=model, reasoning=reasoning)


@given(st.text(max_size=20))
def test_provider_params_that_are_no_object_are_refused_and_nothing_else_fails(params: str) -> None:
    request = GenerateRequest(messages=[user()], options=GenerationOptions(provider_params=params))
    try:
        excluded(request.options, abilities_of(BOTH, {}))
        betas_of(request, {})
        messages_body(request, BOTH)
    except MeshError as error:
        assert isinstance(error, InvalidArgument)  # noqa: PT017
