"""The NoteService of tests: notes in memory, behind a REST face of every form."""

import uuid
from collections.abc import Iterable, Iterator, Sequence

from soma.errors.v1 import reasons
from soma.testing.v1 import note_service_pb2 as pb
from soma.testing.v1 import note_service_pb2_grpc as rpc

from services.mesh.call import errors, page_token
from services.mesh.call.field_mask import updated
from services.mesh.testing.echo import Context

_CHANGEABLE = frozenset({"text", "tags", "place"})
_PAGE_SIZE = 10


class NoteServicer(rpc.NoteServiceServicer):
    """soma.testing.v1.NoteService."""

    def __init__(self) -> None:
        self._notes: dict[str, pb.Note] = {}

    async def CreateNote(self, request: pb.CreateNoteRequest, context: Context) -> pb.CreateNoteResponse:
        if request.note.name in self._notes:
            raise errors.AlreadyExists(f"there is a note {request.note.name!r}")
        return pb.CreateNoteResponse(note=self._keep(request.note, pb.Note.STATE_ACTIVE))

    async def GetNote(self, request: pb.GetNoteRequest, context: Context) -> pb.GetNoteResponse:
        return pb.GetNoteResponse(note=self._named(request.name))

    async def ListNotes(self, request: pb.ListNotesRequest, context: Context) -> pb.ListNotesResponse:
        place = request.place if request.HasField("place") else None
        after = page_token.read(request, str) or ("",)
        found = [
            note
            for note in self._tagged(request.tags)
            if note.name > after[0]
            and (not request.states or note.state in request.states)
            and (place is None or note.place == place)
        ]
        notes, token = page_token.cut(request, found, request.page_size or _PAGE_SIZE, lambda last: (last.name,))
        return pb.ListNotesResponse(notes=notes, next_page_token=token)

    async def UpdateNote(self, request: pb.UpdateNoteRequest, context: Context) -> pb.UpdateNoteResponse:
        stored = self._named(request.note.name)
        if request.note.etag not in ("", stored.etag):
            raise errors.Aborted(f"the note {stored.name!r} has changed", reason=reasons.ETAG_MISMATCH)
        note = updated(stored, request.note, request.update_mask, _CHANGEABLE)
        return pb.UpdateNoteResponse(note=self._keep(note, note.state))

    async def DeleteNote(self, request: pb.DeleteNoteRequest, context: Context) -> pb.DeleteNoteResponse:
        del self._notes[self._named(request.name).name]
        return pb.DeleteNoteResponse()

    async def ArchiveNote(self, request: pb.ArchiveNoteRequest, context: Context) -> pb.ArchiveNoteResponse:
        note = pb.Note()
        note.CopyFrom(self._named(request.name))
        note.text = request.reason or note.text
        return pb.ArchiveNoteResponse(note=self._keep(note, pb.Note.STATE_ARCHIVED))

    async def CountNotes(self, request: pb.CountNotesRequest, context: Context) -> pb.CountNotesResponse:
        return pb.CountNotesResponse(count=sum(1 for _ in self._tagged(request.tags)))

    def _named(self, name: str) -> pb.Note:
        note = self._notes.get(name)
        if note is None:
            raise errors.NotFound(f"there is no note {name!r}", reason=reasons.NOTE_NOT_FOUND)
        return note

    def _tagged(self, tags: Sequence[str]) -> Iterator[pb.Note]:
        named: Iterable[str] = sorted(self._notes)
        return (self._notes[name] for name in named if set(tags) <= set(self._notes[name].tags))

    def _keep(self, note: pb.Note, state: "pb.Note.State.ValueType") -> pb.Note:
        kept = pb.Note()
        kept.CopyFrom(note)
        kept.state = state
        kept.etag = uuid.uuid4().hex
        self._notes[kept.name] = kept
        return kept
