"""What an OpenAI-compatible vendor is sent of a conversation with parts, thoughts and further members."""

import json
from typing import Any

import pytest
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
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, Tool

from services.mesh.call.errors import InvalidArgument
from services.model.adapters.openai_request import chat_body
from services.model.media.contents import Content, Contents, key_of
from services.model.vendor import Chat
from tests.model.vendors import VENDORS

CACHE = '{"cache_control": {"type": "ephemeral"}}'
MARK = {"cache_control": {"type": "ephemeral"}}
WAV = Media(data=b"RIFF", media_type="audio/wav")
PDF = Media(data=b"%PDF", media_type="application/pdf", name="a.pdf")


def user(*parts: Part, text: str = "") -> Message:
    return Message(role=ROLE_USER, content=text, parts=parts)


def words(text: str, params: str = "") -> Part:
    return Part(text=Text(text=text), provider_params=params)


def body(chat: Chat, *messages: Message, contents: Contents | None = None, **options: Any) -> dict[str, Any]:
    request = GenerateRequest(messages=messages, options=GenerationOptions(**options))
    return chat_body(request, "m", chat, "lab", contents)


def sent(chat: Chat, *messages: Message, contents: Contents | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(chat, *messages, contents=contents)["messages"]
    return found


def contents(*media: Media) -> Contents:
    return Contents({key_of(each): Content(each.data, each.media_type) for each in media})


def test_a_message_of_one_text_stays_a_text() -> None:
    assert sent(Chat(), user(text="Hi"), user(words("Hi")), user(words(""), words("Hi")))[0]["content"] == "Hi"
    assert [message["content"] for message in sent(Chat(), user(words("Hi")), user(words("")))] == ["Hi", ""]
    assert sent(Chat(), user(words("b"), text="a"))[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_sounds_and_documents_are_sent_in_openais_forms() -> None:
    message = user(Part(audio=WAV), Part(file=PDF), Part(file=Media(file_id="file-1")))
    assert sent(Chat(), message, contents=contents(WAV, PDF))[0]["content"] == [
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]


def test_an_address_that_the_vendor_reads_is_sent_as_it_is() -> None:
    picture, document = Media(url="https://a.example/a.png"), Media(url="https://a.example/a.pdf", name="a.pdf")
    message = user(Part(image=picture), Part(file=document))
    image, file = sent(VENDORS["mistral"].chat, message, contents=contents())[0]["content"]
    assert image == {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
    assert file == {
        "type": "document_url",
        "document_url": "https://a.example/a.pdf",
        "document_name": "a.pdf",
    }


def test_the_pictures_of_several_results_follow_the_last_of_them() -> None:
    picture = Media(data=b"1", media_type="image/png")
    asked = Message(role=ROLE_ASSISTANT, tool_calls=[ToolCall(call_id=each, name="f") for each in ("a", "b")])
    results = [
        Message(role=ROLE_TOOL, tool_call_id="a", parts=[Part(image=picture)]),
        Message(role=ROLE_TOOL, tool_call_id="b", parts=[words("one"), words("two")]),
    ]
    found = sent(Chat(), user(text="?"), asked, *results, user(text="And?"), contents=contents(picture))
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [found[2]["content"], found[3]["content"]] == ["It is in the next message.", "one\ntwo"]
    assert [part["type"] for part in found[4]["content"]] == ["text", "image_url"]
    assert found[5]["content"] == "And?"


def test_further_members_go_to_vendors_that_have_them() -> None:
    message = user(words("Hi", CACHE))
    message.provider_params = '{"prefix": true}'
    tool = Tool(name="t", provider_params=CACHE)
    for chat, marked, prefixed in (
        (Chat(), {}, {}),
        (VENDORS["openrouter"].chat, MARK, {}),
        (Chat(extras=frozenset("*")), MARK, {"prefix": True}),
    ):
        found = body(chat, message, tools=[tool])
        content: Any = [{"type": "text", "text": "Hi", **MARK}] if marked else "Hi"
        assert found["messages"] == [{"role": "user", "content": content, **prefixed}]
        assert found["tools"] == [{"type": "function", "function": {"name": "t"}, **marked}]


def test_a_system_message_has_parts_only_where_a_member_needs_them() -> None:
    told = Message(role=ROLE_SYSTEM, content="Be brief.", parts=[words("Be kind.", CACHE)])
    request = GenerateRequest(
        messages=[user(text="Hi"), told, Message(role=ROLE_SYSTEM, content="Be true.", provider_params=CACHE)],
        sources=[Source(key="k", text="Remembered.")],
    )
    plain = chat_body(request, "m", Chat(), "lab")["messages"][0]
    assert plain["content"].startswith("Be brief.\n\nBe kind.\n\nBe true.\n\n")
    marked = chat_body(request, "m", VENDORS["openrouter"].chat, "lab")["messages"][0]
    assert marked["content"][:3] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind.", **MARK},
        {"type": "text", "text": "Be true.", **MARK},
    ]
    assert "Remembered." in marked["content"][3]["text"]


def test_a_clients_own_thoughts_go_back_in_the_vendors_form() -> None:
    said = Message(role=ROLE_ASSISTANT, parts=[Part(reasoning=Reasoning(text="Hm.")), words("Yes.")])
    for name, expected in (
        ("vllm", {"content": "Yes.", "reasoning": "Hm."}),
        ("openrouter", {"content": "Yes.", "reasoning": "Hm."}),
        ("openai", {"content": "Yes."}),
        ("deepseek", {"content": "Yes."}),
    ):
        assert sent(VENDORS[name].chat, user(text="?"), said, user(text="?"))[1] == {"role": "assistant", **expected}


def test_deepseek_gets_the_member_for_thoughts_with_each_call_also_when_there_was_none() -> None:
    call = Message(role=ROLE_ASSISTANT, tool_calls=[ToolCall(call_id="a", name="f")])
    result = Message(role=ROLE_TOOL, tool_call_id="a", content="1")
    assert sent(VENDORS["deepseek"].chat, user(text="?"), call, result)[1]["reasoning_content"] == ""


def test_deepseek_gets_the_member_for_thoughts_with_each_answer_of_a_turn_with_calls() -> None:
    call = Message(role=ROLE_ASSISTANT, tool_calls=[ToolCall(call_id="c1", name="f", arguments="{}")])
    result = Message(role=ROLE_TOOL, tool_call_id="c1", content="42")
    told = Message(role=ROLE_ASSISTANT, content="It is 42.")
    written = sent(VENDORS["deepseek"].chat, user(text="?"), call, result, told, user(text="Hi"), told, user(text="!"))
    assert [message.get("reasoning_content") for message in written] == [None, "", None, "", None, None, None]


def test_a_call_of_another_model_gets_the_signature_that_gemini_takes_for_it() -> None:
    calls = [ToolCall(call_id="a", name="f"), ToolCall(call_id="b", name="g")]
    found = sent(VENDORS["gemini"].chat, user(text="?"), Message(role=ROLE_ASSISTANT, tool_calls=calls))
    first, second = found[1]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "extra_content" not in second
    calls[0].signature = "sig"
    found = sent(VENDORS["gemini"].chat, user(text="?"), Message(role=ROLE_ASSISTANT, tool_calls=calls))
    assert found[1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sig"}}
    plain = sent(VENDORS["openai"].chat, user(text="?"), Message(role=ROLE_ASSISTANT, tool_calls=calls))
    assert "extra_content" not in plain[1]["tool_calls"][0]


@pytest.mark.parametrize(
    ("vendor", "effort", "expected"),
    [
        ("openai", "low", {"reasoning_effort": "low"}),
        ("openrouter", "high", {"reasoning": {"effort": "high"}}),
        ("openrouter", "none", {"reasoning": {"effort": "none"}}),
        ("deepseek", "none", {"thinking": {"type": "disabled"}}),
        ("deepseek", "max", {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ("vllm", "none", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        (
            "vllm",
            "max",
            {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        ),
        ("llamacpp", "low", {"chat_template_kwargs": {"reasoning_effort": "low", "enable_thinking": True}}),
        ("ollama", "minimal", {"reasoning_effort": "low"}),
        ("together", "none", {"reasoning": {"enabled": False}}),
    ],
)
def test_how_much_a_model_thinks_is_said_in_the_vendors_words(
    vendor: str, effort: str, expected: dict[str, Any]
) -> None:
    chat = VENDORS[vendor].chat
    usual = body(chat, user(text="Hi"))
    found = body(chat, user(text="Hi"), reasoning=ReasoningOptions(effort=effort))
    assert {name: value for name, value in found.items() if name not in usual} == expected


def test_a_limit_of_thoughts_is_said_where_the_vendor_has_one() -> None:
    limit = ReasoningOptions(budget_tokens=800)
    assert body(VENDORS["openrouter"].chat, user(text="Hi"), reasoning=limit)["reasoning"] == {"max_tokens": 800}
    assert body(VENDORS["gemini"].chat, user(text="Hi"), reasoning=limit)["extra_body"] == {
        "google": {"thinking_config": {"thinking_budget": 800}}
    }
    assert "reasoning_budget" in VENDORS["openai"].chat.unsupported
    assert "reasoning_budget" not in VENDORS["openrouter"].chat.unsupported


def test_provider_params_are_sent_as_they_are_and_replace_nothing() -> None:
    params = {
        "min_p": 0.05,
        "chat_template_kwargs": {"enable_thinking": True, "custom": [1, {"a": None}]},
        "reasoning_effort": "default",
    }
    found = body(
        VENDORS["vllm"].chat,
        user(text="Hi"),
        reasoning=ReasoningOptions(effort="none"),
        provider_params=json.dumps(params),
    )
    assert found["min_p"] == 0.05
    assert found["chat_template_kwargs"] == {
        "enable_thinking": False,
        "thinking": False,
        "custom": [1, {"a": None}],
    }
    assert found["reasoning_effort"] == "default"
    # The vendor's file is as it was.
    assert VENDORS["vllm"].chat.efforts["none"] == {
        "chat_template_kwargs": {"enable_thinking": False, "thinking": False}
    }


def test_members_that_are_no_object_are_refused() -> None:
    message = user(text="Hi")
    message.provider_params = "[1]"
    with pytest.raises(InvalidArgument):
        sent(Chat(), message)


def test_mistral_gets_a_note_between_a_result_and_the_users_next_message() -> None:
    call = Message(role=ROLE_ASSISTANT, tool_calls=[ToolCall(call_id="a", name="f")])
    result = Message(role=ROLE_TOOL, tool_call_id="a", content="1")
    found = sent(VENDORS["mistral"].chat, user(text="?"), call, result, user(text="Stop."))
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "assistant", "user"]
    found = sent(VENDORS["openai"].chat, user(text="?"), call, result, user(text="Stop."))
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "user"]
