"""Reads the places that a chat completion refers to: OpenAI's annotations, and the lists of vendors that search."""

from collections.abc import Iterable, Iterator
from typing import Any

from soma.model.v1.message_pb2 import Citation

from services.model.adapters.surrogates import repaired
from services.model.json_text import object_text

# The largest position of the contract; a larger one is not a position.
_LAST = 2**31 - 1


class StreamedCitations:
    """The citations of one answer. Some servers repeat them in each chunk; each is passed on once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._urls: set[str] = set()
        self._listing: dict[str, Any] = {}

    def annotated(self, annotations: Any) -> list[Citation]:
        """The citations that the `annotations` of one delta add."""
        return [citation for each in _objects(annotations) if (citation := self._new(each)) is not None]

    def listed(self, chunk: dict[str, Any]) -> None:
        """Take `search_results` or `citations` of a chunk, which are complete each time, for the end of the answer."""
        if chunk.get("search_results") or chunk.get("citations"):
            self._listing = chunk

    def flush(self) -> list[Citation]:
        """The citations of the latest lists that no annotation has."""
        found = [_result(each) for each in _objects(self._listing.get("search_results"))]
        if not found and isinstance(urls := self._listing.get("citations"), list):
            found = [Citation(url=_text(url)) for url in urls if isinstance(url, str)]
        return [citation for citation in found if citation.url not in self._urls]

    def reference(self, part: dict[str, Any]) -> list[Citation]:
        """Mistral's reference to documents that the request gave by number."""
        citation = Citation(details=object_text(part))
        return [citation] if self._first(citation.details) else []

    def _new(self, annotation: dict[str, Any]) -> Citation | None:
        details = object_text(annotation)
        if not self._first(details):
            return None
        kind = str(annotation.get("type") or "")
        said = annotation.get(kind)
        found = said if isinstance(said, dict) else annotation
        citation = Citation(
            url=_text(found.get("url")),
            title=_text(found.get("title") or found.get("filename") or found.get("name")),
            quote=_text(found.get("content")),
            start=_position(found.get("start_index")),
            end=_position(found.get("end_index")),
            details=details,
        )
        self._urls.add(citation.url)
        return citation

    def _first(self, details: str) -> bool:
        if details in self._seen:
            return False
        self._seen.add(details)
        return True


def _result(result: dict[str, Any]) -> Citation:
    """A page that the vendor's search found."""
    return Citation(
        url=_text(result.get("url")),
        title=_text(result.get("title")),
        quote=_text(result.get("snippet")),
        details=object_text(result),
    )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    items: Iterable[Any] = value if isinstance(value, list) else ()
    return (each for each in items if isinstance(each, dict))


def _text(value: object) -> str:
    return repaired(value) if isinstance(value, str) else ""


def _position(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _LAST else 0
