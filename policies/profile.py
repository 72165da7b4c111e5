"""A CRM profile as data: where fields are, which operation a request is, where records and ids sit.

`Profile` answers from compiled data only; it does no I/O, raises nothing on hostile requests and never copies a value
of a request into an operation id. What it does not know is an unmatched read (scanned) or an unmatched write (not
granted). `load_profile` reads the YAML files beside this module.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from policies import answers, credential, element
from policies.attribute import Attributes
from policies.carried import Carried
from policies.comparison import ComparisonRule
from policies.condition import (
    Asked,
    Unreadable,
    chosen,
    values_at,
)
from policies.dialect import DialectRules
from policies.graphql.asked import ask
from policies.graphql.mapping import GraphqlMap
from policies.made import MadeRule
from policies.matcher import PathTrie, plain_path
from policies.operation import (
    REFUSED_READ,
    UNMATCHED_READ,
    UNMATCHED_WRITE,
    Action,
    BodyRule,
    FieldSpec,
    Operation,
    SearchRule,
    ShownRule,
    StorageForm,
    UploadRule,
    Where,
    with_record,
)
from policies.owner import POSTED, OwnedThrough
from policies.places import Places
from policies.polling import Polling
from policies.query.table import Tables
from policies.read_back import ReadBack, Whoami
from policies.record_id import RecordIds
from policies.requests import BULK_LIMIT, names_field, record_ids, type_id
from policies.rpc import RpcRules
from policies.selector import rule_for
from policies.template import Template
from policies.walk import Walk

__all__ = [
    "UNMATCHED_READ",
    "UNMATCHED_WRITE",
    "Action",
    "BodyRule",
    "FieldSpec",
    "LoginOutcome",
    "Operation",
    "Profile",
    "ProfileInvalid",
    "SearchRule",
    "UploadRule",
    "Where",
    "load_profile",
]


class LoginOutcome(NamedTuple):
    """What the answer to a CRM login tells: credential to hash, login, CRM key of the user; None = not told.

    others: further credentials to hash, such as a refresh token.
    """

    token: str | None
    crm_login: str | None
    crm_user: str | None
    others: tuple[str, ...] = ()


class ProfileInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A profile that cannot be used; only editing it helps.

    problems: plain-word sentences, each naming the place.
    """

    permanent = True

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


