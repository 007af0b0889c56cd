"""The client for asyncio."""

from somamesh import conversations, response_streams, turns
from somamesh.async_methods import answering, calling, responding, streaming, streaming_response
from somamesh.generated.async_methods import AsyncMethods


class AsyncClient(AsyncMethods):
    """`Client` for asyncio: await its methods, or iterate over them with `async for`."""

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
