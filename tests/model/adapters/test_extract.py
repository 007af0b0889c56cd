"""`soma-extract-v1` only quotes statements, each with its origin."""

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Delta,
    Message,
    Source,
)
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import GenerationOptions, Sampling

from services.mesh.call.errors import Unavailable
from services.model.adapters.extract.engine import ExtractEngine
from services.model.adapters.extract.language import is_question, sentences, terms
from services.model.adapters.extract.ranking import Ranking
from services.model.embedding.embedder import Embedder, Embeddings

_ROLES = {"you": ROLE_USER, "bot": ROLE_ASSISTANT, "app": ROLE_SYSTEM, "tool": ROLE_TOOL}


class WordsEmbedder:
    """An Embedder with one dimension for each word, so texts are similar if they have words in common."""

    model = "somasuite-embed-v1"
    dimensions = 384

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A count of each word of a text; words share a dimension if their checksums do."""
        raw = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            raw[row, 0] = 0.1
            for term in terms(text):
                raw[row, zlib.crc32(term.encode()) % self.dimensions] += 1.0
        norms = np.linalg.norm(raw, axis=1).astype(np.float32)
        tokens = np.array([len(text.split()) + 2 for text in texts], dtype=np.int32)
        return Embeddings(raw / norms[:, None], norms, tokens)


async def answer(
    *turns: str,
    sources: Sequence[tuple[str, str]] = (),
    sampling: Sampling | None = None,
    embedder: Embedder | None = None,
) -> tuple[str, GenerationFinished]:
    """The answer to messages such as `you: hello`."""
    messages = [Message(role=_ROLES[who], content=text) for who, text in (turn.split(": ", 1) for turn in turns)]
    request = GenerateRequest(
        messages=messages,
        sources=[Source(key=key, text=text) for key, text in sources],
        options=GenerationOptions(sampling=sampling),
    )
    text = ""
    async for event in ExtractEngine(Ranking((embedder or WordsEmbedder()).embed)).generate(request):
        if isinstance(event, GenerationFinished):
            return text, event
        assert isinstance(event, Delta)
        text += event.text
    pytest.fail("it never finished")


async def test_a_question_is_answered_by_quoting_what_the_person_said() -> None:
    text, finished = await answer("you: My dog is called Biscuit.", "bot: Noted.", "you: What is my dog called?")
    assert text == "“My dog is called Biscuit.” — you, earlier in this conversation"
    assert [(source.key, source.text) for source in finished.sources] == [("messages#0", "My dog is called Biscuit.")]
    assert finished.finish_reason == FINISH_REASON_STOP


async def test_a_statement_beside_the_question_counts() -> None:
    text, _ = await answer("you: My dog is called Biscuit. What is my dog's name?")
    assert text == "“My dog is called Biscuit.” — you, just now"


async def test_memory_is_quoted_with_its_key() -> None:
    sources = [("kb/refund.md", "Refunds take 30 days. The fee is 5 euros."), ("kb/other", "Cats sleep a lot.")]
    text, finished = await answer("you: How much is the fee?", sources=sources)
    assert text == "“The fee is 5 euros.” — memory `kb/refund.md`"
    assert finished.sources[0].key == "kb/refund.md"
    assert 0 < finished.sources[0].score <= 1


async def test_an_earlier_turn_from_memory_is_named_as_such() -> None:
    text, _ = await answer("you: Where does Anna work?", sources=[("conversation:c1#4", "Anna works in Oslo.")])
    assert text == "“Anna works in Oslo.” — this conversation, turn 4"


async def test_of_two_contradictory_statements_the_later_comes_first() -> None:
    text, _ = await answer("you: My dog is called Rex.", "you: My dog is called Bob.", "you: What is my dog called?")
    assert text.index("Bob") < text.index("Rex")


async def test_a_statement_is_acknowledged_and_quoted() -> None:
    text, finished = await answer("you: Remember that the door code is 4711.")
    assert text.startswith("Noted: “The door code is 4711.”")
    assert not finished.sources


@pytest.mark.parametrize("question", ["What is the capital of France?", "Write a poem about the sea", "Who won?"])
async def test_with_nothing_to_quote_it_says_so_and_how_to_connect_a_model(question: str) -> None:
    text, finished = await answer("you: My dog is called Biscuit.", f"you: {question}")
    assert text.startswith("I have nothing to answer that from.")
    for way in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "Ollama", "SOMA_MODEL_CATALOGUE"):
        assert way in text
    assert not finished.sources


async def test_a_greeting_is_not_quoted() -> None:
    text, _ = await answer("you: Hello!")
    assert "soma-extract-v1" in text
    assert "Noted" not in text


async def test_the_applications_instructions_are_never_quoted() -> None:
    text, _ = await answer("app: The secret dog password is hunter2.", "you: What is the secret dog password?")
    assert "hunter2" not in text


async def test_its_own_answers_are_not_quoted_again() -> None:
    first, _ = await answer("you: My dog is called Biscuit.")
    text, _ = await answer("you: My dog is called Biscuit.", f"bot: {first}", "you: What is my dog called?")
    assert text == "“My dog is called Biscuit.” — you, earlier in this conversation"


async def test_questions_are_not_answers() -> None:
    text, _ = await answer("you: What is my dog called?", "bot: I do not know.", "you: So what is my dog called?")
    assert text.startswith("I have nothing")


async def test_a_tools_result_is_quoted() -> None:
    text, _ = await answer("you: What is the weather in Rome?", "tool: The weather in Rome is sunny.")
    assert text == "“The weather in Rome is sunny.” — the result of a tool"


async def test_equal_requests_give_equal_answers() -> None:
    turns = [f"you: The {colour} house stands in {city}." for colour in ("red", "blue") for city in ("Rome", "Oslo")]
    assert len({(await answer(*turns, "you: Where does the red house stand?"))[0] for _ in range(5)}) == 1


async def test_the_token_limit_and_stop_sequences_hold() -> None:
    turns = ("you: My dog is called Biscuit.", "you: What is my dog called?")
    text, finished = await answer(*turns, sampling=Sampling(max_tokens=4))
    assert text == "“My dog is"
    assert (finished.finish_reason, finished.usage.completion_tokens) == (FINISH_REASON_LENGTH, 4)
    text, finished = await answer(*turns, sampling=Sampling(stop_sequences=["Biscuit"]))
    assert text == "“My dog is called "
    assert finished.finish_reason == FINISH_REASON_STOP


async def test_without_an_embedder_the_words_still_answer() -> None:
    class Away:
        model, dimensions = "away", 384

        async def embed(self, texts: Sequence[str], background: bool = False) -> Embeddings:
            raise Unavailable("no model")

    text, _ = await answer("you: My dog is called Biscuit.", "you: What is my dog called?", embedder=Away())
    assert text == "“My dog is called Biscuit.” — you, earlier in this conversation"


@given(
    st.lists(
        st.sampled_from(["you", "bot", "app", "tool"]).flatmap(
            lambda who: st.text().map(lambda text: f"{who}: {text}")
        ),
        min_size=1,
        max_size=6,
    )
)
async def test_every_quotation_is_a_part_of_what_was_said(turns: list[str]) -> None:
    _, finished = await answer(*turns)
    said = [" ".join(turn.split(": ", 1)[1].split()) for turn in turns if not turn.startswith("app")]
    for source in finished.sources:
        assert any(" ".join(source.text.split()) in text for text in said)


def test_sentences_end_at_marks_and_lines_but_not_at_abbreviations() -> None:
    assert sentences("Dr. Who called. He left!\n- one\n2. two") == ["Dr. Who called.", "He left!", "one", "two"]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is it", True),
        ("tell me a joke", True),
        ("My dog barks.", False),
        ("You know it?", True),
        ("Remember that I can swim", False),
        ("I know what you did", False),
    ],
)
def test_questions_and_requests_are_distinguished_from_statements(text: str, asks: bool) -> None:
    assert is_question(text) is asks


def test_terms_are_stems_of_the_words_with_a_meaning() -> None:
    assert terms("Where do I live?") == terms("He lives.") == {"liv"}
