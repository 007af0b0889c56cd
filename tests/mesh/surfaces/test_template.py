"""Templates of paths: what they match, which have a path in common, and which a surface may declare."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.surfaces.template import Template, declared, plain, template


@pytest.mark.parametrize(
    ("text", "paths", "others"),
    [
        ("/v1/models", ("/v1/models",), ("/v1/models/", "/v1/modelsx", "/v1/model")),
        ("/v1/jobs/{id}", ("/v1/jobs/a", "/v1/jobs/a.b:c"), ("/v1/jobs", "/v1/jobs/", "/v1/jobs/a/b")),
        ("/v1/jobs/{id=*}/logs", ("/v1/jobs/a/logs",), ("/v1/jobs//logs", "/v1/jobs/logs")),
        ("/v1/files/{rest=**}", ("/v1/files/a", "/v1/files/a/b"), ("/v1/files", "/v1/filesx")),
        ("/v1/keys/{key=**}:archive", ("/v1/keys/a/b:archive",), ("/v1/keys/a", "/v1/keys/a:archived")),
        ("/v1/{name=shelves/*/books/**}", ("/v1/shelves/a/books/b/c",), ("/v1/shelves/a/b/books/c",)),
        ("/a.b/{id}", ("/a.b/c",), ("/axb/c",)),
    ],
)
def test_a_template_matches_its_paths_and_no_others(text: str, paths: tuple[str, ...], others: tuple[str, ...]) -> None:
    regex = template(text).regex
    assert [path for path in paths if re.fullmatch(regex, path)] == list(paths)
    assert [path for path in others if re.fullmatch(regex, path)] == []


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("/v1/models", "/v1/models", True),
        ("/v1/models", "/v1/models/{id}", False),
        ("/v1/models/{id}", "/v1/models/{name=*}", True),
        ("/v1/models/{id}", "/v1/models/available", True),
        ("/v1/models/{id}", "/v1/models/{id}:load", True),
        ("/v1/models/{id}", "/v1/models/{id}/stats", False),
        ("/v1/files/{rest=**}", "/v1/files/{id}/content", True),
        ("/v1/files/{rest=**}", "/v1/files", False),
        ("/v1/{a}/x", "/v1/y/{b}", True),
        ("/v1/{a}/x", "/v1/y/{b}/z", False),
        ("/v1/keys/{key=**}:archive", "/v1/keys/{key=**}:restore", False),
        ("/soma.{rest=**}", "/soma.memory.v1.MemoryService/Recall", True),
        ("/soma.{rest=**}", "/soma", False),
    ],
)
def test_whether_two_templates_have_a_path_in_common_is_known(one: str, other: str, shared: bool) -> None:
    assert template(one).shares(template(other)) is shared
    assert template(other).shares(template(one)) is shared


SEGMENTS = st.sampled_from(["a", "b", "ab", "{x}", "{x=*}", "{x}:a", "b:a"])
TEMPLATES = st.builds(
    lambda segments, rest: template("/v1" + "".join(f"/{segment}" for segment in segments) + rest),
    st.lists(SEGMENTS, max_size=4),
    st.sampled_from(["", "", "/{rest=**}"]),
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "b:a", "a:a", ""]), max_size=5).map(
    lambda segments: "/v1" + "".join(f"/{segment}" for segment in segments)
)


@given(TEMPLATES, TEMPLATES, PATHS)
def test_two_templates_that_match_the_same_path_have_it_in_common(one: Template, other: Template, path: str) -> None:
    both = all(re.fullmatch(each.regex, path) for each in (one, other))
    assert one.shares(other) or not both


@pytest.mark.parametrize(
    "text",
    [
        "/mcp",
        "/v1/files/{id}",
        "/v1/files/{id}:run",
        "/v1/files/{rest=**}",
        "/.well-known/agent-card.json",
        "/a/{b=*}/c",
    ],
)
def test_a_surface_may_declare_this_template(text: str) -> None:
    assert declared(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "mcp", "/mcp/", "//mcp", "/{id}", "/{rest=**}", "/a/{rest=**}/b", "/a/x{id}", "/a/{}", "/a/{id"),
        *("/a/[^/]+", "/a?b=c", "/a/*", "/a/../b", "/a/.", "/a b", "/a%20b", "/ä", "/a/{ID}", "/" + "a" * 256),
        *("/a\n", "/a/{id=**}:x", "/a/{x=b/*}"),
    ],
)
def test_a_surface_may_not_declare_this_template(text: str) -> None:
    with pytest.raises(ValueError, match=r"template|longer"):
        declared(text)


def test_the_literal_part_ends_before_the_first_variable() -> None:
    assert [template(text).literal for text in ("/v1/jobs/{id}/logs", "/v1/jobs", "/v1/{a}")] == [
        *("/v1/jobs", "/v1/jobs", "/v1")
    ]
    assert (template("/v1").fixed, template("/v1/{a}").fixed) == (True, False)


def test_a_plain_path_has_no_variables() -> None:
    assert plain("/v1/x") == "/v1/x"
    for text in ("/v1/", "/v1/{x}", "v1", "/"):
        with pytest.raises(ValueError, match="no path"):
            plain(text)
