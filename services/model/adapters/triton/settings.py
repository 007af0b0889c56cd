"""Settings of NVIDIA Triton: table `[triton]`, `SOMA_TRITON_*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, DirectoryPath, Field, FilePath
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings
from services.model.adapters.triton.address import address

NAME = "triton"
"""The name of the provider."""

SOURCE = Path(__file__).parents[4]


def _url(given: str) -> str:
    if given:
        address(given)
    return given


class TritonSettings(SomaSettings):
    """The server to use, and the files of the one that `soma up --triton` starts."""

    table: ClassVar[str | None] = "triton"
    model_config = SettingsConfigDict(env_prefix="SOMA_TRITON_", frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_url)] = Field(
        "", description="a server that runs: grpc://HOST:PORT, or grpcs:// for TLS; none when unset"
    )
    ca_file: FilePath | None = Field(None, description="CAs of its certificate, PEM; the system's when unset")
    cert_file: FilePath | None = Field(None, description="certificate chain that it asks clients for, PEM")
    key_file: FilePath | None = Field(None, description="the key of that certificate, PEM")
    environment: Path = Field(
        SOURCE / ".tools" / "triton",
        description="virtual environment of the server that `soma up --triton` starts; made by `make triton`",
    )
    repository: DirectoryPath | None = Field(None, description="folder of further models for that server")
    load: tuple[str, ...] = Field(("embedder", "slm"), description="models that it loads when it starts")
    gguf: FilePath | None = Field(None, description="GGUF file of its model `slm`; SmolLM2's when unset")
    answer_timeout: float = Field(
        10.0, gt=0, description="most seconds for the vectors of one batch of texts; then this process makes them"
    )
    look_interval: float = Field(1.0, gt=0, description="seconds between two looks whether the server is there")
