"""Texts, media and thoughts of a message whose content may be in parts."""

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_USER, Citation, Media, Message, Part, Reasoning, Text

from services.messages.message import media_of, text_of, texts_of, thoughts_of, with_texts

PICTURE = Part(image=Media(data=b"png", media_type="image/png"))


def text(value: str, *citations: Citation) -> Part:
    return Part(text=Text(text=value, citations=citations))


def test_the_content_comes_before_the_text_parts() -> None:
    message = Message(role=ROLE_USER, content="a", parts=[text("b"), PICTURE, text("")])
    assert texts_of(message) == ["a", "b", ""]
    assert text_of(message) == "ab"


def test_a_message_without_parts_has_its_content_alone() -> None:
    assert texts_of(Message(role=ROLE_USER, content="a")) == ["a"]
    assert texts_of(Message(role=ROLE_USER)) == []
    assert text_of(Message(role=ROLE_USER)) == ""


def test_a_thought_is_not_a_text() -> None:
    thought = Reasoning(text="hm")
    message = Message(role=ROLE_ASSISTANT, parts=[Part(reasoning=thought), text("b")])
    assert texts_of(message) == ["b"]
    assert thoughts_of(message) == [thought]


def test_equal_texts_change_nothing() -> None:
    message = Message(role=ROLE_USER, content="a", parts=[text("b")])
    assert with_texts(message, ["a", "b"]) is message


def test_other_texts_are_put_in_a_copy() -> None:
    message = Message(role=ROLE_USER, content="a", parts=[text("b"), PICTURE, text("c")])
    changed = with_texts(message, ["a", "x", "c"])
    assert changed == Message(role=ROLE_USER, content="a", parts=[text("x"), PICTURE, text("c")])
    assert message.parts[0].text.text == "b"


def test_a_changed_text_loses_its_citations() -> None:
    message = Message(role=ROLE_ASSISTANT, parts=[text("b", Citation(url="u", end=1)), text("c", Citation(url="v"))])
    changed = with_texts(message, ["x", "c"])
    assert not changed.parts[0].text.citations
    assert changed.parts[1].text.citations[0].url == "v"


def test_media_of_all_messages() -> None:
    sound, paper = Media(hash="0" * 64), Media(url="https://a.example/b.pdf")
    messages = [
        Message(role=ROLE_USER, parts=[PICTURE, text("a"), Part(audio=sound)]),
        Message(role=ROLE_USER, content="b"),
        Message(role=ROLE_USER, parts=[Part(file=paper)]),
    ]
    assert list(media_of(messages)) == [PICTURE.image, sound, paper]
