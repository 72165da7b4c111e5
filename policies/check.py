"""Plain words about a profile or a policy bundle: what is wrong or doubtful with it, and what a request would mean.

For people at a command line: nothing here decides anything on the request path. Problems are sentences; an
explanation is a structure of names, it never repeats a value of the request.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from policies.enforcer import Bundle, Enforcer, covers
from policies.graphql.asked import Asked
from policies.graphql.explain import places_of, refusal
from policies.opaque import STANDARD, told
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec, Operation, StorageForm, Where
from policies.part import part_operations
from policies.placeholder import DAYS, placeholder
from policies.placement import is_placement
from policies.profile import Profile
from policies.query.explain import columns_of, path_operands
from policies.query.table import Tables
from policies.requests import leaves_of
from policies.rows import Grant, Inheritance, PolicyInvalid, parse_rows
from policies.selector import Treatment, leaves_in, search_operands, treatment
from policies.taxonomy import Kind

# Characters a surrogate needs in a column (reference shapes: e-mail 46, E.164 15, token 16, ID card 18, bank card 19).
SURROGATE_CHARS: Mapping[Kind, int] = {
    Kind.EMAIL: 46,
    Kind.PHONE: 15,
    Kind.NAME: 16,
    Kind.ADDRESS: 16,
    Kind.ID_CARD: 18,
    Kind.BANK_CARD: 19,
}
_WRITES = frozenset({Action.CREATE, Action.UPDATE, Action.IMPORT})


@dataclass(frozen=True, slots=True)
class LeafExplained:
    """One leaf of the body: where it stands (names only), what is done with it, as which field and kind."""

    path: str
    treatment: str
    field: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one request would mean to the gateway."""

    operation: str
    entity: str
    action: str
    record: str
    outcome: str
    notes: tuple[str, ...]
    leaves: tuple[LeafExplained, ...]
    searches: tuple[LeafExplained, ...]


def check_profile(profile: Profile) -> list[str]:
    """What an author should look at in a profile that compiles; empty when there is nothing."""
    problems = [*_short_columns(profile), *_unseen_digits(profile)]
    used = {"rows"} if profile.rpc is not None else set()
    used |= _used(profile.source, "rules", "import_rules")
    problems += [
        f"rule set {name} is not used by any operation"
        for name in profile.source.get("rule_sets", {})
        if name not in used
    ]
    problems += [
        f"search set {name} is not used by any operation"
        for name in profile.source.get("search_sets", {})
        if name not in _used(profile.source, "searches")
    ]
    merged = {one.get("merge") for one in profile.source.get("operations", ())}
    problems += [
        f"merge {name} is not used by any operation" for name in profile.source.get("merges", {}) if name not in merged
    ]
    problems += [
        f"sign-in is described for {name}, but no operation has this id"
        for name in profile.sign_in
        if name not in profile.operation_ids
    ]
    if not profile.sign_in:
        problems.append("the profile does not say how a login is recognised: the audit trail cannot name CRM accounts")
    if not profile.session_cookies and not profile.credential_rules:
        problems.append("no credential of the CRM is named: a signed-out person's CRM session cannot be refused")
    problems += _pages(profile)
    problems += _attributes(profile)
    problems += [
        f"records of {entity} have owners, but nothing says how to read one back"
        for entity in sorted(profile.owned_entities - set(profile.read_backs))
    ]
    if not profile.known_limits:
        problems.append("known_limits is empty: every CRM has some")
    return problems


def _short_columns(profile: Profile) -> Iterator[str]:
    for spec in profile.field_specs.values():
        if spec.form is not StorageForm.SURROGATE or spec.kind is None:
            continue
        if spec.max_chars < SURROGATE_CHARS[spec.kind]:
            needed = SURROGATE_CHARS[spec.kind]
            yield f"field {spec.entity}.{spec.name} holds {spec.max_chars} characters, a surrogate needs {needed}"


