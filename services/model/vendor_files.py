"""Reads the files of vendors: TOML files of the package in `vendors/`, and the operator's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from services.mesh.process import toml
from services.model.catalogue_file import invalid
from services.model.vendor import Vendor

SHIPPED = Path(__file__).parent / "vendors"

_VENDOR = TypeAdapter(Vendor)


def load(own: Path | None = None) -> Mapping[str, Vendor]:
    """All vendors by name, in the order of their rank. A file in the folder `own` replaces the shipped one of its name.

    Raises:
        FailedPrecondition: a file cannot be read, or has an invalid key or value; the message names both.
    """
    files = {path.stem: path for path in SHIPPED.glob("*.toml")}
    if own is not None:
        files |= {path.stem: path for path in own.glob("*.toml")}
    vendors = sorted((read(path) for path in files.values()), key=lambda vendor: (vendor.rank, vendor.name))
    found = {vendor.name: vendor for vendor in vendors}
    for vendor in vendors:
        if vendor.server.elsewhere and vendor.server.elsewhere not in found:
            raise invalid(f"{files[vendor.name]} is wrong: server.elsewhere: there is no such vendor")
    return found


def read(path: Path) -> Vendor:
    """The vendor that a file describes. Its name is the name of the file.

    Raises:
        FailedPrecondition: see `load`.
    """
    try:
        return replace(_VENDOR.validate_python(toml.parsed(path.read_bytes())), name=path.stem)
    except ValidationError as error:
        raise invalid(f"{path} is wrong: {'; '.join(_why(each) for each in error.errors())}") from error
    except OSError as error:
        raise invalid(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise invalid(f"{path} is wrong: {error}") from error


def _why(error: Any) -> str:
    where = ".".join(str(step + 1) if isinstance(step, int) else str(step) for step in error["loc"])
    unknown = error["type"] == "unexpected_keyword_argument"
    return f"{where}: {'there is no such key' if unknown else error['msg'].removeprefix('Value error, ')}"
