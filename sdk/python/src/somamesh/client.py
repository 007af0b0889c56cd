"""The client for code without asyncio."""

from somamesh import conversations, response_streams, turns
from somamesh.generated.methods import Methods
from somamesh.sync_methods import answering, calling, responding, streaming, streaming_response


class Client(Methods):
    """The client of a mesh. Every call has a timeout and raises `APIError` when it fails."""

    chat = answering(turns.chat)
    stream_chat = streaming(turns.chat)
    generate = answering(turns.generate)
    stream_generate = streaming(turns.generate)
    count_tokens = calling(turns.count_tokens)

    create_conversation = calling(conversations.create_conversation)
    send_message = answering(conversations.send_message)
    stream_completion = streaming(conversations.send_message)
    append_messages = calling(conversations.append_messages)

    create_response = responding(response_streams.create_response)
    stream_response = streaming_response(response_streams.create_response)
    watch_response = streaming_response(response_streams.watch_response)