def _unseen_digits(profile: Profile) -> Iterator[str]:
    """Digits announce nothing: where the profile names no place, nobody ever sees the number again."""
    shown = {rule.field for rule in profile.shown_rules}
    walked = {one.spec for entity in profile.walk.entities for one in entity.fields} if profile.walk else set()
    for spec in profile.field_specs.values():
        if spec.form is not StorageForm.FF1:
            continue
        if spec not in shown:
            yield f"field {spec.entity}.{spec.name} has form ff1, but shown names no place where answers show it"
        if profile.walk is not None and spec not in walked:
            yield f"field {spec.entity}.{spec.name} has form ff1, but walk does not read it: it cannot be protected"


def _used(source: Any, *keys: str) -> set[str]:
    """Names listed under any of the keys anywhere in the source."""
    found: set[str] = set()
    if isinstance(source, dict):
        for key, value in source.items():
            if key in keys and isinstance(value, list):
                found.update(item for item in value if isinstance(item, str))
            found |= _used(value, *keys)
    elif isinstance(source, list):
        for item in source:
            found |= _used(item, *keys)
    return found


def _attributes(profile: Profile) -> Iterator[str]:
    """Attributes nobody would ever know, or anybody could change who has rights by them."""
    entities = {entity for entity, _ in profile.field_specs}
    for place in profile.attributes.places:
        if place.entity not in entities:
            yield f"attribute {place.name} is of an entity without fields"
        for page in place.pages:
            if not any(fnmatchcase(name, page) for name in profile.operation_ids):
                yield f"attribute {place.name} is told on {page}, but no operation has this id"
    for name in sorted(profile.attributes.names.difference(*profile.attributes.written.values())):
        yield f"attribute {name} says no names by which requests write it: whoever has rights by it could change it"


def _pages(profile: Profile) -> list[str]:
    paths = [rule["path"] for rule in profile.discoveries]
    if profile.whoami is not None:
        paths.append(profile.whoami.path)
    return [
        f"the gateway would ask for {path} itself, but no operation describes it"
        for path in paths
        if profile.classify("GET", path, "", None, "").id == "unmatched.read"
    ]


def check_policy(text: str, profiles: Iterable[Profile]) -> list[str]:
    """What is wrong or doubtful with a policy bundle, given the installed profiles; empty when there is nothing."""
    try:
        rows, links = parse_rows(text)
    except PolicyInvalid as invalid:
        return list(invalid.problems)
    if not rows:
        return ["the policy has no grants: nobody may do anything"]
    installed = list(profiles)
    fields = {(spec.entity, spec.name): spec for profile in installed for spec in profile.field_specs.values()}
    operations = {name for profile in installed for name in profile.operation_ids} | set(CONSOLE_OPERATIONS)
    operations |= {f"proof.{name}" for name in operations if not name.startswith("console.")}
    told = {name for profile in installed for name in profile.attributes.names}
    problems = []
    for row in rows:
        problem = _doubt(row, fields, operations)
        if problem:
            problems.append(f"role {row.role}: {problem}")
        problems += [
            f"role {row.role}: no installed profile tells {one.name} of a record: nobody ever knows it"
            for one in row.where
            if one.name not in told
        ]
    bundle = Enforcer(fields, operations).load(text)
    problems += _roles(bundle, rows, links)
    return sorted(set(problems))


def _doubt(row: Grant, fields: Collection[tuple[str, str]], operations: Collection[str]) -> str | None:
    family, _, name = row.obj.partition(":")
    if family == "op" and not any(covers(f"op:{known}", row.obj) for known in operations):
        return f"no installed profile has an operation {name}"
    if family == "field":
        entity, _, field = name.partition("#")[0].partition(".")
        entities = {known for known, _ in fields}
        if entity != "*" and entity not in entities:
            return f"no installed profile has an entity {entity}"
        if "*" not in (entity, field) and (entity, field) not in fields:
            return f"no installed profile has a field {entity}.{field}"
    return None


