"""Contexts: the newest turns and the best facts that fit the budget; a search by words if vectors are missing."""

import pytest
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.window import estimate
from services.mesh.call import errors
from tests.memory.conftest import Memory, assistant, tool, user


def asking(conversation_id: str = "", message: str = "", budget: int | None = None) -> pb.GetContextRequest:
    """A request for a hybrid context."""
    return pb.GetContextRequest(conversation_id=conversation_id, current_message=message, token_budget=budget)


def said(context: pb.GetContextResponse) -> list[str]:
    return [turn.message.content for turn in context.recent_messages]


def known(context: pb.GetContextResponse) -> list[str]:
    return [source.key for source in context.relevant_documents]


async def test_a_short_conversation_is_complete_and_has_the_relevant_facts(memory: Memory) -> None:
    await memory.remember("favourite colour", "teal")
    await memory.remember("bread", "from the oven")
    await memory.say("c", user("Hello"), assistant("Hi, how are you?"))
    context = await memory.stub.GetContext(asking("c", "What is my favourite colour?"))
    assert said(context) == ["Hello", "Hi, how are you?"]
    assert [turn.sequence for turn in context.recent_messages] == [1, 2]
    assert [(source.key, source.text) for source in context.relevant_documents] == [
        ("favourite colour", "favourite colour: teal")
    ]
    assert context.token_count == estimate("Hello") + estimate("Hi, how are you?") + estimate("favourite colour: teal")
    assert not context.truncated
    assert not context.degraded


async def test_a_strategy_leaves_out_what_it_does_not_name(memory: Memory) -> None:
    await memory.remember("favourite colour", "teal")
    await memory.say("c", user("Hello"))
    question = asking("c", "my favourite colour")
    question.strategy = pb.STRATEGY_SHORT_ONLY
    short = await memory.stub.GetContext(question)
    question.strategy = pb.STRATEGY_LONG_ONLY
    long = await memory.stub.GetContext(question)
    assert (said(short), known(short)) == (["Hello"], [])
    assert (said(long), known(long)) == ([], ["favourite colour"])
    assert not long.truncated


async def test_an_unknown_conversation_is_empty_and_no_error(memory: Memory) -> None:
    context = await memory.stub.GetContext(asking("nowhere", "Hello"))
    assert (said(context), known(context), context.token_count, context.truncated) == ([], [], 0, False)


async def test_nothing_is_embedded_where_there_is_nothing_to_find(memory: Memory) -> None:
    await memory.say("c", user("Hello there"))
    await memory.indexed()
    memory.model.requests.clear()
    await memory.stub.GetContext(asking("c", "and now?"))
    assert memory.model.asked == []


@pytest.mark.parametrize("budget", [1, 20, 50, 100, 300, 2000])
async def test_the_budget_is_kept_and_the_newest_turns_stay(memory: Memory, budget: int) -> None:
    for number in range(30):
        await memory.say(
            "c", user(f"Question {number} about harbour boats"), assistant(f"Answer {number}. " + "More. " * 5)
        )
        await memory.remember(f"boat {number}", f"harbour boats number {number}")
    await memory.indexed()
    context = await memory.stub.GetContext(asking("c", "harbour boats", budget))
    assert context.token_count <= budget
    assert context.truncated == (budget < 2000)
    sequences = [turn.sequence for turn in context.recent_messages]
    assert sequences == list(range(61 - len(sequences), 61))
    scores = [source.score for source in context.relevant_documents]
    assert scores == sorted(scores, reverse=True)
    if budget >= 100:
        assert sequences
        assert scores


async def test_turns_take_the_budget_that_facts_leave(memory: Memory) -> None:
    await memory.say("c", *(user("x" * 64) for _ in range(20)))
    context = await memory.stub.GetContext(asking("c", "harbour", 10 * estimate("x" * 64)))
    assert len(context.recent_messages) == 10
    assert context.truncated


