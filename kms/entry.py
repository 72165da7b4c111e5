"""The words of the vault: where a value stands, a new value, an opened one. Values never appear in a `repr`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands in the CRM; it decides who may see it.

    record: None while the record is not known yet (the value was written by a create whose answer has not come).
    """

    entity: str
    field: str
    record: str | None


@dataclass(frozen=True, slots=True)
class VaultEntry:
    """An opened value: its surrogate, kind, clear text, live origins and the spelling each origin was written in.

    spellings: (entity, field, record or "") → text, only where it differs from `clear`.
    """

    surrogate: str
    kind: str
    clear: str = field(repr=False)
    origins: tuple[Origin, ...]
    spellings: Mapping[tuple[str, str, str], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewValue:
    """A clear value that needs a surrogate.

    index_only: the value is kept and findable, but no origin is written (nobody sees it by a field right).
    verbatim: a mention in running text: where the stored value is spelled otherwise, this spelling gets a surrogate of
    its own, so that the text stays as it was written.
    """

    kind: str
    clear: str = field(repr=False)
    origin: Origin
    index_only: bool = False
    verbatim: bool = False
