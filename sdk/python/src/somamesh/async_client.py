"""The client for asyncio."""

from somamesh import conversations, costs, memories, models, policies, turns
from somamesh.async_connection import AsyncConnection, answering, calling, listing, streaming


class AsyncClient(AsyncConnection):
    """`Client` for asyncio: its methods are awaited, or iterated over by `async for`."""

    chat = answering(turns.chat)
    stream_chat = streaming(turns.chat)

    create_conversation = calling(conversations.create_conversation)
    send_message = answering(conversations.send_message)
    stream_completion = streaming(conversations.send_message)
    append_messages = calling(conversations.append_messages)
    list_messages = listing(conversations.list_messages)
    get_context = calling(conversations.get_context)

    remember = calling(memories.remember)
    recall = calling(memories.recall)
    retrieve = calling(memories.retrieve)

    generate = answering(turns.generate)
    stream_generate = streaming(turns.generate)
    infer = calling(models.infer)
    embed = calling(models.embed)
    list_models = calling(models.list_models)
    list_usage = listing(costs.list_usage)

    evaluate_policy = calling(policies.evaluate_policy)
