"""Declares and builds the policy service."""

from contextlib import AsyncExitStack

from soma.policy.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server

from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.policy.service import PolicyService
from services.policy.settings import PolicySettings
from services.policy.watched_rules import WatchedRules


async def build(_mesh: Mesh, settings: PolicySettings, _stack: AsyncExitStack) -> Service:
    """Read the rules and watch their file.

    Raises:
        FailedPrecondition: the rule file is missing or wrong.
    """
    rules = WatchedRules(settings.rules)
    return Service(
        servicers=((add_PolicyServiceServicer_to_server, PolicyService(rules)),),
        jobs=(Job("rules", rules.step, every=settings.reload_seconds, first=settings.reload_seconds),),
    )


# Redis counts the requests of callers from outside for all processes together.
SERVICE = Declaration(name="policy", build=build, settings=PolicySettings, needs=("redis",))
