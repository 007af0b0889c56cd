"""Segments of a transcript as subtitles: SubRip (SRT) and WebVTT (https://www.w3.org/TR/webvtt1/)."""

from collections.abc import Iterable

from soma.model.v1.media_service_pb2 import TranscriptSegment


def srt(segments: Iterable[TranscriptSegment]) -> str:
    """Numbered subtitles, with a comma before the milliseconds."""
    shown = [f"{number}\n{_span(each, ',')}\n{_text(each)}\n" for number, each in enumerate(segments, start=1)]
    return "\n".join(shown) + ("\n" if shown else "")


def vtt(segments: Iterable[TranscriptSegment]) -> str:
    """Subtitles after the head `WEBVTT`."""
    shown = [f"{_span(each, '.')}\n{_text(each)}\n" for each in segments]
    return "WEBVTT\n\n" + "\n".join(shown) + ("\n" if shown else "")


def _span(segment: TranscriptSegment, point: str) -> str:
    return f"{_time(segment.start_seconds, point)} --> {_time(segment.end_seconds, point)}"


def _time(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milliseconds:03}"


def _text(segment: TranscriptSegment) -> str:
    """The text; an arrow or an empty line in it would end the subtitle."""
    lines = [line.strip() for line in segment.text.strip().splitlines()]
    return "\n".join(line for line in lines if line).replace("-->", "->")
