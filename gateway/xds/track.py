"""Decides which version of a group is served: the newest, unless an Envoy refused it and an older one was accepted."""

from gateway.xds.resources import Group


class Track:
    """The newest and the last accepted version of one group."""

    def __init__(self) -> None:
        self._newest: Group | None = None
        self._good: Group | None = None
        self._refused: set[str] = set()

    @property
    def current(self) -> Group | None:
        """The version to serve; None before one was offered."""
        if self._newest is None or self._newest.version not in self._refused:
            return self._newest
        # Without an accepted version, the refused one is tried again: its reason, such as a port in use, may be gone.
        return self._good or self._newest

    @property
    def fallen_back(self) -> bool:
        """Whether the current version is older than the newest."""
        return self.current is not self._newest

    def offer(self, group: Group) -> None:
        """Make `group` the newest."""
        self._newest = group

    def accept(self, group: Group) -> None:
        """Note that an Envoy has accepted `group`."""
        self._good = group
        self._refused.discard(group.version)

    def refuse(self, group: Group) -> None:
        """Note that an Envoy refused resources of `group`; a group that another Envoy has accepted stays good."""
        if self._good is None or self._good.version != group.version:
            self._refused.add(group.version)
