"""The vocabulary of a classified request: actions, fields, body rules, search rules and the operation itself.

Plain values without behaviour. Profiles produce them, the gateway and privacy read them, the audit trail keeps the
ids; so an operation id, an entity or a field name is never built from a value of a request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from policies.batch import BatchRule
from policies.column import ClauseShape, ColumnRule
from policies.date_format import DateFormat
from policies.merge import MergeRule
from policies.opaque import STANDARD, OpaqueRule
from policies.record_id import RecordIds
from policies.steps import ONE_OR_NONE
from policies.taxonomy import Kind
from policies.unique import UniqueRule

if TYPE_CHECKING:
    from policies.graphql.asked import Asked
    from policies.owner import OwnerRule


class Action(StrEnum):
    """What an operation does, as far as policy and audit care."""

    READ = "read"
    LIST = "list"
    SEARCH = "search"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EXPORT = "export"
    IMPORT = "import"
    LOGIN = "login"
    LOGOUT = "logout"
    ASSET = "asset"
    OTHER = "other"


class StorageForm(StrEnum):
    """What stands in the CRM instead of a value (DESIGN, storage forms)."""

    SURROGATE = "surrogate"
    CELL = "cell"
    BESIDE = "beside"
    FF1 = "ff1"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of one entity.

    kind None means free text: only its personal parts are replaced, or all of it where the form is `cell`. max_chars
    counts code points. dates, placeholder: how the CRM writes a date, and the date it holds instead (form `beside`).
    digits, check: how many digits a number may have, and how its check digit is made (form `ff1`). several: what stands
    between several values in one field, "" where there is only one. linked: labels of columns in which a table's row
    names a record of another kind by this field (a contact its company).
    """

    entity: str
    name: str
    kind: Kind | None
    max_chars: int
    form: StorageForm = StorageForm.SURROGATE
    dates: tuple[DateFormat, ...] = ()
    placeholder: date | None = None
    digits: tuple[int, ...] = ()
    check: str = ""
    several: str = ""
    linked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyRule:
    """Where a field stands in a request body.

    selector: for forms one element, an fnmatch pattern over the field name; for JSON a path of keys, decimal indexes,
    `*` (one step) and `**` (any steps); a form field that holds JSON: its name, then the path inside. by_sibling:
    (key, value → field) when a sibling key decides what the value is. by_column: (path of the header row, column name
    → field) for positional rows. by_shape: "email" or "phone" → field, when nothing else tells and the value looks
    like one. row_id: of a form with rows (`contacts-0-phone`), the name in the same row that holds the record (`id`);
    of an XML element, the one beside it. empties: the leaf names a field that the request empties (name → field).
    """

    selector: tuple[str, ...]
    field: FieldSpec | None
    by_sibling: tuple[str, Mapping[str, FieldSpec]] | None = None
    by_column: tuple[tuple[str, ...], Mapping[str, FieldSpec | None]] | None = None
    by_shape: Mapping[str, FieldSpec] | None = None
    row_id: str = ""
    empties: Mapping[str, FieldSpec] | None = None

    @property
    def element(self) -> bool:
        """Whether it is about elements of XML."""
        return self.selector[-1] == ONE_OR_NONE


@dataclass(frozen=True, slots=True)
class ShownRule:
    """Where answers show a field whose stored form does not announce itself (or, of a cell, whose record is known).

    pages: operation ids (fnmatch). css: elements of an HTML page or fragment; attribute: which of theirs holds the
    value, "" for their text. row: elements that each show one record, with selector and attribute of its id inside;
    None: the record is that of the operation. which: numbers (from 1) among the records of an operation that names
    several; the first that has a value counts. path: selector of leaves of a JSON answer; key: the sibling that names
    the record.
    """

    field: FieldSpec
    pages: tuple[str, ...]
    css: str = ""
    attribute: str = ""
    row: tuple[str, str, str] | None = None
    which: tuple[int, ...] = ()
    path: tuple[str, ...] = ()
    key: str = ""
    record_ids: RecordIds = RecordIds.NUMBER


