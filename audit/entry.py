"""One audit entry and its canonical bytes: what is hashed, stored, exported and shown.

The bytes are JSON with sorted keys, no spaces, UTC times. They are the evidence, so `decode` accepts nothing that
`encode` could not have written. An entry says who did what to which field of which record and in which form it went
out; it never says a value. Texts that name things (operation, entity, record, reason, field) must look like
identifiers: no space, no at sign, no letter outside ASCII. What does not is recorded as `~`, so that an event is never
lost and a value never slips in as a name. A key of `fields` that is not in `FIELD_KEYS` is refused: that is a mistake
in the program.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

ENTRY_LIMIT_BYTES = 65_535  # C2SP tlog-tiles: entry bundles carry a uint16 length
NAME_LIMIT_CHARS = 512  # identifiers
LOGIN_LIMIT_CHARS = 256  # logins, client address
FORMAT_VERSION = 2
"""2: persons by pseudonym, and `data_subject`. Entries of version 1 name them by the CRM's keys; they stay valid."""
NOT_RECORDED = "~"

FIELD_KEYS = frozenset(
    {
        "address",  # network address, for entries about addresses
        "bytes",  # size of what went out
        "caught",  # kind → count of values that only a recogniser found
        "change",  # what an administrator changed: names of settings, roles, states
        "count",  # how many events a summarising entry stands for
        "detail",  # names of limits, parts, problems
        "emergency",  # id of the emergency role somebody acted with
        "filters",  # names of the filters of a search in the trail
        "first",
        "last",  # times of the first and last event of a summary
        "parts",  # operation and records of each request in a batch
        "legs",  # how often the CRM was asked for one search that stands for several values
        "omitted",  # group → number of items left out because the entry would be too long
        "records",  # entity.record names touched
        "refused",  # wire names of fields the refusal is about
        "release",  # number of the released segment of a stream
        "roles",
        "device",  # short id of a browser, never its key
        "session",  # short id of a session, never its token
        "rows",  # number of rows a statement of an auditor returned
        "shown",  # entity.field → record → form → count
        "statement",  # words of a statement of an auditor, without literals and given names
        "target",  # id of the user, policy or setting an administrator acted on
        "tokenised",  # kind → count of values replaced on the way in
        "written",  # entity.field names written
    }
)

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z
_LETTERS = bytes(set(range(33, 127)) - set(b'"\\@<>'))
_ID = rb"[!#-;=?A-Z\[\]^-~]{0,512}+"  # printable ASCII without space, quote, backslash, at sign and angle bracket
_TEXT = rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*'
_IN_FIELDS = bytes(set(range(33, 127)) - set(b"\\@<>"))  # the same alphabet plus the punctuation of JSON itself
_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z"
# Two halves, because no name can hold a quote: the last `,"id":"` is the key itself and nothing has to be tried twice.
_SEAM = b',"id":"'
_HEAD = re.compile(
    rb'\{"actor":"' + _ID + rb'","actor_login":"' + _TEXT + rb'","at":"' + _TIME + rb'","client":"' + _ID
    + rb'","crm_user":"' + _TEXT + rb'"(?P<second>,"data_subject":"' + _ID + rb'")?,"entity":"' + _ID
    + rb'","exchange":"' + _ID + rb'","fields":'
)  # fmt: skip
_TAIL = re.compile(
    rb',"id":"' + _ID + rb'","kind":"' + _ID + rb'","method":"' + _ID + rb'","operation":"' + _ID
    + rb'","path_shape":"' + _ID + rb'","policy":"' + _ID + rb'","reason":"' + _ID + rb'","record":"' + _ID
    + rb'","status":\d{1,3},"tenant":"' + _ID + rb'","version":(?P<version>[12])\}'
)  # fmt: skip
_NAME = re.compile(rf"{_ID.decode()}\Z")


class EntryRefused(Exception):  # noqa: N818 - a refusal to record, not a fault of the log
    """The entry is not one this log records; the message names the key, never a value."""

    permanent = True


