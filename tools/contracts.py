"""Reads the RPCs of a descriptor set: who may call each, and how. As a program, it reports gaps in the contracts.

It also reports gaps in the reasons of errors. It reads the set through a descriptor pool of its own, so that it can
check the set before the Python generated from it is installed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tools import reasons


@dataclass(frozen=True)
class Rpc:
    """One method of a service, with the options that the rules of this repository use."""

    name: str  # `soma.memory.v1.MemoryService.Recall`
    access: str  # `scope`, `open`, `internal`, or empty when the contract does not say
    scope: str
    has_http: bool
    client_streaming: bool
    server_streaming: bool


def rpcs_of(descriptors: bytes) -> list[Rpc]:
    """Every RPC of the `soma` packages in a serialised FileDescriptorSet, in file order."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
    rule: Any = pool.FindExtensionByName("soma.authz.v1.rule")
    http: Any = pool.FindExtensionByName("google.api.http")
    found = []
    for file in files.file:
        if not file.package.startswith("soma."):
            continue
        for service in file.service:
            for method in service.method:
                options: Any = options_class.FromString(method.options.SerializeToString())
                found.append(
                    Rpc(
                        name=f"{file.package}.{service.name}.{method.name}",
                        access=options.Extensions[rule].WhichOneof("access") or "",
                        scope=options.Extensions[rule].scope,
                        has_http=options.HasExtension(http),
                        client_streaming=method.client_streaming,
                        server_streaming=method.server_streaming,
                    )
                )
    return found


def gaps_of(rpc: Rpc) -> list[str]:
    """What the contract of one RPC leaves out, in words."""
    gaps = []
    if not rpc.access:
        gaps.append(f"{rpc.name}: does not say who may call it; add `option (soma.authz.v1.rule)`")
    if rpc.access != "internal" and not rpc.client_streaming and not rpc.has_http:
        gaps.append(f"{rpc.name}: a public RPC without a REST binding; add `option (google.api.http)`")
    return gaps


def main() -> int:
    """Check the descriptor set whose path is the only argument."""
    descriptors = Path(sys.argv[1]).read_bytes()
    rpcs, declared = rpcs_of(descriptors), reasons.reasons_of(descriptors)
    gaps = [*(gap for rpc in rpcs for gap in gaps_of(rpc)), *reasons.gaps_of(declared)]
    print(*gaps, sep="\n", end="\n" if gaps else "")
    print(f"contracts: {len(rpcs)} RPCs, {len(declared)} reasons, {len(gaps)} gaps")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
