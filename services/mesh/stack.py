"""Every interceptor in its order: what a call meets first is first."""

from services.mesh.authenticator import Authenticator
from services.mesh.interceptors.compression import compression
from services.mesh.interceptors.deadline import deadline
from services.mesh.interceptors.drain import Drain
from services.mesh.interceptors.logs import logs
from services.mesh.interceptors.metrics import metrics
from services.mesh.interceptors.peer import peer
from services.mesh.interceptors.principal import principal
from services.mesh.interceptors.tracing import tracing
from services.mesh.interceptors.validation import validation
from services.mesh.pipeline import Pipeline
from services.mesh.spans import Spans
from services.mesh.tls.names import Allowed
from services.mesh.token import Signer


def pipeline(
    *,
    authenticator: Authenticator,
    signer: Signer,
    spans: Spans,
    drain: Drain,
    sample_ratio: float,
    peers: Allowed | None = None,
) -> Pipeline:
    """The pipeline of a process.

    Drain and metrics see every call, refused ones too; nothing is validated before its caller is known.
    `peers` says which processes may call, where they have certificates.
    """
    return Pipeline(
        (
            drain.bind,
            metrics,
            logs,
            tracing(spans, sample_ratio),
            deadline,
            *((peer(peers),) if peers is not None else ()),
            principal(authenticator, signer),
            validation,
            compression,
        )
    )
