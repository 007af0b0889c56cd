"""The client for code without asyncio."""

from somamesh import (
    conversations,
    costs,
    logs,
    memories,
    models,
    policies,
    response_making,
    responses,
    session_messages,
    session_templates,
    sessions,
    turns,
)
from somamesh.connection import Connection
from somamesh.sync_methods import answering, calling, following, listing, responding, streaming, streaming_response


class Client(Connection):
    """A mesh, and what it can do. Every call has a timeout and raises `APIError`."""

    chat = answering(turns.chat)
    stream_chat = streaming(turns.chat)

    create_conversation = calling(conversations.create_conversation)
    send_message = answering(conversations.send_message)
    stream_completion = streaming(conversations.send_message)
    append_messages = calling(conversations.append_messages)
    list_messages = listing(conversations.list_messages)
    delete_conversation = calling(conversations.delete_conversation)
    get_context = calling(conversations.get_context)

    create_response = responding(response_making.create_response)
    stream_response = streaming_response(response_making.create_response)
    watch_response = streaming_response(response_making.watch_response)
    get_response = calling(responses.get_response)
    list_response_inputs = listing(responses.list_response_inputs)
    cancel_response = calling(responses.cancel_response)
    delete_response = calling(responses.delete_response)

    create_session = calling(sessions.create_session)
    get_session = calling(sessions.get_session)
    list_sessions = listing(sessions.list_sessions)
    set_session_status = calling(sessions.set_session_status)
    delete_session = calling(sessions.delete_session)
    send_session_message = calling(session_messages.send_session_message)
    list_session_messages = listing(session_messages.list_session_messages)
    get_session_stats = calling(session_messages.get_session_stats)
    list_session_templates = calling(session_templates.list_session_templates)
    list_session_models = calling(session_templates.list_session_models)

    remember = calling(memories.remember)
    recall = calling(memories.recall)
    retrieve = calling(memories.retrieve)
    list_memories = listing(memories.list_memories)
    forget = calling(memories.forget)

    generate = answering(turns.generate)
    stream_generate = streaming(turns.generate)
    infer = calling(models.infer)
    embed = calling(models.embed)
    list_models = calling(models.list_models)
    list_usage = listing(costs.list_usage)

    evaluate_policy = calling(policies.evaluate_policy)

    list_logs = listing(logs.list_logs)
    tail_logs = following(logs.tail_logs)
