"""The rules for methods of the Python client, on a contract with a case of each rule."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.client_method import CannotGenerate, Method, Overrides, methods_of, services_of, snake
from tools.client_modules import OWN, modules

ROOT = Path(__file__).parents[2]
CONTRACT = """
syntax = "proto3";
package soma.zoo.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "soma/authz/v1/authz.proto";
import "soma/mesh/v1/stream.proto";

message Cat { string name = 1; }
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_CALM = 1; MOOD_VERY_CROSS = 2; }
message FeedRequest {
  // How much.
  double grams = 1;
  // Which cat.
  string cat = 2 [(buf.validate.field).string.min_len = 1];
  string token = 3;
  string cats = 4;
  optional int32 times = 5;
  Mood mood = 6;
  repeated Mood moods = 7;
  map<string, int32> shares = 8;
  google.protobuf.Struct notes = 9;
  google.protobuf.Value thanks = 10;
  string meal = 11 [
    (buf.validate.field).string = {in: ["dry", "wet"]},
    (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE
  ];
  oneof where { string bowl = 12; Cat shared = 13; }
  repeated string dishes = 14;
  bytes photo = 15;
  optional Mood after = 16;
}
message FeedResponse { Cat cat = 1; }
message NameRequest { string cat_id = 1 [(buf.validate.field).string.uuid = true]; string etag = 2; }
message NameResponse {}
message AdoptRequest {
  string request_id = 1 [(buf.validate.field).string.uuid = true, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
}
message AdoptResponse {}
message ListCatsRequest { int32 page_size = 1; string page_token = 2; }
message ListCatsResponse { repeated Cat cats = 1; string next_page_token = 2; }
message WatchRequest {}
message Started {}
message WatchResponse {
  int32 sequence = 1;
  oneof payload {
    Started started = 2; Cat cat = 3; soma.mesh.v1.StreamError error = 4; soma.mesh.v1.Heartbeat heartbeat = 5;
  }
}
message TellRequest {}
message TellResponse { oneof payload { Cat cat = 1; Cat dog = 2; Started finished = 3; } }
message HideRequest {}
message HideResponse {}
service ZooService {
  // FeedTheCat gives it something;
  // NOT_FOUND where there is none.
  rpc FeedTheCat(FeedRequest) returns (FeedResponse) { option (soma.authz.v1.rule) = {scope: "write:cats"}; }
  // CountCats does that.
  rpc CountCats(WatchRequest) returns (FeedResponse) { option (soma.authz.v1.rule) = {scope: "read:cats"}; }
  // ShowCat does that.
  rpc ShowCat(WatchRequest) returns (FeedResponse) {
    option (soma.authz.v1.rule) = {scope: "see:cats"};
    option (google.api.http) = {get: "/v1/cat"};
  }
  // SetName does that.
  rpc SetName(NameRequest) returns (NameResponse) {
    option (soma.authz.v1.rule) = {scope: "write:cats"};
    option idempotency_level = IDEMPOTENT;
  }
  // WashCat does that.
  rpc WashCat(WatchRequest) returns (NameResponse) {
    option (soma.authz.v1.rule) = {scope: "write:cats"};
    option idempotency_level = IDEMPOTENT;
  }
  // Adopt does that.
  rpc Adopt(AdoptRequest) returns (AdoptResponse) { option (soma.authz.v1.rule) = {scope: "write:cats"}; }
  // ListCats does that.
  rpc ListCats(ListCatsRequest) returns (ListCatsResponse) { option (soma.authz.v1.rule) = {scope: "read:cats"}; }
  // WatchCats does that.
  rpc WatchCats(WatchRequest) returns (stream WatchResponse) { option (soma.authz.v1.rule) = {scope: "read:cats"}; }
  // TellCats does that.
  rpc TellCats(TellRequest) returns (stream TellResponse) { option (soma.authz.v1.rule) = {scope: "read:cats"}; }
  // Hide does that.
  rpc Hide(HideRequest) returns (HideResponse) { option (soma.authz.v1.rule) = {internal: true}; }
}
"""
ZOO = "soma.zoo.v1.ZooService"


def compiled(contract: str, folder: Path) -> FileDescriptorSet:
    """The descriptors of a contract, with its comments."""
    source, out = folder / "soma" / "zoo" / "v1" / "zoo.proto", folder / "zoo.binpb"
    source.parent.mkdir(parents=True)
    source.write_text(contract)
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "-Iproto", "-Ithird_party"]
    flags = [f"--descriptor_set_out={out}", "--include_imports", "--include_source_info"]
    subprocess.run([*protoc, *flags, str(source)], cwd=ROOT, check=True, capture_output=True)
    return FileDescriptorSet.FromString(out.read_bytes())


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    return compiled(CONTRACT, tmp_path_factory.mktemp("zoo"))


def named(zoo: FileDescriptorSet, overrides: Overrides | None = None) -> dict[str, Method]:
    return {method.name: method for method in methods_of(zoo, overrides or {})}


def test_every_rpc_for_clients_has_a_method_with_its_name(zoo: FileDescriptorSet) -> None:
    words = "feed_the_cat count_cats show_cat set_name wash_cat adopt list_cats watch_cats tell_cats"
    assert list(named(zoo)) == words.split()
    assert services_of(zoo) == [("soma/zoo/v1/zoo.proto", "ZooService")]
    assert snake("ListResponseInputItems") == "list_response_input_items"


def test_a_field_becomes_a_python_parameter(zoo: FileDescriptorSet) -> None:
    feed = named(zoo)["feed_the_cat"]
    assert [(each.name, each.type, each.default, each.value) for each in feed.parameters] == [
        ("cat", "str", "", "cat"),
        ("grams", "float", "0", "grams"),
        ("token_", "str", '""', "token_"),
        ("cats", "str", '""', "cats"),
        ("times", "int | None", "None", "times"),
        ("mood", 'Literal["calm", "very_cross"] | None', "None", "enum_value(pb.Mood, mood)"),
        ("moods", 'Sequence[Literal["calm", "very_cross"]]', "()", "[enum_value(pb.Mood, each) for each in moods]"),
        ("shares", "Mapping[str, int] | None", "None", "shares"),
        ("notes", "Mapping[str, Any] | None", "None", "to_struct(notes) if notes else None"),
        ("thanks", "object", "None", "None if thanks is None else to_value(thanks)"),
        ("meal", 'Literal["dry", "wet"] | None', "None", 'meal or ""'),
        ("bowl", "str | None", "None", "bowl"),
        ("shared", "pb.Cat | None", "None", "shared"),
        ("dishes", "Sequence[str]", "()", "dishes"),
        ("photo", "bytes", 'b""', "photo"),
        (
            "after",
            'Literal["calm", "very_cross"] | None',
            "None",
            "None if after is None else enum_value(pb.Mood, after)",
        ),
    ]
    assert [each.name for each in feed.parameters if each.positional] == ["cat"]
    assert feed.parameters[1].doc == "How much."
    assert (feed.doc, feed.returns, feed.read) == (
        "Gives it something; NOT_FOUND where there is none.",
        "pb.FeedResponse",
        "unchanged",
    )


def test_only_an_idempotent_call_is_repeatable(zoo: FileDescriptorSet) -> None:
    methods = named(zoo)
    message = {
        name: methods[name].repeatable for name in ("feed_the_cat", "count_cats", "show_cat", "wash_cat", "adopt")
    }
    assert message == {
        "feed_the_cat": "False", "count_cats": "True", "show_cat": "True", "wash_cat": "True", "adopt": "True",
    }  # fmt: skip
    assert methods["set_name"].repeatable == "not etag"
    assert (methods["adopt"].has_request_id, methods["adopt"].parameters) == (True, ())


def test_lists_and_streams_return_their_items(zoo: FileDescriptorSet) -> None:
    methods = named(zoo)
    assert {name: (each.kind, each.items, each.returns) for name, each in methods.items() if each.kind != "call"} == {
        "list_cats": ("list", "cats", "pb.Cat"),
        "watch_cats": ("stream", "cat", "pb.Cat"),
        "tell_cats": ("stream", "", "pb.TellResponse"),
    }
    assert [each.name for each in methods["list_cats"].parameters] == ["page_size"]
    assert methods["set_name"].returns == "None"


def test_an_override_changes_a_method(zoo: FileDescriptorSet) -> None:
    overrides: Overrides = {
        f"{ZOO}.FeedTheCat": {
            "name": "feed",
            "renamed": {"cat": "who"},
            "omitted": ["times"],
            "positional": ["grams"],
            "converted": {"dishes": {"type": "str", "by": "plates.one"}},
            "returns": "cats.Cat",
            "read": "cats.read",
            "repeatable": True,
            "slow": True,
            "note": "It purrs.",
        },
        f"{ZOO}.WatchCats": {"by_hand": "watch"},
    }
    methods = named(zoo, overrides)
    feed = methods["feed"]
    assert "watch_cats" not in methods
    assert "watch" not in methods
    assert [each.name for each in feed.parameters if each.positional] == ["who", "grams"]
    assert "cats_" in [each.name for each in feed.parameters]  # beside the module it reads with
    assert "times" not in [each.name for each in feed.parameters]
    assert [(each.type, each.value) for each in feed.parameters if each.field == "dishes"] == [
        ("str", "plates.one(dishes)")
    ]
    assert (feed.returns, feed.read, feed.repeatable, feed.slow) == ("cats.Cat", "cats.read", "True", True)
    assert feed.doc.endswith("\nIt purrs.")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({f"{ZOO}.CountCats": {"name": "adopt"}}, "would both be 'adopt'"),
        ({f"{ZOO}.Adopt": {"by_hand": "show_cat"}}, "would both be 'show_cat'"),
        ({f"{ZOO}.Gone": {"name": "gone"}}, "RPCs that do not exist: soma.zoo.v1.ZooService.Gone"),
        ({f"{ZOO}.Adopt": {"omitted": ["colour"]}}, "soma.zoo.v1.AdoptRequest has no field colour"),
    ],
)
def test_a_wrong_override_is_refused_with_an_explanation(
    zoo: FileDescriptorSet, overrides: Overrides, message: str
) -> None:
    with pytest.raises(CannotGenerate, match=message):
        methods_of(zoo, overrides)


def test_an_rpc_that_takes_a_stream_is_refused_until_it_is_written_by_hand(tmp_path: Path) -> None:
    files = compiled(CONTRACT.replace("Adopt(AdoptRequest)", "Adopt(stream AdoptRequest)"), tmp_path)
    with pytest.raises(CannotGenerate, match=r"ZooService.Adopt takes a stream: write its method"):
        methods_of(files, {})
    assert "adopt" not in named(files, {f"{ZOO}.Adopt": {"by_hand": "adopt"}})


def test_a_field_named_like_a_keyword_of_python_is_refused(tmp_path: Path) -> None:
    files = compiled(CONTRACT.replace("string token = 3", "string from = 3"), tmp_path)
    with pytest.raises(CannotGenerate, match=r"FeedRequest.from: this is a keyword of Python"):
        methods_of(files, {})
    assert "feed_the_cat" in named(files, {f"{ZOO}.FeedTheCat": {"omitted": ["from"]}})


def test_an_rpc_without_a_comment_is_refused(tmp_path: Path) -> None:
    files = compiled(CONTRACT.replace("  // Adopt does that.\n", ""), tmp_path)
    with pytest.raises(CannotGenerate, match=r"ZooService.Adopt: its contract does not say what it does"):
        methods_of(files, {})


def test_two_services_with_the_same_name_are_refused(zoo: FileDescriptorSet) -> None:
    files = FileDescriptorSet(file=zoo.file)
    other = files.file.add()
    other.CopyFrom(next(file for file in zoo.file if file.package == "soma.zoo.v1"))
    other.package, other.name = "soma.park.v1", "soma/park/v1/zoo.proto"
    with pytest.raises(
        CannotGenerate, match=r"soma/park/v1/zoo.proto and soma/zoo/v1/zoo.proto both have a ZooService"
    ):
        services_of(files)


def test_the_modules_are_valid_python_without_unused_imports(zoo: FileDescriptorSet, tmp_path: Path) -> None:
    texts = modules(methods_of(zoo, {}), services_of(zoo))
    assert sorted(texts) == ["__init__.py", "async_methods.py", "methods.py", "stubs.py", "zoo_service.py"]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *OWN, "--config", str(ROOT / "pyproject.toml"), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert "    watch_cats = following(zoo_service.watch_cats)\n" in texts["methods.py"]
    assert "self.zoo_service: ZooServiceStub = ZooServiceStub(channel)" in texts["stubs.py"]