def _roles(bundle: Bundle, rows: Iterable[Grant], links: Iterable[Inheritance]) -> Iterator[str]:
    tenants: dict[str, set[str]] = {}
    inherited = {link.role for link in links}
    for row in rows:
        tenants.setdefault(row.role, set()).add(row.tenant)
    for role, named in sorted(tenants.items()):
        if is_placement(role):
            continue
        tenant = sorted(named)[0]
        tenant = "any" if tenant == "*" else tenant
        if role not in inherited and not any(row.role == role and row.obj.startswith("op:") for row in rows):
            yield f"role {role}: has no operation at all, its holders can only sign in"
        view = bundle.view(tenant, {role})
        crm = bundle.may(tenant, {role}, "page.home", "read")
        console = any(bundle.may(tenant, {role}, name) for name in ("console.users", "console.settings"))
        if crm and console and view.sees_everything:
            yield f"role {role}: sees all personal data and runs the gateway as well; separate the two"


def explain(
    profile: Profile,
    method: str,
    target: str,
    body: bytes = b"",
    content_type: str = "application/x-www-form-urlencoded",
    *,
    bundle: Bundle | None = None,
    tenant: str = "demo",
    roles: Collection[str] = (),
) -> Explanation:
    """What a request would mean: operation, fields and search operands found, and (with a bundle) the decision."""
    path, _, query = target.partition("?")
    operation = profile.classify(method.upper(), path, query, body or None, content_type)
    leaves = leaves_of(body, content_type)
    parts = part_operations(profile, operation, body)
    if operation.graphql is not None:
        return _graphql(operation, operation.graphql, parts, bundle, tenant, roles)
    return Explanation(
        operation=operation.id,
        entity=operation.entity,
        action=operation.action.value,
        record=operation.record or ", ".join(operation.records[:20]),
        outcome=_outcome_of_all([operation, *parts], bundle, tenant, roles),
        notes=(*_notes(profile, operation), *(f"part {number}: {one.id}" for number, one in enumerate(parts, 1))),
        leaves=tuple(_explained(operation, leaves)) if method.upper() not in {"GET", "HEAD"} else (),
        searches=tuple(_searched(operation, leaves, path, query, profile.tables)),
    )


def _graphql(
    operation: Operation,
    asked: Asked,
    parts: list[Operation],
    bundle: Bundle | None,
    tenant: str,
    roles: Collection[str],
) -> Explanation:
    view = bundle.view(tenant, frozenset(roles)) if bundle is not None else None
    reason = refusal(asked, view)
    outcome = f"would be refused: {reason}" if reason else _outcome_of_all([operation, *parts], bundle, tenant, roles)
    told = [(one, LeafExplained(one.place, one.what, *_told(one.spec))) for one in places_of(asked)]
    return Explanation(
        operation.id,
        operation.entity,
        operation.action.value,
        operation.record or ", ".join(operation.records[:20]),
        outcome,
        tuple(f"part {number}: {one.id}" for number, one in enumerate(parts, 1)),
        tuple(leaf for one, leaf in told if one.written),
        tuple(leaf for one, leaf in told if not one.written),
    )


def _told(spec: FieldSpec | None) -> tuple[str, str]:
    """(field, kind) as words."""
    if spec is None:
        return "", ""
    return f"{spec.entity}.{spec.name}", spec.kind.value if spec.kind is not None else ""


def _outcome_of_all(operations: list[Operation], bundle: Bundle | None, tenant: str, roles: Collection[str]) -> str:
    """The outcome of a request and of each request in it: one that is refused refuses all."""
    if operations[0].batch is not None and len(operations) == 1:
        return "depends on the requests in it, which cannot be told here"
    found = [_outcome(one, bundle, tenant, roles) for one in operations]
    return next((one for one in found if one.startswith("would be refused")), found[0])


def _outcome(operation: Operation, bundle: Bundle | None, tenant: str, roles: Collection[str]) -> str:
    if bundle is None:
        reason = operation.extra.get("refused", "write-not-granted")
        return f"would be refused: {reason}" if not operation.granted_write else "depends on the roles"
    decision = bundle.decide(tenant, frozenset(roles), operation)
    return "would be forwarded" if decision.allowed else f"would be refused: {decision.reason}"


