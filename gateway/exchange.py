"""The one object that travels from the first byte of a request to the last byte of its answer.

Stages fill it in order; policy, audit and upstream read the same parsed head and nothing else.
"""

from dataclasses import dataclass, field
from datetime import datetime

from policies.decision import Decision
from policies.profile import Operation


@dataclass(frozen=True, slots=True)
class Head:
    """Canonical head of one request, parsed once and strictly.

    method: upper-case token; target: raw origin-form target as received; path: raw path bytes as text (ASCII,
    still percent-encoded); query: raw query without `?`; headers: lower-case names with values, duplicates kept.
    """

    method: str
    target: str
    path: str
    query: str
    host: str
    headers: tuple[tuple[str, str], ...]
    has_body: bool
    content_length: int | None
    _first: dict[str, str] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_first", dict(reversed(self.headers)))

    def first(self, name: str) -> str | None:
        """First value of a header by lower-case name."""
        return self._first.get(name)

    def all(self, name: str) -> list[str]:
        """Every value of a header by lower-case name, in order."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who passes: a signed-in gateway user with both factors done.

    id: stable user id; login: the name typed at sign-in (staff account, not customer data); crm_user: the CRM's own key
    for this person where the profile or the administrator tells it, compared with record owners.
    """

    id: str
    login: str
    roles: tuple[str, ...]
    tenant: str
    session_id: str
    language: str = "en"
    crm_user: str | None = None
    crm_login: str = ""


@dataclass(slots=True)
class Exchange:
    """State of one exchange; every field after `head` is filled by exactly one stage.

    shown: (entity, field, record or "", form name) → count, for the audit outcome; never values. owner: who owns the
    record that is created; posted: form fields that name an owner (keys of CRM users). typed: surrogates of what this
    very request brought in clear; its own answer (a form shown again) shows them as they were typed.
    """

    id: str
    received_at: datetime
    head: Head
    tenant: str = ""
    client_address: str = ""
    principal: Principal | None = None
    crm_user: str | None = None
    operation: Operation | None = None
    decision: Decision | None = None
    language: str = "en"
    body: bytes = b""
    written: list[tuple[str, str, str]] = field(default_factory=list)
    shown: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    caught: dict[str, int] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    owner: str | None = None
    posted: dict[str, str] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)
