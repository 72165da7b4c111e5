"""Legal holds: what nobody may drop, whatever retention says, until two people have lifted it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.cold.manifest import Manifest


class HoldRefused(Exception):  # noqa: N818 - a refusal
    """The hold cannot be set or lifted like this; the text says why."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held of a tenant: everything, or what is about a person, a record, an account or a time; all must fit.

    lift_by: who asked to lift it; lifted_by: somebody else, who did.
    """

    id: str
    reason: str
    set_by: str
    set_at: datetime
    data_subject: str = ""
    entity: str = ""
    record: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None
    lift_by: str | None = None
    lift_at: datetime | None = None
    lifted_by: str | None = None
    lifted_at: datetime | None = None

    @property
    def names(self) -> dict[str, str]:
        """The columns it looks at, and for what."""
        told = {name: getattr(self, name) for name in ("data_subject", "entity", "record", "actor")}
        return {name: value for name, value in told.items() if value}

    def in_time(self, manifest: Manifest) -> bool:
        """Whether a segment has entries of its time."""
        since_fits = self.since is None or manifest.at_last >= self.since
        return since_fits and (self.until is None or manifest.at_first < self.until)

    def in_files(self, event_file: Path, sight_file: Path) -> bool:
        """Whether an entry in the files is what it looks for."""
        if not self.names:
            return True
        condition = None
        for name, value in self.names.items():
            one = pc.field(name) == value
            condition = one if condition is None else condition & one
        files = (event_file, sight_file)
        return any(pq.read_table(path, columns=["index"], filters=condition).num_rows for path in files)


def holding(found: Sequence[Hold], manifest: Manifest, event_file: Path, sight_file: Path) -> Hold | None:
    """A hold that keeps a segment; None when it may go."""
    asked = (one for one in found if one.in_time(manifest))
    return next((one for one in asked if one.in_files(event_file, sight_file)), None)
