"""The client for code without asyncio."""

from somamesh import conversations, response_making, turns
from somamesh.generated.methods import Methods
from somamesh.sync_methods import answering, calling, responding, streaming, streaming_response


class Client(Methods):
    """A mesh, and what it can do. Every call has a timeout and raises `APIError`."""

    chat = answering(turns.chat)
    stream_chat = streaming(turns.chat)
    generate = answering(turns.generate)
    stream_generate = streaming(turns.generate)

    create_conversation = calling(conversations.create_conversation)
    send_message = answering(conversations.send_message)
    stream_completion = streaming(conversations.send_message)
    append_messages = calling(conversations.append_messages)

    create_response = responding(response_making.create_response)
    stream_response = streaming_response(response_making.create_response)
    watch_response = streaming_response(response_making.watch_response)
