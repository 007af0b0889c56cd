"""Whose errors the clients of a path know: a surface's, where the path is its own or lies in one of its spaces.

A path near those of the contracts is a mistake for one of theirs, whatever space it lies in.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.surfaces.surface import prefixes, templates
from services.mesh.surfaces.template import Template

# What may follow a whole segment of a path, and what may follow a whole path.
_AFTER = r"([/:?].*)?"
_QUERY = r"(\?.*)?"


@dataclass(frozen=True)
class Claim:
    """A surface, and the paths that it claims, queries included, as expressions; one that is empty matches nothing.

    Attributes:
        own: its own paths.
        spaces: each of its spaces, in their order.
        others: what lies in its spaces and belongs to contracts and other surfaces.
    """

    surface: pb.Surface
    own: str
    spaces: tuple[str, ...]
    others: str


def claims(surfaces: Sequence[pb.Surface], contracts: Iterable[str]) -> list[Claim]:
    """Those of all surfaces beside contracts with these templates of paths; no path is claimed by two of them."""
    near = _near(surfaces, contracts)
    return [
        Claim(
            surface,
            "|".join(map(_whole, templates(surface))),
            tuple("|".join(map(_below, space.prefixes)) for space in surface.spaces),
            "|".join(_others(surface, surfaces, near)),
        )
        for surface in surfaces
    ]


def _others(surface: pb.Surface, surfaces: Iterable[pb.Surface], near: Mapping[str, str]) -> Iterator[str]:
    """What lies in the spaces of a surface and is nobody's mistake for one of its paths."""
    spaces = prefixes(surface)
    yield from (paths for literal, paths in near.items() if _touches(literal, spaces))
    for other in surfaces:
        if other is not surface:
            yield from (_whole(each) for each in templates(other) if _touches(each.literal, spaces))
            yield from (_below(prefix) for prefix in prefixes(other) if _inside(prefix, spaces))


def _whole(path: Template) -> str:
    return f"({path.regex}){_QUERY}"


def _below(prefix: str) -> str:
    return re.escape(prefix) + _AFTER


def _inside(prefix: str, others: Iterable[str]) -> bool:
    """Whether a space is a narrower one than some other."""
    return any(prefix.startswith(f"{other}/") for other in others)


def _touches(literal: str, spaces: Sequence[str]) -> bool:
    """Whether paths that begin with `literal` may lie in a space."""
    return literal in spaces or _inside(literal, spaces) or any(space.startswith(f"{literal}/") for space in spaces)


def _near(surfaces: Iterable[pb.Surface], contracts: Iterable[str]) -> Mapping[str, str]:
    """What paths match that lie near those of the contracts, by what they begin with.

    Near is what begins with the same word after `/v1/`. Where a surface's paths begin with it too, as with `chat`, it
    is what begins with the same two, and the path of that one word.
    """
    literals = {each.literal for surface in surfaces for each in templates(surface)}
    shared = {_head(literal, 3) for literal in literals if literal != _head(literal, 3)}
    near: dict[str, str] = {}
    for contract in contracts:
        literal = re.split("[{:]", contract, maxsplit=1)[0].rstrip("/")
        head = _head(literal, 3)
        if head not in shared:
            near[head] = _below(head)
        elif literal == head:
            near[head] = re.escape(head) + _QUERY
        else:
            near[_head(literal, 4)] = _below(_head(literal, 4))
    return dict(sorted(near.items()))


def _head(path: str, pieces: int) -> str:
    return "/".join(path.split("/")[:pieces])