_BETWEEN_WORDS = re.compile(r"[-_./()]+")
_SLASHES = re.compile("(?:/|%2[fF])+")  # however many, however written
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Profile:
    """Everything the gateway must know about one kind of CRM.

    session_cookies: names of the CRM's own session cookies. field_specs: every declared field. labels: label key of a
    column of uploads (any of the profile's languages) → field. known_limits: sentences about what this CRM makes
    impossible. owner_source: "form" (a field of the request names the owner), "actor" (who creates owns) or "none".
    closed: reads that no operation describes are refused. types: type id of this installation → entity,
    learnt from pages. signed_out: how an answer says "not signed in". tables: objects of query languages.
    names_in_any_case: the CRM takes names of fields in any case, see policies.spelling. attributes: what policy rows
    may ask of a record. actions: operation → what it may do, for who knows its name only.
    """

    name: str
    title: str
    version: str
    protocol: str
    field_specs: Mapping[tuple[str, str], FieldSpec]
    labels: Mapping[str, FieldSpec]
    session_cookies: frozenset[str]
    csrf_cookies: frozenset[str]
    credential_rules: tuple[Mapping[str, Any], ...]
    sign_in: Mapping[str, Any]
    owner_source: str
    owner_fields: tuple[str, ...]
    owned_entities: frozenset[str]
    record_pages: PathTrie[str]
    answers: Mapping[str, Mapping[str, Any]]
    tries: Mapping[str, PathTrie[Template]]
    exact: Mapping[tuple[str, str], Template]
    rpc: RpcRules | None
    whoami: Whoami | None
    read_backs: Mapping[str, ReadBack]
    discoveries: tuple[Mapping[str, str], ...]
    types: Mapping[str, str]
    type_entities: frozenset[str]
    operation_ids: tuple[str, ...]
    mask_char: str
    websocket: bool
    origin_mode: str
    untouched: tuple[tuple[str, ...], ...]
    global_record_ids: bool
    accept_rules: tuple[Mapping[str, Any], ...]
    signed_out: Mapping[str, Any]
    known_limits: tuple[str, ...]
    template_count: int = 0
    walk: Walk | None = None
    credential_headers: frozenset[str] = frozenset()
    credential_bodies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    carried: Carried | None = None
    polling: Polling | None = None
    shown_rules: tuple[ShownRule, ...] = ()
    places: Places = field(default_factory=Places)
    tables: Tables = field(default_factory=Tables)
    closed: bool = False
    actions: Mapping[str, frozenset[Action]] = field(default_factory=dict)
    owned_through: Mapping[str, OwnedThrough] = field(default_factory=dict)
    made_rules: Mapping[str, MadeRule] = field(default_factory=dict)
    record_ids: RecordIds = RecordIds.NUMBER
    comparisons: tuple[ComparisonRule, ...] = ()
    dialects: Mapping[str, DialectRules] = field(default_factory=dict)
    graphql: GraphqlMap | None = None
    names_in_any_case: bool = False
    attributes: Attributes = field(default_factory=Attributes)
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)

    # -- classification --------------------------------------------------------------------------------------

    def _template(self, method: str, path: str) -> tuple[Template, dict[str, str]] | None:
        wanted = "GET" if method in SAFE_METHODS else method
        found = self.exact.get((wanted, path))
        if found is not None:
            return found, {}
        trie = self.tries.get(wanted)
        if trie is None:
            return None
        plain = plain_path(path)
        return None if plain is None else trie.find(plain)

    def _known_by_another_spelling(self, method: str, path: str) -> bool:
        """Whether a server that merges slashes, as front servers of CRMs do, would find a described address in it."""
        merged = _SLASHES.sub("/", path)
        return merged != path and self._template(method, merged) is not None

    def needs_body(self, method: str, path: str) -> bool:
        """Whether `classify` can only answer with the body (RPC, bulk requests whose record ids stand in the form)."""
        found = self._template(method, path)
        return found is not None and found[0].needs_body

    def is_plain(self, method: str, path: str) -> bool:
        """Whether method and path alone say what `classify` answers: neither query, body nor learnt types count."""
        found = self._template(method, path)
        if found is None:
            return False
        template = found[0]
        by_more = template.rpc or template.needs_body or template.by_type is not None or template.searching is not None
        by_more = by_more or bool(template.choices or template.placed or template.dialect)
        return not (by_more or template.record_fields or template.redirect_field)

    def classify(self, method: str, path: str, query: str, body: bytes | None, content_type: str) -> Operation:
        """What a request does.

        method: upper-case token; path, query: raw, still percent-encoded; body: only where `needs_body` says so.
        Never raises: what cannot be told is `unmatched.read` or `unmatched.write`.
        """
        found = self._template(method, path)
        if found is None:
            read = REFUSED_READ if self.closed or self._known_by_another_spelling(method, path) else UNMATCHED_READ
            return read if method in SAFE_METHODS else UNMATCHED_WRITE
        template, parameters = found
        if template.graphql and self.graphql is not None:
            document = ask(self.graphql, self.record_ids, method, query, body, content_type)
            return replace(document.operation, graphql=document)
        reads = template.choices or template.ids_at or template.ids_at_elements
        asked = Asked(parameters, query, body, content_type) if reads else None
        if template.choices and asked is not None:
            try:
                choice = chosen(template.choices, asked)
            except Unreadable:
                return UNMATCHED_WRITE
            if choice is None:
                return UNMATCHED_READ if method in SAFE_METHODS else UNMATCHED_WRITE
            template = choice
        if template.dialect:
            given = asked or Asked(parameters, query, body, content_type)
            return self.dialects[template.dialect].classify(given, self.record_ids)
        if template.rpc:
            return UNMATCHED_WRITE if self.rpc is None else self.rpc.classify(body, content_type)
        if template.by_type is not None:
            template = template.by_type.get(self._type(type_id(parameters, query)), template)
        operation = template.plain
        if template.searching is not None and any(sign in query for sign in template.search_signs):
            operation = template.searching
        if operation.batch is not None:
            operation = replace(operation, placed=tuple(parameters.items()))
        elif template.placed:
            operation = replace(operation, placed=tuple((name, parameters[name]) for name in template.placed))
        record = parameters.get("record")
        records: tuple[str, ...] = ()
        touched: tuple[str, ...] = ()
        if (template.ids_at or template.ids_at_elements) and asked is not None:
            try:
                return self._with_ids(operation, asked, template)
            except Unreadable:
                return UNMATCHED_WRITE
        if record is None and template.record_fields:
            records = record_ids(template.record_fields, query, body, content_type, self.record_ids)
            if operation.action is Action.CREATE:
                records, touched = (), records  # the source of a copy is not the record that the request writes
            record = records[0] if len(records) == 1 else None
        binds = True
        if template.redirect_field:
            # The caller could name the page the CRM redirects to, and with it the record a new value is bound to.
            binds = body is not None and not names_field(template.redirect_field, body, content_type)
        if record is None and not records and not touched and binds:
            return operation
        return with_record(operation, record, records, binds=binds, touched=touched)

    def _with_ids(self, operation: Operation, asked: Asked, template: Template) -> Operation:
        """The operation with the ids that the body names; raises Unreadable."""
        found: dict[str, None] = {}
        for place in template.ids_at:
            for value in values_at(asked.document, place):
                canonical = self.record_ids.canonical(value.strip())
                if canonical is not None and len(found) < BULK_LIMIT:
                    found[canonical] = None
        if template.ids_at_elements:
            found |= dict.fromkeys(element.ids_of(asked.xml, template.ids_at_elements, self.record_ids)[:BULK_LIMIT])
        ids = tuple(found)
        if operation.action is Action.CREATE:
            return with_record(operation, None, touched=ids) if ids else operation
        return with_record(operation, ids[0] if len(ids) == 1 else None, ids) if ids else operation

    def _type(self, number: str) -> str:
        """Key into `by_type`: the entity of a type id; "other" once all declared types are known, else "unknown"."""
        known = self.types.get(number)
        if known is not None:
            return known
        return "other" if self.type_entities.issubset(self.types.values()) else "unknown"

    # -- answers ---------------------------------------------------------------------------------------------

    def record_from_answer(
        self, operation: Operation, status: int, headers: Sequence[tuple[str, str]], body: bytes
    ) -> list[tuple[str, str]]:
        """(entity, record) pairs that the answer to a create names; empty for anything else or for an error."""
        if any("json" in rule or "xml" in rule for rule in self.accept_rules) and not self.accepted(
            operation, status, headers, body
        ):
            return []  # an error with status 200 may name a record that was there before
        rule = self.answers.get(operation.id)
        return answers.records(rule, self.record_pages, operation, status, headers, body, self.record_ids)

    def owner_from_body(self, operation: Operation, leaves: Mapping[str, str]) -> str | None:
        """CRM user key that a create names as the new record's owner, or None.

        Never for an update: a field that the CRM's form does not have would be ignored there and believed here. See
        `owner_in_doubt`.
        """
        if operation.action is not Action.CREATE or operation.entity not in self.owned_entities:
            return None
        return None if operation.entity in self.owned_through else self._posted_owner(leaves)

    def owner_in_doubt(self, operation: Operation, leaves: Mapping[str, str], known: str | None) -> bool:
        """Whether an accepted update may have changed the owner, so that the gateway has to read the record itself."""
        if operation.action is not Action.UPDATE:
            return False
        posted = self._posted_owner(leaves)
        return posted is not None and posted != known

    def _posted_owner(self, leaves: Mapping[str, str]) -> str | None:
        if self.owner_source != "form":
            return leaves.get(POSTED)
        return next((leaves[name] for name in self.owner_fields if leaves.get(name)), None)

    @cached_property
    def posted_fields(self) -> tuple[str, ...]:
        """Form fields that say whose a record is: they name an owner, or a record it has its owner from."""
        return (*self.owner_fields, *(one.field for one in self.owned_through.values()))

    def newest_address(self, operation: Operation, path: str) -> str | None:
        """Where to ask which record a create has made whose answer does not say so; path: the create's own, raw."""
        rule = self.made_rules.get(operation.id)
        found = self._template("POST", path) if rule is not None else None
        return rule.address(found[1]) if rule is not None and found is not None else None

    def crm_user_from_login(
        self,
        operation: Operation,
        request_body: bytes,
        status: int,
        headers: Sequence[tuple[str, str]],
        answer_body: bytes,
    ) -> LoginOutcome:
        """What the answer to a login tells about credential and person; all None when the login failed."""
        if operation.id not in self.sign_in:
            return LoginOutcome(None, None, None)
        told = answers.login(self.sign_in, operation, request_body, status, headers, answer_body)
        return LoginOutcome(*told, answers.further_tokens(self.sign_in, operation, status, answer_body))

    def credentials(self, headers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
        """CRM credentials a request carries (the same text `crm_user_from_login` told), for the deny list."""
        return answers.credentials(self.credential_rules, headers)

    def body_credentials(self, content_type: str, body: bytes) -> tuple[str, ...]:
        """CRM credentials that a JSON body carries, for the deny list; none where it is no JSON document."""
        return credential.in_document(self.credential_rules, content_type, body)

    def accepted(self, operation: Operation, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> bool:
        """Whether the CRM says that a write took effect: only then are owners noted and origins kept."""
        return answers.accepted(self.accept_rules, operation, status, headers, body)

    def field_for_label(self, label: str) -> FieldSpec | None:
        """The field that a column label of an uploaded table means, in any language of the profile."""
        return self.labels.get(label_key(label))

    def import_columns(self, operation: Operation, leaves: Mapping[str, str]) -> list[tuple[FieldSpec, int]]:
        """Which column (from 1) of the uploaded table an import form assigns to which protected field."""
        suffix = operation.extra.get("column_suffix")
        found = []
        for name, value in leaves.items() if suffix else ():
            if name.endswith(suffix or "") and value.isascii() and value.isdecimal() and 0 < int(value) < 10_000:
                stem = name.removesuffix(suffix or "")
                rule = rule_for(operation.rules, (stem,)) or rule_for(operation.rules, (stem + "_defval",))
                if rule is not None and rule[1] is not None and rule[1].kind is not None:
                    found.append((rule[1], int(value)))
        return found

    @cached_property
    def digit_fields(self) -> tuple[FieldSpec, ...]:
        """Fields whose values stay digits in the CRM (form ff1)."""
        return tuple(spec for spec in self.field_specs.values() if spec.form is StorageForm.FF1)

    @cached_property
    def placed_in_workbooks(self) -> bool:
        """Whether XLSX answers may hold values that only column and row tell: digits, or dates written as text."""
        return bool(self.digit_fields) or self.source.get("dated_workbooks", False)

    @property
    def seals(self) -> bool:
        """Whether it marks files to be sealed."""
        rpc = self.source.get("rpc", {})
        declared = (*self.source.get("operations", ()), rpc, *rpc.get("objects", {}).values())
        return any("seal" in upload for one in declared for upload in one.get("uploads", ()))

    def crm_user_from_whoami(self, status: int, body: bytes) -> str | None:
        """CRM user key in the answer to `whoami`, or None."""
        who = self.whoami
        return None if who is None else answers.css_value(status, body, who.selector, who.attribute)

    # -- facts of one installation ---------------------------------------------------------------------------

    def facts_from_answer(self, path: str, status: int, body: bytes) -> dict[str, str]:
        """Type ids (type id → entity) of this installation that a page tells; see `discoveries`."""
        return answers.facts(self.discoveries, path, status, body)

    def with_facts(self, facts: Mapping[str, str]) -> "Profile":
        """The same profile knowing more type ids; `self` when it knew them all."""
        if all(self.types.get(key) == value for key, value in facts.items()):
            return self
        return replace(self, types={**self.types, **facts})


def label_key(label: str) -> str:
    """A column label as it is compared: without case, byte order mark, quotes, required marks, signs between words.

    CRMs that guess columns look past such signs, too: `first_name` and `First-Name` are one label.
    """
    text = label.replace("\ufeff", "").replace("\u00a0", " ").replace("：", "").casefold()
    return " ".join(_BETWEEN_WORDS.sub(" ", text).split()).strip("'\"*: ")


def load_profile(name_or_path: str | Path) -> Profile:
    """Read and compile a shipped profile by name (`creme`, `tryton`) or one of your own by path.

    Raises: ProfileInvalid with every problem found; OSError when the file cannot be read.
    """
    from policies.profile_file import compile_profile  # they build the classes of this module
    from policies.profile_source import read_source

    return compile_profile(read_source(name_or_path))
