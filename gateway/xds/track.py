"""Which version of a group of resources is served: the newest, unless an Envoy refused it and an older one works."""

from gateway.xds.resources import Group


class Track:
    """Newest and last accepted version of one group."""

    def __init__(self) -> None:
        self._newest: Group | None = None
        self._good: Group | None = None
        self._refused: set[str] = set()

    @property
    def current(self) -> Group | None:
        """What streams are to have; None before anything was offered."""
        if self._newest is None or self._newest.version not in self._refused:
            return self._newest
        # With nothing that ever worked there is nothing to protect: the reason may have gone (a port in use).
        return self._good or self._newest

    @property
    def fallen_back(self) -> bool:
        """Whether the current version is an older one than the newest."""
        return self.current is not self._newest

    def offer(self, group: Group) -> None:
        """Make `group` the newest."""
        self._newest = group

    def accept(self, group: Group) -> None:
        """An Envoy runs on `group`."""
        self._good = group
        self._refused.discard(group.version)

    def refuse(self, group: Group) -> None:
        """An Envoy refused some of `group`; what another one runs on stays good."""
        if self._good is None or self._good.version != group.version:
            self._refused.add(group.version)
