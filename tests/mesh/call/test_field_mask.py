"""What a field mask lets an update change."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from soma.testing.v1.note_service_pb2 import Note, Place

from services.mesh.call import errors
from services.mesh.call.field_mask import updated

CHANGEABLE = frozenset({"text", "tags", "place"})
STORED = Note(name="n", text="old", tags=["a"], place=Place(room="hall", shelf_number=1), etag="1")
GIVEN = Note(name="other", text="new", place=Place(room="attic"), etag="2")


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        ((), {"text": "new", "place": Place(room="attic")}),
        (("text",), {"text": "new"}),
        (("tags",), {"tags": []}),
        (("place.room",), {"place": Place(room="attic", shelf_number=1)}),
        (("place.shelf_number", "text"), {"text": "new", "place": Place(room="hall")}),
    ],
)
def test_only_named_fields_change(paths: tuple[str, ...], changed: dict[str, object]) -> None:
    fields = {"text": STORED.text, "tags": list(STORED.tags), "place": STORED.place, **changed}
    expected = Note(name="n", etag="1", **fields)  # type: ignore[arg-type]
    assert updated(STORED, GIVEN, FieldMask(paths=paths), CHANGEABLE) == expected
    assert STORED.text == "old"


@pytest.mark.parametrize("path", ["nothing", "place.nothing", "text.more", "name", "etag", ""])
def test_an_unknown_or_immutable_field_is_refused(path: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        updated(STORED, GIVEN, FieldMask(paths=["text", path]), CHANGEABLE)
    assert refused.value.reason == "FIELD_MASK_INVALID"
    assert refused.value.facts.violations[0].field == "update_mask"
