"""The stream of one area in Redis, `soma:events:<area>`: its entries, and how far each consumer (group) has come."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import redis.asyncio as aioredis
from redis import exceptions

from services.mesh.stores.redis import answer_of, typed_errors
from services.mesh.stores.stream_position import BEGINNING, Position, entry_id, position

STREAM = "soma:events:"
FIELD = "event"
# The events that a stream without consumers keeps.
MAX_LENGTH = 100_000

# One script, so that nothing is added to a stream that has lost entries.
_ADD = """
local last, groups = '0-0', 0
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
        if info[i] == 'groups' then groups = info[i + 1] end
    end
end
local ms, number = string.match(last, '^(%d+)-(%d+)$')
ms, number = tonumber(ms), tonumber(number)
local known_ms, known_number = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = ms > known_ms or (ms == known_ms and number >= known_number)
local answer = {whole and 1 or 0, last, groups}
if not whole then return answer end
local read = groups > 0 or ARGV[3] == '0'
local command = {'XADD', KEYS[1]}
if not read then command = {'XADD', KEYS[1], 'MAXLEN', '~', ARGV[3]} end
local head = #command
for place, word in ipairs({'*', 'event', '', 'tenant', '', 'row', '', 'consumer', ''}) do
    command[head + place] = word
end
for i = 4, #ARGV, 4 do
    command[head + 3], command[head + 5], command[head + 7] = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    command[head + 9] = ARGV[i + 3]
    local id = redis.call(unpack(command, 1, ARGV[i + 3] == '' and head + 7 or head + 9))
    if read then answer[#answer + 1] = id end
end
return answer
"""


class GroupLost(Exception):
    """The group a consumer reads with is not in Redis: it was never made, or Redis has lost its data."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an outbox for the stream: its id, and the content of the entry."""

    id: int
    tenant_id: str
    event: bytes
    consumer: str


@dataclass(frozen=True, slots=True)
class Added:
    """The result of `add`: the position of each row, in the order of the rows, and whether the stream has groups.

    A stream without a known consumer and without groups gives no positions, because nobody needs them. `lost` is set
    if nothing was added because the stream has lost entries: it is the newest position that remains.
    """

    positions: Sequence[Position] = ()
    groups: bool = False
    lost: Position | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as a consumer reads it; `row` is 0 and `tenant_id` empty if the entry does not have them.

    `consumer` is set if the entry is for one consumer alone.
    """

    id: str
    event: bytes
    tenant_id: str = ""
    row: int = 0
    consumer: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """How far a consumer has come: entries before `bound` are handled, `unread` were not read, `pending` were read."""

    name: str
    unread: int
    pending: int
    bound: Position


class EventStream:
    """The stream of one area.

    Every method raises Unavailable while Redis is away.
    """

    def __init__(self, client: aioredis.Redis, area: str) -> None:
        self.name = STREAM + area
        self._redis = client

    @cached_property
    def _add(self) -> Any:
        """The script, whose digest is computed once."""
        return self._redis.register_script(_ADD)

    async def add(self, newest: Position, rows: Sequence[Row], *, consumed: bool) -> Added:
        """Add rows, unless the stream has lost entries.

        Args:
            newest: the newest position that an earlier call returned; a stream without it has lost entries.
            rows: without any, the stream is only checked.
            consumed: whether the stream has a known consumer; without one, and without groups, old entries are deleted.
        """
        most = 0 if consumed else MAX_LENGTH
        words = [word for row in rows for word in (row.event, row.tenant_id, row.id, row.consumer)]
        with typed_errors():
            whole, last, groups, *ids = await self._add(keys=(self.name,), args=(*newest, most, *words))
        if not whole:
            return Added(lost=position(last.decode()))
        return Added([position(id.decode()) for id in ids], groups=groups > 0)

    async def create_group(self, name: str) -> None:
        """Make a group that reads the stream from its beginning, if there is none of this name."""
        with typed_errors():
            try:
                await self._redis.xgroup_create(self.name, name, id="0", mkstream=True)
            except exceptions.ResponseError as error:
                if "BUSYGROUP" not in answer_of(error):
                    raise

    async def destroy_group(self, name: str) -> None:
        """Delete a group, if there is one."""
        with typed_errors():
            try:
                await self._redis.xgroup_destroy(self.name, name)
            except exceptions.ResponseError as error:
                if "requires the key to exist" not in answer_of(error):
                    raise

    async def read(self, group: str, count: int, milliseconds: int | None) -> list[Entry]:
        """Entries for the one consumer of a group, oldest first.

        Args:
            milliseconds: how long to wait for entries that were never read; None reads again what was read and not
                acknowledged.

        Raises:
            GroupLost: there is no such group.
        """
        after = "0" if milliseconds is None else ">"
        with typed_errors():
            try:
                found: Any = await self._redis.xreadgroup(group, group, {self.name: after}, count, milliseconds)
            except exceptions.ResponseError as error:
                if "NOGROUP" in answer_of(error):
                    raise GroupLost(self.name) from error
                raise
        streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or ()]
        return [_entry(id, fields or {}) for entries in streams for id, fields in entries]

    async def acknowledge(self, group: str, ids: Sequence[str]) -> None:
        """Mark entries as handled."""
        with typed_errors():
            await self._redis.xack(self.name, group, *ids)

    async def groups(self, expected: Collection[str] = ()) -> list[Group]:
        """Every group, by name; an `expected` group that Redis has lost is listed as if it had handled nothing."""
        with typed_errors():
            try:
                infos: Any = await self._redis.xinfo_groups(self.name)
            except exceptions.ResponseError as error:
                if "no such key" not in answer_of(error):
                    raise
                infos = ()
            length = await self._redis.xlen(self.name)
            found = [await self._group(each, length) for each in infos]
            lost = set(expected) - {group.name for group in found}
            found += [Group(name, unread=length, pending=0, bound=BEGINNING) for name in lost]
            return sorted(found, key=lambda group: group.name)

    async def _group(self, info: Any, length: int) -> Group:
        name = info["name"].decode()
        ms, number = position(info["last-delivered-id"].decode())
        bound = (ms, number + 1)
        if info["pending"]:
            # This is read later than the rest; entries that are no longer pending by then are handled, too.
            oldest: Any = (await self._redis.xpending(self.name, name))["min"]
            bound = position(oldest.decode()) if oldest else bound
        # Redis knows no lag where entries were deleted by hand.
        unread = info.get("lag")
        return Group(name, length if unread is None else unread, info["pending"], bound)

    async def trim(self, bound: Position) -> None:
        """Delete the entries before a position."""
        with typed_errors():
            await self._redis.xtrim(self.name, minid=entry_id(bound), approximate=False)

    async def length(self) -> int:
        """The number of entries."""
        with typed_errors():
            return int(await self._redis.xlen(self.name))


def _entry(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(
        id.decode(),
        fields.get(b"event", b""),
        fields.get(b"tenant", b"").decode(errors="replace"),
        int(fields.get(b"row", b"0")),
        fields.get(b"consumer", b"").decode(errors="replace"),
    )
