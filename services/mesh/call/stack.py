"""Every interceptor in its order; a call passes the first one first."""

from services.mesh.call.authenticator import Authenticator, Limiter
from services.mesh.call.interceptors.compression import compression
from services.mesh.call.interceptors.deadline import deadline
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.interceptors.logs import logs
from services.mesh.call.interceptors.metrics import metrics
from services.mesh.call.interceptors.peer import peer
from services.mesh.call.interceptors.principal import principal
from services.mesh.call.interceptors.tracing import tracing
from services.mesh.call.interceptors.validation import validation
from services.mesh.call.pipeline import Pipeline
from services.mesh.call.process_name import Allowed
from services.mesh.call.spans import Spans
from services.mesh.call.token import Signer


def pipeline(
    *,
    authenticator: Authenticator,
    limiter: Limiter,
    signer: Signer,
    spans: Spans,
    drain: Drain,
    sample_ratio: float,
    peers: Allowed | None = None,
) -> Pipeline:
    """The pipeline of a process.

    Drain and metrics see every call, also a refused one; no request is validated before its caller is known.
    `peers` says which processes may call, where processes have certificates.
    """
    return Pipeline(
        (
            drain.bind,
            metrics,
            logs,
            tracing(spans, sample_ratio),
            deadline,
            *((peer(peers),) if peers is not None else ()),
            principal(authenticator, limiter, signer),
            validation,
            compression,
        )
    )
