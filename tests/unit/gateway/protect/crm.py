"""A CRM in memory for the steps of protecting: it stores, counts writes, and can be made to behave badly."""

from collections.abc import Callable, Mapping

from gateway.protect.reading import CrmRefused, CrmUnreachable, Listed, Reading, RecordChanged
from policies.profile import load_profile
from policies.walk import Walk, WalkEntity

ENTITY = WalkEntity(
    "contact",
    tuple(one for one in load_profile("creme").walk.entities[0].fields),  # type: ignore[union-attr]
)
WALK = Walk(sign_in={}, entities=(ENTITY,), trims=True, page=3)


class Killed(BaseException):
    """The process ends here, as with SIGKILL: nothing after this line happens."""


class MemoryCrm:
    """Records by id. store: what becomes of a text that is written; refuse: fields that are refused; hook: called
    before and after each write with "before" or "after"."""

    at_once = 1  # so that what a hook sees does not depend on the order of tasks
    batch = 2

    def __init__(self, records: Mapping[str, Mapping[str, str]]) -> None:
        self.records = {key: dict(fields) for key, fields in records.items()}
        self.writes: dict[str, int] = {}
        self.store: Callable[[str, str], str] = lambda _, text: text
        self.refuse: frozenset[str] = frozenset()
        self.limits: dict[str, int] = {}
        self.hook: Callable[[str], None] = lambda _: None
        self.down = False
        self.skipped: set[str] = set()

    async def page(self, entity: WalkEntity, place: str) -> Listed:
        """Three ids at a time."""
        ids = sorted(key for key in self.records if key > place)[:3]
        return Listed(ids, ids[-1] if len(ids) == 3 else "")

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        """A copy of what is stored."""
        if self.down:
            raise CrmUnreachable("down")
        if record not in self.records:
            return None
        fields = dict(self.records[record])
        return Reading(entity, record, fields, self.limits, skipped=record in self.skipped, state=dict(fields))

    async def write(self, reading: Reading, new: Mapping[str, str]) -> None:
        """Store, unless somebody was faster."""
        self.hook("before")
        if self.records.get(reading.record) != reading.state:
            raise RecordChanged
        if named := self.refuse & new.keys():
            raise CrmRefused("form", sorted(named))
        self.writes[reading.record] = self.writes.get(reading.record, 0) + 1
        for name, text in new.items():
            self.records[reading.record][name] = self.store(name, text)
        self.hook("after")

    async def create(self, entity: WalkEntity, values: Mapping[str, object]) -> str:
        """A new record."""
        record = str(len(self.records) + 1)
        self.records[record] = dict.fromkeys((one.name for one in entity.fields), "")
        return record

    async def remove(self, entity: WalkEntity, record: str) -> None:
        """Gone for good."""
        del self.records[record]

    async def close(self) -> None:
        """Nothing to end."""
