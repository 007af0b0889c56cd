"""Which surface a path belongs to, because errors on the path have the shape of that surface.

A path belongs to a surface if it is one of the surface's paths, or lies in one of its spaces. A path that resembles one
of the contracts' paths never belongs to a space: its client probably meant the contract.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.surfaces.surface import prefixes, templates
from services.mesh.surfaces.template import Template

# Expressions for the text that may follow a prefix of whole segments, and for the query after a whole path.
_BELOW = r"([/:?].*)?"
_QUERY = r"(\?.*)?"


@dataclass(frozen=True)
class Claim:
    """A surface and the paths that it claims, as regular expressions that include queries; empty means no path.

    Attributes:
        own: the paths of the surface.
        spaces: one expression for each space, in the order of the surface.
        others: paths inside the spaces that belong to contracts or to other surfaces.
    """

    surface: pb.Surface
    own: str
    spaces: tuple[str, ...]
    others: str


def claims(surfaces: Sequence[pb.Surface], contracts: Iterable[str]) -> list[Claim]:
    """The claims of all surfaces; no two share a path. `contracts` are the path templates of the contracts."""
    near = _near_contracts(surfaces, contracts)
    return [
        Claim(
            surface,
            "|".join(map(_path_regex, templates(surface))),
            tuple("|".join(map(_prefix_regex, space.prefixes)) for space in surface.spaces),
            "|".join(_others(surface, surfaces, near)),
        )
        for surface in surfaces
    ]


def _others(surface: pb.Surface, surfaces: Iterable[pb.Surface], near: Mapping[str, str]) -> Iterator[str]:
    """The paths inside the spaces of a surface that do not belong to it, as expressions."""
    spaces = prefixes(surface)
    yield from (paths for literal, paths in near.items() if _overlaps(literal, spaces))
    for other in surfaces:
        if other is not surface:
            yield from (_path_regex(each) for each in templates(other) if _overlaps(each.literal, spaces))
            yield from (_prefix_regex(prefix) for prefix in prefixes(other) if _is_below(prefix, spaces))


def _path_regex(path: Template) -> str:
    return f"({path.regex}){_QUERY}"


def _prefix_regex(prefix: str) -> str:
    return re.escape(prefix) + _BELOW


def _is_below(prefix: str, others: Iterable[str]) -> bool:
    """Whether a prefix lies below one of the others."""
    return any(prefix.startswith(f"{other}/") for other in others)


def _overlaps(literal: str, spaces: Sequence[str]) -> bool:
    """Whether some path that begins with `literal` may lie in a space."""
    return literal in spaces or _is_below(literal, spaces) or any(space.startswith(f"{literal}/") for space in spaces)


def _near_contracts(surfaces: Iterable[pb.Surface], contracts: Iterable[str]) -> Mapping[str, str]:
    """Expressions for paths that resemble those of the contracts, by the prefix that they have in common.

    A path resembles one of a contract if the word after `/v1/` is the same. If paths of a surface begin with this word
    too, such as `chat`, the next word must be the same as well; the path of the word alone still counts.
    """
    literals = {each.literal for surface in surfaces for each in templates(surface)}
    shared = {_head(literal, 3) for literal in literals if literal != _head(literal, 3)}
    near: dict[str, str] = {}
    for contract in contracts:
        literal = re.split("[{:]", contract, maxsplit=1)[0].rstrip("/")
        head = _head(literal, 3)
        if head not in shared:
            near[head] = _prefix_regex(head)
        elif literal == head:
            near[head] = re.escape(head) + _QUERY
        else:
            near[_head(literal, 4)] = _prefix_regex(_head(literal, 4))
    return dict(sorted(near.items()))


def _head(path: str, pieces: int) -> str:
    return "/".join(path.split("/")[:pieces])