@dataclass(slots=True, kw_only=True)
class AuditEntry:
    """One event. Fields are declared in sorted order, because that is the order they are written in.

    Nothing changes an entry once it is made. It is not frozen because every exchange makes one, and Python takes five
    times as long for a frozen object of so many fields.
    at: aware time, stored in UTC. kind: "decision", "outcome", "sign-in", "console", "refusal-count", "checkpoint"…
    actor: gateway user id, "" for nobody known. actor_login, crm_user: staff accounts, not customer data.
    client: true client address. path_shape: the operation's template, never a raw path. record: the CRM's own key, of
    persons their pseudonym. data_subject: pseudonym of the person it is about, "" for none.
    status: HTTP status, 0 where there is none. fields: see `FIELD_KEYS`; nested names and counts only.
    """

    actor: str = ""
    actor_login: str = ""
    at: datetime
    client: str = ""
    crm_user: str = ""
    data_subject: str = ""
    entity: str = ""
    exchange: str = ""
    fields: Mapping[str, Any]
    id: str
    kind: str
    method: str = ""
    operation: str = ""
    path_shape: str = ""
    policy: str = ""
    reason: str = ""
    record: str = ""
    status: int = 0
    tenant: str
    version: int = FORMAT_VERSION

    def renamed(self, record: str, data_subject: str, fields: Mapping[str, Any]) -> "AuditEntry":
        """The same entry with these names; in half the time of `dataclasses.replace`, as every exchange needs it."""
        e = self
        return AuditEntry(
            actor=e.actor, actor_login=e.actor_login, at=e.at, client=e.client, crm_user=e.crm_user,
            data_subject=data_subject, entity=e.entity, exchange=e.exchange, fields=fields, id=e.id, kind=e.kind,
            method=e.method, operation=e.operation, path_shape=e.path_shape, policy=e.policy, reason=e.reason,
            record=record, status=e.status, tenant=e.tenant, version=e.version,
        )  # fmt: skip


_LOGINS = ("actor_login", "crm_user")
_IDENTIFIERS = tuple(
    name for name in AuditEntry.__slots__ if name not in (*_LOGINS, "at", "fields", "status", "version")
)


def encode(entry: AuditEntry) -> bytes:
    """Canonical bytes of an entry, at most `ENTRY_LIMIT_BYTES`. Raises: EntryRefused, see `settle`."""
    return settle(entry)[1]


def settle(entry: AuditEntry) -> tuple[AuditEntry, bytes]:
    """The entry as it can be recorded, and its canonical bytes; the entry is the same object unless it had to change.

    Raises: EntryRefused for an unknown key in `fields`, a time without zone, or a value JSON cannot hold.
    """
    if not entry.fields.keys() <= FIELD_KEYS:
        unknown = sorted(key for key in entry.fields if key not in FIELD_KEYS and _NAME.match(key))
        raise EntryRefused(f"unknown keys in fields: {', '.join(unknown) or NOT_RECORDED}")
    body = _composed(entry)
    if not body:
        try:
            body = orjson.dumps(entry, option=_OPTIONS)
        except (TypeError, ValueError):
            body = b""
        if not _is_canonical(body):
            return _repaired(entry)
    return (entry, body) if len(body) <= ENTRY_LIMIT_BYTES else _repaired(entry)


def decode(body: bytes) -> dict[str, Any]:
    """The entry in these stored bytes as a plain mapping.

    Raises: EntryRefused when `encode` could not have written them.
    """
    if len(body) > ENTRY_LIMIT_BYTES or not _is_canonical(body):
        raise EntryRefused("not a canonical entry")
    try:
        content: dict[str, Any] = orjson.loads(body)
        same = orjson.dumps(content, option=_OPTIONS) == body
    except ValueError as fault:
        raise EntryRefused("not a canonical entry") from fault
    if not same:
        raise EntryRefused("not a canonical entry")
    return content


