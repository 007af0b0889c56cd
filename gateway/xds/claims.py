"""Whose errors the clients of a path know: a surface's, where the path is its own or lies in one of its spaces.

A path near those of the contracts is a mistake for one of theirs, whatever space it lies in.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.surfaces.surface import prefixes, templates

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
    owned = {_key(surface): _own(surface) for surface in surfaces}
    near = _near(surfaces, contracts)
    found: list[Claim] = []
    for surface in surfaces:
        others = [own for key, own in owned.items() if key != _key(surface)]
        for other in surfaces:
            if other is not surface:
                others += [_below(prefix) for prefix in prefixes(other) if _inside(prefix, prefixes(surface))]
        found.append(
            Claim(
                surface,
                owned[_key(surface)],
                tuple("|".join(map(_below, space.prefixes)) for space in surface.spaces),
                "|".join([*near, *others]),
            )
        )
    return found


def _key(surface: pb.Surface) -> tuple[str, str]:
    return surface.service, surface.name


def _own(surface: pb.Surface) -> str:
    return "|".join(f"({each.regex}){_QUERY}" for each in templates(surface))


def _below(prefix: str) -> str:
    return re.escape(prefix) + _AFTER


def _inside(prefix: str, others: Iterable[str]) -> bool:
    """Whether a space is a narrower one than some other."""
    return any(prefix.startswith(f"{other}/") for other in others)


def _near(surfaces: Iterable[pb.Surface], contracts: Iterable[str]) -> list[str]:
    """What paths match that lie near those of the contracts.

    Near is what begins with the same word after `/v1/`. Where a surface's paths begin with it too, as with `chat`, it
    is what begins with the same two, and the path of that one word.
    """
    literals = {each.literal for surface in surfaces for each in templates(surface)}
    shared = {_head(literal, 3) for literal in literals if literal != _head(literal, 3)}
    near: set[str] = set()
    for contract in contracts:
        literal = re.split("[{:]", contract, maxsplit=1)[0].rstrip("/")
        head = _head(literal, 3)
        if head not in shared:
            near.add(_below(head))
        elif literal == head:
            near.add(re.escape(head) + _QUERY)
        else:
            near.add(_below(_head(literal, 4)))
    return sorted(near)


def _head(path: str, pieces: int) -> str:
    return "/".join(path.split("/")[:pieces])
