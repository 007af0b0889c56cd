"""The readers of all surfaces, by the name of the surface."""

from collections.abc import Mapping

from tests.e2e.streams import client, logs, native, rest, vendor, web
from tests.e2e.streams.reader import Reader

# Surfaces that stream their answers.
STREAMED: Mapping[str, Reader] = {
    "native chat": native.chat,
    "native generation": native.generate,
    "REST chat": rest.chat,
    "REST generation": rest.generate,
    "grpc-web": web.chat,
    "OpenAI completion streamed": vendor.completion_streamed,
    "OpenAI response streamed": vendor.response_streamed,
    "Python client": client.chat,
}
# Surfaces that send whole answers.
WHOLE: Mapping[str, Reader] = {
    "OpenAI completion": vendor.completion,
    "OpenAI response": vendor.response,
    "chat session": rest.session,
}
ECHOES: Mapping[str, Reader] = {"bidi": native.echoes}
LOGS: Mapping[str, Reader] = {"WebSocket": logs.socket}