def _notes(profile: Profile, operation: Operation) -> Iterator[str]:
    if operation.id == "unmatched.read" and operation.granted_write:
        yield "no template matches: the answer is scanned and recognised values are masked"
    if operation.id == "unmatched.write":
        yield "no template matches this write, or its body cannot be read: it needs an entry in the profile"
    if operation.left_alone:
        yield "sign-in or staff account: the body is forwarded as it is"
    for spec in profile.field_specs.values():
        if spec.entity == operation.entity:
            yield from _form(spec)
    if not operation.binds:
        yield "the answer will not be trusted to name the new record, because the request chooses where it redirects"
    if operation.merge is not None and operation.searches:
        yield f"a search for several values is asked once for each, at most {operation.merge.most}, and answered as one"
    if operation.opaque != STANDARD or operation.uploads:
        yield told(operation.opaque)
    if operation.unique is not None:
        named = ", ".join(sorted(f"{entity}.{name}" for entity, name in operation.unique.fields))
        yield f"answers that a value of {named} is taken are budgeted for people who do not see it"
    for upload in operation.uploads:
        yield f"file part {upload.part}: " + (
            "tables and vCards are protected"
            if upload.data
            else "streamed unchanged"
            if upload.seal is None
            else "sealed"
        )
        if upload.data and upload.seal is not None:
            yield f"file part {upload.part}: every other file is sealed"
    if operation.action in _WRITES and operation.entity in profile.owned_entities:
        source = {"form": "a field of the form", "actor": "the person who creates it"}.get(
            profile.owner_source, "nothing"
        )
        yield f"the record's owner is told by {source}"


def _form(spec: FieldSpec) -> Iterator[str]:
    if spec.form is not StorageForm.SURROGATE:
        yield f"field {spec.entity}.{spec.name}: {form_in_words(spec)}"


def form_in_words(spec: FieldSpec) -> str:
    """What stands in the CRM instead of a value of this field, and what cannot be done with it."""
    match spec.form:
        case StorageForm.BESIDE:
            assert spec.placeholder is not None
            last = placeholder(spec.placeholder, DAYS - 1)
            return (
                f"kept beside the CRM, which holds {spec.placeholder} or another day up to {last};"
                " it cannot be searched for or sorted by"
            )
        case StorageForm.CELL:
            return "sealed whole in its column; it cannot be searched for or sorted by"
        case StorageForm.FF1:
            long = " or ".join(map(str, spec.digits))
            return (
                f"{long} digits that stay digits (FF1) and fail their check digit ({spec.check}); found by place only,"
                " searched for whole, never shredded: erased by overwriting"
            )
        case _:
            return f"up to {spec.max_chars} characters"


def _explained(operation: Operation, leaves: Mapping[tuple[str, ...], str]) -> Iterator[LeafExplained]:
    for path, text in leaves.items():
        siblings = {key[-1]: value for key, value in leaves.items() if key[:-1] == path[:-1] and key != path}
        what, spec = treatment(operation, path, siblings, text=text, leaves=leaves)
        if what is Treatment.LEAVE:
            continue
        field = "" if spec is None else f"{spec.entity}.{spec.name}"
        kind = spec.kind.value if spec is not None and spec.kind is not None else ""
        yield LeafExplained(".".join(path), what.value, field, kind)


def _searched(
    operation: Operation, leaves: Mapping[tuple[str, ...], str], path_given: str, query: str, tables: Tables
) -> Iterator[LeafExplained]:
    for template, spec in path_operands(operation.searches, path_given):
        kind = spec.kind.value if spec is not None and spec.kind is not None else ""
        yield LeafExplained(template, "path", "" if spec is None else f"{spec.entity}.{spec.name}", kind)
    parameters = leaves_of(query.encode("utf-8", "replace"), "application/x-www-form-urlencoded")
    for where in Where:
        given = leaves_in(operation, where, parameters, leaves)
        for path, operator, spec, rule in search_operands(operation, where, given):
            if rule.language:
                for column, what, named in columns_of(rule, path[-1], given[path], tables):
                    of = "" if named is None else f"{named.entity}.{named.name}"
                    kind = named.kind.value if named is not None and named.kind is not None else ""
                    yield LeafExplained(".".join((*path, column)), what, of, kind)
                continue
            field = "" if spec is None else f"{spec.entity}.{spec.name}"
            kind = spec.kind.value if spec is not None and spec.kind is not None else ""
            yield LeafExplained(".".join(path), operator, field, kind)
