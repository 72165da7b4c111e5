"""The one object that travels from the first byte of a request to the last byte of its answer.

Stages fill it in order; policy, audit and upstream read the same parsed head and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from policies.attribute import Told
from policies.decision import Decision
from policies.profile import Operation

if TYPE_CHECKING:
    from gateway.batch import Batch
    from gateway.block import Block
    from gateway.body.leaf import Leaf
    from gateway.identity.bearing import Bearing
    from gateway.newest import Newest
    from gateway.showing import Showing
    from gateway.unprotected import Words
    from gateway.verdict import Verdict


class Head:
    """Canonical head of one request, parsed once and strictly; nothing changes it afterwards.

    method: upper-case token; target: raw origin-form target as received; path: raw path bytes as text (ASCII,
    still percent-encoded); query: raw query without `?`; headers: lower-case names with values, duplicates kept;
    named: the first value of each name; block: see gateway.block, None where the head was not parsed from a request.
    Every request makes one: a frozen dataclass would take five times as long.
    """

    __slots__ = ("block", "content_length", "has_body", "headers", "host", "method", "named", "path", "query", "target")

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: str,
        host: str,
        headers: tuple[tuple[str, str], ...],
        has_body: bool,
        content_length: int | None,
        named: Mapping[str, str] | None = None,
        block: "Block | None" = None,
    ) -> None:
        self.method, self.target, self.path, self.query, self.host = method, target, path, query, host
        self.headers, self.has_body, self.content_length = headers, has_body, content_length
        self.named: Mapping[str, str] = dict(reversed(headers)) if named is None else named
        self.block = block

    def first(self, name: str) -> str | None:
        """First value of a header by lower-case name."""
        return self.named.get(name)

    def all(self, name: str) -> list[str]:
        """Every value of a header by lower-case name, in order."""
        if name not in self.named:
            return []
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who passes: a signed-in gateway user with both factors done.

    id: stable user id; login: the name typed at sign-in (staff account, not customer data); crm_user: the CRM's own key
    for this person where the profile or the administrator tells it, compared with record owners; crm_login: the name
    this session signed in to the CRM with, "" before that or where the profile does not tell. networks: the person's
    own list, parted by spaces, "" for any. proved_at: when a second factor was last verified in this session; None for
    programs with a credential, who have none. emergency: id of the emergency role among the roles, "" for none. device:
    id of the browser that the session hangs on, "" for none.
    """

    id: str
    login: str
    roles: tuple[str, ...]
    tenant: str
    session_id: str
    language: str = "en"
    crm_user: str | None = None
    crm_login: str = ""
    networks: str = ""
    proved_at: datetime | None = None
    emergency: str = ""
    device: str = ""

    @property
    def trace(self) -> dict[str, str]:
        """What every entry of the trail about this person tells besides who it is."""
        told = {"session": self.session_id, "device": self.device, "emergency": self.emergency}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Kept:
    """A value of this write that is sealed outside the vault, and what is done once the CRM accepted it.

    record: "" where the answer to a create tells it. waiting: under what a value beside the CRM waits for that.
    generation: of a value that was offered to a record, or of one that stood in a field that is emptied; None: of all.
    sure: whether the answer tells if this record was written; of several the CRM may take some. cell: the text form of
    a cell, "" for values beside. digits: for numbers that stay digits, "held" or "empty".
    """

    entity: str
    field: str
    record: str
    waiting: str = ""
    cell: str = ""
    generation: int | None = None
    emptied: bool = False
    sure: bool = True
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A search box whose text became a condition.

    parameter: where the CRM takes it; lookup: the CRM's name of the column; box, typed: the field and what was in it.
    """

    parameter: str
    condition: Mapping[str, Any]
    lookup: str
    box: str
    typed: str


@dataclass(frozen=True, slots=True)
class Several:
    """An operand that stands for several values, of which the CRM takes one at a time (gateway.merged)."""

    leaf: "Leaf"
    values: tuple[str, ...]


class Exchange:
    """State of one exchange; every field after `head` is filled by exactly one stage.

    shown: (entity, field, record or "", form name) → count, for the audit outcome; never values. beside: the same of
    further fields that hold what was shown. owner: who owns the record that is created; posted: form fields that name
    an owner (keys of CRM users). held: (entity, field, record) → surrogates that an update leaves there, once the CRM
    accepts it. typed: surrogates of what this very request brought in clear; its own answer (a form shown again) shows
    them as they were typed. echoes: search field → what the CRM got and what was typed. own_words: reserved surrogate →
    the name or address somebody searched for without seeing its record; their own answer shows what they typed.
    files: cells of the files sealed in a create, which wait for its record. kept: values of this write in
    facts: what this answer, or the CRM just now, tells of records, for views that ask for it (gateway.facts).
    masked: what a page shows masked, gathered only where some of it may be revealed with a reason.
    bearing: whom the gateway says that the person is, None where the client says it.
    crm_signed_in: whether the CRM's answer to a sign-in of its own says that somebody is; None where none tells.
    Every request makes one: a dataclass with that many default factories would take three times as long.
    """

    __slots__ = (
        "batch", "bearing", "beside", "body", "caught", "cells_at", "client_address", "columns", "crm_signed_in",
        "crm_user", "decision", "echoes", "facts", "files", "head", "held", "id", "kept", "language", "legs", "links",
        "masked", "narrowed", "newest", "numbers", "operation", "own_words", "owner", "posted", "principal",
        "received_at", "restored", "retyped", "searched", "several", "showing", "shown", "tenant", "typed",
        "unprotected", "written",
    )  # fmt: skip

    def __init__(
        self,
        exchange_id: str,
        received_at: datetime,
        head: Head,
        tenant: str = "",
        client_address: str = "",
        crm_user: str | None = None,
        operation: Operation | None = None,
    ) -> None:
        self.id, self.received_at, self.head = exchange_id, received_at, head
        self.tenant, self.client_address, self.crm_user, self.operation = tenant, client_address, crm_user, operation
        self.principal: Principal | None = None
        self.bearing: Bearing | None = None
        self.crm_signed_in: bool | None = None
        self.decision: Decision | None = None
        self.language = "en"
        self.body = b""
        self.written: list[tuple[str, str, str]] = []
        self.shown: dict[tuple[str, str, str, str], int] = {}
        self.beside: set[tuple[str, str, str, str]] = set()
        self.caught: dict[str, int] = {}
        self.searched: list[str] = []
        self.owner: str | None = None
        self.posted: dict[str, str] = {}
        self.held: dict[tuple[str, str, str], set[str]] = {}
        self.typed: set[str] = set()
        self.unprotected: Words | None = None
        self.echoes: dict[str, tuple[str, str]] = {}
        self.own_words: dict[str, str] = {}
        self.facts: Told = {}
        self.files: tuple[bytes, ...] = ()
        self.kept: tuple[Kept, ...] = ()
        self.retyped: dict[tuple[str, str], str] = {}
        self.cells_at: dict[str, set[tuple[str, str, str]]] = {}
        self.narrowed: list[Narrowed] = []
        self.several: list[Several] = []
        self.legs = 0
        self.links: dict[str, bytes] = {}
        self.numbers: dict[tuple[str, str, str], str] | None = None
        self.restored: dict[str, tuple[str, str]] = {}
        self.showing: Showing | None = None
        self.newest: Newest | None = None
        self.columns: tuple[str, ...] = ()
        self.batch: Batch | None = None
        self.masked: list[Verdict] | None = None
