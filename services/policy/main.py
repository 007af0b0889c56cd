"""Builds the policy service."""

from contextlib import AsyncExitStack

from soma.policy.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server

from services.mesh.background import in_background
from services.mesh.mesh import Mesh
from services.mesh.service import Service
from services.policy.service import PolicyService
from services.policy.settings import PolicySettings
from services.policy.watched import WatchedRules


async def build(_: Mesh, stack: AsyncExitStack) -> Service:
    """Read the rules and watch their file.

    Raises:
        FailedPrecondition: the rule file is missing or wrong.
    """
    settings = PolicySettings()
    rules = WatchedRules(settings.rules, settings.reload_seconds)
    in_background(stack, rules.run)
    return Service(name="policy", servicers=((add_PolicyServiceServicer_to_server, PolicyService(rules)),))
