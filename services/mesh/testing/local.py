"""A mesh in one process for tests: servicers behind the whole pipeline, reached through the local channel."""

from collections.abc import Callable, Sequence

from services.mesh.call.authenticator import Authenticator, DevAuthenticator, Unlimited
from services.mesh.call.call import Call, current_call
from services.mesh.call.carrier import LocalCarrier
from services.mesh.call.handlers import Registration, collect
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.principal import Principal
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.transport.local.channel import LocalChannel

KEY = "test-key"
INTERNAL_KEY = b"an internal key of thirty-two bytes"
SIGNER = Signer(INTERNAL_KEY, "test")
SOMEBODY = Principal(tenant_id="acme", subject="alex", scopes=frozenset({"*"}))


class LocalMesh:
    """Servicers behind everything a call passes through; `channel` reaches all of them.

    Args:
        servicers: that are served.
        authenticator: of callers from outside; by default it accepts `KEY`.
        spans: where the traces of calls go.
        strict: of the channel.
        capture: the call that the test's own calls are made in.
    """

    def __init__(
        self,
        servicers: Sequence[Registration] = (),
        *,
        authenticator: Authenticator | None = None,
        spans: Spans | None = None,
        strict: bool = False,
        capture: Callable[[], Call | None] = current_call,
    ) -> None:
        self.drain = Drain()
        self.pipeline = pipeline(
            authenticator=authenticator or DevAuthenticator(KEY),
            limiter=Unlimited(),
            signer=SIGNER,
            spans=spans or Spans("test", None),
            drain=self.drain,
            sample_ratio=0.0,
        )
        self.handlers = self.pipeline.wrap_all(collect(servicers))
        self.channel = LocalChannel(self.handlers, capture=capture, outgoing=LocalCarrier(), strict=strict)

    def add(self, servicers: Sequence[Registration]) -> None:
        """Serve more servicers; stubs that were made before cannot call them."""
        self.handlers.update(self.pipeline.wrap_all(collect(servicers)))
