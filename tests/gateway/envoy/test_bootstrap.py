"""The bootstrap, which Envoy itself checks."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.envoy.bootstrap import write_bootstrap
from tests.gateway.conftest import ENVOY


@pytest.mark.parametrize("admin", [True, False])
async def test_envoy_accepts_the_bootstrap_with_and_without_an_admin_socket(tmp_path: Path, admin: bool) -> None:
    path = tmp_path / "bootstrap.json"
    write_bootstrap(path, xds_port=1234, admin_socket=tmp_path / "admin.sock" if admin else None, node_id="n")
    process = await asyncio.create_subprocess_exec(
        str(ENVOY),
        *("--mode", "validate", "-c", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"deprecated" not in output
    assert ("admin" in json.loads(path.read_text())) is admin


def test_an_admin_socket_too_long_for_the_kernel_is_refused_by_name(tmp_path: Path) -> None:
    socket = tmp_path / ("x" * 108)
    with pytest.raises(ValueError, match="longer than 107 bytes"):
        write_bootstrap(tmp_path / "bootstrap.json", xds_port=1, admin_socket=socket, node_id="n")