def _composed(entry: AuditEntry) -> bytes:
    """The bytes of an entry as most are, else none; the same that orjson would write.

    Names of the plain alphabet are their own JSON, so that looking at the alphabet replaces encoding and checking, and
    what one person does again and again is looked at once.
    """
    e = entry
    if type(e.status) is not int or e.at.tzinfo is not UTC or e.version != FORMAT_VERSION:
        return b""
    try:
        frame = _frame(
            e.actor, e.actor_login, e.client, e.crm_user, e.entity, e.kind, e.method, e.operation, e.path_shape,
            e.policy, e.reason, e.status, e.tenant,
        )  # fmt: skip
        # What is another one in nearly every entry, each looked at for itself.
        exchange, own = e.exchange.encode("ascii"), e.id.encode("ascii")
        person, record = e.data_subject.encode("ascii"), e.record.encode("ascii")
        fields, at = orjson.dumps(e.fields, option=_OPTIONS), orjson.dumps(e.at, option=_OPTIONS)
    except (TypeError, ValueError, AttributeError):
        return b""
    names = exchange + own + person + record
    if not frame or names.translate(None, _LETTERS) or len(names) > NAME_LIMIT_CHARS:
        return b""
    if fields[:1] != b"{" or fields.translate(None, _IN_FIELDS):
        return b""
    head, client, entity, tail, end = frame
    return b'%b%b%b%b%b%b","fields":%b,"id":"%b%b%b%b' % (
        head, at, client, person, entity, exchange, fields, own, tail, record, end,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _frame(
    actor: str, login: str, client: str, crm_user: str, entity: str, kind: str, method: str, operation: str, shape: str,
    policy: str, reason: str, status: int, tenant: str,
) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:  # fmt: skip
    """What stands around time, person, exchange, fields, id and record; None when a name is no plain one."""
    names = (actor, client, entity, kind, method, operation, shape, policy, reason, tenant)
    if not all(isinstance(name, str) and _NAME.match(name) for name in names) or not 0 <= status <= 999:
        return None
    if not isinstance(login, str) or not isinstance(crm_user, str):
        return None
    return (
        b'{"actor":"%b","actor_login":%b,"at":' % (actor.encode(), orjson.dumps(login)),
        f',"client":"{client}","crm_user":{orjson.dumps(crm_user).decode()},"data_subject":"'.encode(),
        f'","entity":"{entity}","exchange":"'.encode(),
        f'","kind":"{kind}","method":"{method}","operation":"{operation}","path_shape":"{shape}","policy":"{policy}",'
        f'"reason":"{reason}","record":"'.encode(),
        f'","status":{status},"tenant":"{tenant}","version":{FORMAT_VERSION}}}'.encode(),
    )


def _is_canonical(body: bytes) -> bool:
    seam = body.rfind(_SEAM)
    head = _HEAD.match(body, 0, seam) if seam > 0 else None
    tail = _TAIL.fullmatch(body, seam) if head is not None else None
    if head is None or tail is None or (head["second"] is not None) is not (tail["version"] == b"2"):
        return False
    fields = body[head.end() : seam]
    return fields[:1] == b"{" and fields[-1:] == b"}" and not fields.translate(None, _IN_FIELDS)


def _repaired(entry: AuditEntry) -> tuple[AuditEntry, bytes]:
    """The slow path: put `~` where a name is no identifier, cut `fields` to size."""
    if entry.at.tzinfo is None:
        raise EntryRefused("time without zone")
    changes: dict[str, Any] = {name: _name(getattr(entry, name)) for name in _IDENTIFIERS}
    for name in _LOGINS:
        text = str(getattr(entry, name))[:LOGIN_LIMIT_CHARS]
        changes[name] = text.encode("utf-8", "replace").decode()
    status = entry.status if isinstance(entry.status, int) and 0 <= entry.status <= 999 else 0
    fields = {key: _named(value) for key, value in entry.fields.items()}
    clean = replace(entry, **changes, at=entry.at.astimezone(UTC), status=status, fields=fields, version=FORMAT_VERSION)
    body = orjson.dumps(clean, option=_OPTIONS)
    if len(body) > ENTRY_LIMIT_BYTES:
        room = ENTRY_LIMIT_BYTES - len(orjson.dumps(replace(clean, fields={}), option=_OPTIONS))
        clean = replace(clean, fields=_cut(fields, room))
        body = orjson.dumps(clean, option=_OPTIONS)
    if len(body) > ENTRY_LIMIT_BYTES or not _is_canonical(body):
        raise EntryRefused("an entry that cannot be written canonically")
    return clean, body


def is_name(text: str) -> bool:
    """Whether a text looks like an identifier, so that an entry may have it as a name."""
    return _NAME.match(text) is not None


def _name(value: object) -> str:
    return value if isinstance(value, str) and _NAME.match(value) else NOT_RECORDED


def _named(value: Any) -> Any:
    """Nested names and counts, with `~` for everything that is neither."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, Mapping):
        counted: dict[str, Any] = {}
        for key, item in value.items():
            counted[_name(key)] = _named(item)
        return counted
    if isinstance(value, list | tuple | set | frozenset):
        return [_named(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    return _name(value)


def _cut(fields: dict[str, Any], room: int) -> dict[str, Any]:
    """Halve the longest group until `fields` fits into `room` bytes; `omitted` counts what was left out."""
    kept = dict(fields)
    omitted: dict[str, int] = {}
    while len(orjson.dumps({**kept, "omitted": omitted}, option=_OPTIONS)) > room:
        key = max(kept, key=lambda name: len(orjson.dumps(kept[name], option=_OPTIONS)))
        group = kept[key]
        if not isinstance(group, dict | list) or not group:
            del kept[key]
            omitted[key] = omitted.get(key, 0) + 1
            continue
        half = len(group) // 2
        omitted[key] = omitted.get(key, 0) + len(group) - half
        kept[key] = dict(list(group.items())[:half]) if isinstance(group, dict) else group[:half]
    return {**kept, "omitted": omitted}