class Where(StrEnum):
    """The part of a request a search rule looks into."""

    QUERY = "query"
    FORM = "form"
    JSON = "json"
    XML = "xml"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class SearchRule:
    """Where a request looks records up by value, so that a whole clear operand can become its surrogate.

    selector: parameter or form field (fnmatch; further steps: JSON inside it) or JSON path. field: what the operand
    is; None means that the operand itself decides (recognisers, then known values). columns: for domains, lists of
    `[column, operator, operand]` clauses under the selector, column ending → field. equality: operators that compare
    whole values; others cannot be answered on surrogates except where the operand without its wild cards is a whole
    known value. strip: the wild cards. compare: what the CRM does with the operand ("contains", "prefix", "suffix";
    "operator": the operator of the clause says it), so that parts of values can be answered; "" where they cannot.
    lookup: the column's name in a condition that the CRM takes in another parameter (`Operation.extra["several"]`).
    kinds: columns that hold values of several kinds; begins: those of them that the CRM compares from the beginning on
    even where the text begins with a wild card. beside: columns that look into a clear column as well, by name. spread:
    computed columns and those that they look into, asked for one by one while values may stand in clear; spread_begins:
    those of them that are compared from the beginning on. at_least: shorter texts the CRM answers with an error, which
    must not tell whether somebody hidden has such a short name. language, table: the operand is a whole query in a
    query language (policies/query), of that object where the query does not name one. Where.PATH: selector is a
    template of the last segments, `{}` the value. among: the fields that one box looks into at the same time.
    """

    where: Where
    selector: tuple[str, ...]
    field: FieldSpec | None = None
    columns: Mapping[str, FieldSpec | None] | None = None
    equality: frozenset[str] = frozenset({"=", "in"})
    strip: str = ""
    compare: str = ""
    lookup: str = ""
    kinds: Mapping[str, tuple[Kind, ...]] | None = None
    begins: Mapping[str, tuple[Kind, ...]] | None = None
    beside: Mapping[str, str] | None = None
    spread: Mapping[str, tuple[str, ...]] | None = None
    spread_begins: Mapping[str, tuple[str, ...]] | None = None
    at_least: int = 0
    language: str = ""
    table: str = ""
    clause: ClauseShape | None = None
    among: tuple[FieldSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadRule:
    """A file field of a multipart form, or the place of files in a JSON-RPC.

    part: the name of the field; in JSON the key the file stands under, behind the keys above it: `attachments.data`.
    header: where an import in JSON names its columns; one that stands for the part is refused, as its rows are text.
    data: a CSV, XLS, XLSX or vCard in it is protected by its column labels; anything else in it is an opaque file.
    seal: the field as which such an opaque file is sealed, so that the CRM stores ciphertext; None passes it on.
    images: pictures are sealed, too; else they pass, because pages of the CRM show them to everybody.
    """

    part: str
    data: bool = False
    seal: FieldSpec | None = None
    images: bool = False
    header: tuple[str, ...] = ()

    def covers(self, keys: Sequence[str]) -> bool:
        """Whether keys on the way to a value lead through the part."""
        if self.part.rpartition(".")[2] not in keys:  # nearly always, and asked of every value of a write
            return False
        rest = iter(keys)
        return all(wanted in rest for wanted in self.part.split("."))

    def names(self, keys: Sequence[str]) -> bool:
        """Whether they lead to the part itself."""
        return bool(keys) and keys[-1] == self.part.rpartition(".")[2] and self.covers(keys)


@dataclass(frozen=True, slots=True)
class Operation:
    """One classified request. record: id when the request itself names it; owner: CRM user key the body gives as owner.

    records: all ids of a bulk request. rules apply to the body; searches, uploads: see there. left_alone: staff
    accounts, sign-in and tokens, nothing in the body is looked for. untouched: leaves never looked into (tokens, ids,
    staff). granted_write: False refuses a write that nobody modelled. binds: False when the answer must not name the
    new record. columns: see policies.column. batch: the body holds requests, see policies.batch. placed: values in the
    path that are searched for (`Where.PATH`), by the name of their place. owners: where the body names the owner.
    merge: how several answers to it become one. unique: fields that the CRM keeps unique, and how its answer says that
    a value is taken.
    graphql: what a GraphQL request asks for, see policies.graphql.asked. opaque: see policies.opaque.
    """

    id: str
    entity: str
    action: Action
    record: str | None = None
    rules: tuple[BodyRule, ...] = ()
    granted_write: bool = True
    extra: Mapping[str, str] = field(default_factory=dict)
    records: tuple[str, ...] = ()
    searches: tuple[SearchRule, ...] = ()
    uploads: tuple[UploadRule, ...] = ()
    left_alone: bool = False
    untouched: tuple[tuple[str, ...], ...] = ()
    binds: bool = True
    touched: tuple[str, ...] = ()
    columns: tuple[ColumnRule, ...] = ()
    batch: BatchRule | None = None
    placed: tuple[tuple[str, str], ...] = ()
    owners: "tuple[OwnerRule, ...]" = ()
    merge: MergeRule | None = None
    unique: UniqueRule | None = None
    graphql: "Asked | None" = None
    opaque: OpaqueRule = STANDARD


WRITES = frozenset({Action.CREATE, Action.UPDATE, Action.DELETE, Action.IMPORT})
"""Actions after which the CRM may hold something else."""

# Pages of the console that a policy can grant; `read` shows, `update` and `delete` change, `export` downloads.
CONSOLE_OPERATIONS = (
    "console.sign_in",
    "console.live",
    "console.sessions",
    "console.users",
    "console.health",
    "console.audit",
    "console.requests",
    "console.keys",
    "console.settings",
    "console.policy",
    "console.emergency",
)
UNMATCHED_READ = Operation("unmatched.read", "unmatched", Action.OTHER)
REFUSED_READ = Operation("unmatched.read", "unmatched", Action.OTHER, granted_write=False)  # in a closed profile
UNMATCHED_WRITE = Operation("unmatched.write", "unmatched", Action.OTHER, granted_write=False)


def with_record(
    operation: Operation,
    record: str | None,
    records: tuple[str, ...] = (),
    *,
    binds: bool = True,
    touched: tuple[str, ...] = (),
) -> Operation:
    """The same operation for one record, or for several (`dataclasses.replace` costs five times as much)."""
    return Operation(
        operation.id,
        operation.entity,
        operation.action,
        record,
        operation.rules,
        operation.granted_write,
        operation.extra,
        records,
        operation.searches,
        operation.uploads,
        operation.left_alone,
        operation.untouched,
        binds,
        touched,
        operation.columns,
        operation.batch,
        operation.placed,
        operation.owners,
        operation.merge,
        operation.unique,
        operation.graphql,
        operation.opaque,
    )
