"""Reads a transcript in the forms of vendors."""

from collections.abc import Mapping
from typing import Any

from soma.model.v1.media_service_pb2 import (
    MediaFinished,
    Transcript,
    TranscriptionFinished,
    TranscriptSegment,
    TranscriptWord,
)
from soma.model.v1.message_pb2 import Usage

from services.model.adapters import refusal
from services.model.adapters.counts import count, member, usage_of
from services.model.json_text import object_text

# Members that the contract has fields for.
_KNOWN = frozenset({"text", "language", "duration", "segments", "words", "usage", "task", "model", "type"})
_KNOWN_OF_SEGMENT = frozenset({"id", "start", "end", "text", "speaker", "speaker_id", "type"})
# A year of sound; a longer one is a mistake.
_MOST_SECONDS = 366 * 24 * 3600.0


def finished(provider: str, answer: Any) -> TranscriptionFinished:
    """The end of a transcription, from a whole answer.

    Raises:
        MeshError: the answer is an error, or has no text.
    """
    if isinstance(answer, dict) and answer.get("error"):
        raise refusal.reported_error(provider, answer["error"])
    text = member(answer, "text")
    if not isinstance(text, str):
        raise refusal.protocol_error(provider, "its answer has no transcript")
    found = Transcript(text=text, language=_text(answer.get("language")), duration_seconds=_time(answer, "duration"))
    found.segments.extend(segment(each) for each in _objects(answer.get("segments")))
    found.words.extend(
        TranscriptWord(
            word=_text(each.get("word", each.get("text"))),
            start_seconds=_time(each, "start"),
            end_seconds=_time(each, "end"),
        )
        for each in _objects(answer.get("words"))
    )
    found.details = _details(answer, _KNOWN)
    usage = _usage(answer.get("usage"))
    usage.audio_seconds = usage.audio_seconds or found.duration_seconds
    return TranscriptionFinished(transcript=found, media=MediaFinished(usage=usage))


def segment(given: Mapping[str, Any]) -> TranscriptSegment:
    """A segment; members of another type are left out."""
    own = given.get("id")
    return TranscriptSegment(
        segment_id=str(own) if isinstance(own, str | int) else "",
        start_seconds=_time(given, "start"),
        end_seconds=_time(given, "end"),
        text=_text(given.get("text")),
        speaker=_text(given.get("speaker")) or _text(given.get("speaker_id")),
        details=_details(given, _KNOWN_OF_SEGMENT),
    )


def _usage(given: Any) -> Usage:
    """Tokens, or seconds of sound, as the vendor counts them."""
    read = count(member(given, "input_tokens")) or count(member(given, "prompt_tokens"))
    usage = usage_of(read, count(member(given, "output_tokens")) or count(member(given, "completion_tokens")))
    usage.audio_seconds = _time(given, "seconds") or _time(given, "prompt_audio_seconds")
    return usage


def _details(given: Mapping[str, Any], known: frozenset[str]) -> str:
    more = {name: value for name, value in given.items() if name not in known and value is not None}
    return object_text(more) if more else ""


def _objects(given: Any) -> list[dict[str, Any]]:
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _time(holder: Any, name: str) -> float:
    """Seconds; 0 if they are not known."""
    value = member(holder, name)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 < value <= _MOST_SECONDS else 0.0