async def test_a_fact_too_long_for_the_rest_leaves_its_place_to_a_shorter_one(memory: Memory) -> None:
    await memory.remember("long", "harbour boats " * 30)
    await memory.remember("short", "harbour boats at night")
    context = await memory.stub.GetContext(asking("", "harbour boats", 60))
    assert known(context) == ["short"]
    assert context.truncated


async def test_tool_calls_and_results_come_together_or_not_at_all(memory: Memory) -> None:
    await memory.say(
        "c", user("weather?"), assistant("", "a", "b"), tool("a", "sunny " * 20), tool("b", "warm"), assistant("Fine.")
    )
    whole = await memory.stub.GetContext(asking("c"))
    assert len(whole.recent_messages) == 5
    for budget in range(1, whole.token_count):
        context = await memory.stub.GetContext(asking("c", budget=budget))
        assert [turn.sequence for turn in context.recent_messages] in ([], [5], [2, 3, 4, 5])
        assert context.token_count <= budget


async def test_relevant_turns_older_than_the_window_are_recalled(memory: Memory) -> None:
    await memory.say("c", user("My lighthouse keeper is called Ann"), assistant("Noted."))
    await memory.say("other", user("The lighthouse keeper of another conversation"))
    for number in range(30):
        await memory.say("c", user(f"Filler {number} " + "bread " * 10))
    await memory.indexed()
    context = await memory.stub.GetContext(asking("c", "Who is the lighthouse keeper?", 200))
    assert known(context) == ["conversation:c#1"]
    assert context.relevant_documents[0].text == "My lighthouse keeper is called Ann"
    assert context.recent_messages[0].sequence > 1


async def test_a_turn_in_the_window_is_not_recalled_again(memory: Memory) -> None:
    await memory.say("c", *(user(f"lighthouse keeper number {n}") for n in range(10)))
    await memory.indexed()
    for budget in range(10, 150, 7):
        context = await memory.stub.GetContext(asking("c", "lighthouse keeper", budget))
        recent = {f"conversation:c#{turn.sequence}" for turn in context.recent_messages}
        assert recent.isdisjoint(known(context))


async def test_without_vectors_facts_and_older_turns_are_found_by_their_words(memory: Memory) -> None:
    await memory.remember("boat", "the lighthouse keeper has a boat")
    await memory.say("c", user("My lighthouse keeper is called Ann"))
    for number in range(30):
        await memory.say("c", user(f"Filler {number} " + "bread " * 10))
    memory.model.failure = errors.Unavailable("away")
    context = await memory.stub.GetContext(asking("c", "Who is the lighthouse keeper?", 300))
    assert context.degraded
    assert sorted(known(context)) == ["boat", "conversation:c#1"]


async def test_a_long_message_is_embedded_in_pieces(memory: Memory) -> None:
    await memory.remember("k", "the lighthouse keeper")
    context = await memory.stub.GetContext(asking("", "lighthouse keeper. " * 3000))
    assert known(context) == ["k"]
    assert len(memory.model.asked[-1]) == 8


async def test_a_turn_in_parts_is_found_by_its_texts_and_counted_with_its_thoughts(memory: Memory) -> None:
    turn = user("Look at this.")
    turn.parts.add().text.text = "The launch code is kumquat."
    turn.parts.add().text.text = "Keep it secret."
    turn.parts.add().reasoning.text = "a thought that is long enough to count"
    await memory.say("c", turn, *(user(f"filler {n}") for n in range(20)))
    await memory.indexed()
    context = await memory.stub.GetContext(asking("c", "What is the launch code?", budget=100))
    assert "The launch code is kumquat." in context.relevant_documents[0].text
    whole = await memory.stub.GetContext(asking("c", budget=1000))
    assert whole.recent_messages[0].message == turn
    texts = ("Look at this.", "The launch code is kumquat.", "Keep it secret.", turn.parts[2].reasoning.text)
    assert whole.token_count == estimate(*texts) + sum(estimate(f"filler {n}") for n in range(20))
