"""The result table of a run."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Row:
    """One figure: the value here, the value of the peer or limit, and whether the target is met."""

    figure: str
    here: str
    peer: str
    ratio: str
    target: str
    met: bool | None

    @classmethod
    def failed(cls, figure: str, error: BaseException) -> "Row":
        """The row of a figure that could not be measured."""
        return cls(figure, f"not measured: {(str(error) or repr(error)).splitlines()[0][:80]}", "", "", "", False)


HEAD = ("figure", "here", "peer or limit", "ratio", "target", "met")
_MET = {True: "yes", False: "NO", None: "-"}


def render(rows: Sequence[Row]) -> str:
    """The table as text."""
    lines = [HEAD, *((*astuple(row)[:-1], _MET[row.met]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join((texts[0], "-" * len(texts[0]), *texts[1:]))
