"""Builds the calls of MediaService; generated from soma/model/v1/media_service.proto."""

from collections.abc import Sequence

from soma.model.v1 import media_service_pb2 as pb
from soma.model.v1 import message_pb2

from somamesh.calls import Call, Reader, Streaming, unary, unchanged
from somamesh.events import events


def transcribe(
    audio: message_pb2.Media,
    *,
    model: str = "",
    options: pb.TranscriptionOptions | None = None,
    stream: bool = False,
    timeout: float | None = None,
) -> Streaming[Reader[pb.TranscribeResponse]]:
    """Writes down what is said in a sound.

    Args:
        audio: The sound.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        options: How it is to be written down.
        stream: Whether the text is wanted while it is made. A model that cannot do this sends it whole, in the
            last event.
    """
    request = pb.TranscribeRequest(audio=audio, model=model, options=options, stream=stream)
    return Streaming(
        lambda mesh: mesh.media_service.Transcribe, request, events(unchanged, item="", has_final_event=True), timeout
    )


def translate(
    audio: message_pb2.Media,
    *,
    model: str = "",
    options: pb.TranscriptionOptions | None = None,
    timeout: float | None = None,
) -> Call[pb.TranslateResponse]:
    """Writes down in English what is said in a sound.

    Args:
        audio: The sound.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        options: How it is to be written down. `language` and `timestamps` have no effect, and there are no
            speakers.
    """
    request = pb.TranslateRequest(audio=audio, model=model, options=options)
    return unary(lambda mesh: mesh.media_service.Translate, request, unchanged, repeatable=False, timeout=timeout)


def speak(
    input: str,
    *,
    model: str = "",
    voice: str = "",
    instructions: str = "",
    format: str = "",
    speed: float | None = None,
    provider_params: str = "",
    drop_params: bool = False,
    timeout: float | None = None,
) -> Streaming[Reader[pb.SpeakResponse]]:
    """Speaks a text.

    Args:
        input: The text.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        voice: The voice, as the provider names it; empty for the provider's default.
        instructions: How it is to be spoken, in words, for models that follow such.
        format: Format of the sound: `mp3`, `opus`, `aac`, `flac`, `wav`, `pcm`, or another word of the provider;
            its default when empty.
        speed: Speed: 1 is usual.
        provider_params: Parameters that this contract has no field for, as a JSON object; its members reach the
            provider as they are. A member that the contract has a field for is refused.
        drop_params: Whether fields that the provider does not support are left out. Otherwise the request is
            refused, and the error names those fields.
    """
    request = pb.SpeakRequest(
        input=input,
        model=model,
        voice=voice,
        instructions=instructions,
        format=format,
        speed=speed,
        provider_params=provider_params,
        drop_params=drop_params,
    )
    return Streaming(
        lambda mesh: mesh.media_service.Speak, request, events(unchanged, item="", has_final_event=True), timeout
    )


def generate_image(
    prompt: str, *, model: str = "", options: pb.ImageOptions | None = None, timeout: float | None = None
) -> Streaming[Reader[pb.GenerateImageResponse]]:
    """Makes pictures.

    Args:
        prompt: What they are to show.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        options: How they are to be made.
    """
    request = pb.GenerateImageRequest(prompt=prompt, model=model, options=options)
    return Streaming(
        lambda mesh: mesh.media_service.GenerateImage,
        request,
        events(unchanged, item="", has_final_event=True),
        timeout,
    )


def edit_image(
    prompt: str,
    images: Sequence[message_pb2.Media],
    *,
    model: str = "",
    mask: message_pb2.Media | None = None,
    options: pb.ImageOptions | None = None,
    timeout: float | None = None,
) -> Streaming[Reader[pb.EditImageResponse]]:
    """Changes pictures.

    Args:
        prompt: What is to be done.
        images: The pictures.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        mask: A picture of the size of the first one, whose transparent places say where that is to be changed.
        options: How the new picture is to be made.
    """
    request = pb.EditImageRequest(prompt=prompt, images=images, model=model, mask=mask, options=options)
    return Streaming(
        lambda mesh: mesh.media_service.EditImage, request, events(unchanged, item="", has_final_event=True), timeout
    )
