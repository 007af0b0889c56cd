"""Writes `contracts/`, the client that betterproto2 generates from the contracts, with the tools of this environment.

.venv/bin/python generate.py
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# The service that is called, and the details of errors. protoc adds the files that these import.
CONTRACTS = ("soma/orchestrator/v1/chat_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto")


def main() -> int:
    """Generate the client; returns protoc's exit status."""
    # In a package of its own, because protobuf has a package `google` too.
    out = HERE / "contracts"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    # protoc looks for the plugin on PATH. The plugin looks there for ruff, which formats the files it writes.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={ROOT / 'proto'}", f"--proto_path={ROOT / 'third_party'}"),
            f"--python_betterproto2_out={out}",
            # The client uses asyncio and grpclib.
            "--python_betterproto2_opt=client_generation=async",
            *CONTRACTS,
        ],
        env={**os.environ, "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        # The plugin also prints the name of each file it writes; nobody needs this list.
        print(done.stderr, end="", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
