"""What is known of a record while one exchange lasts, and which rights over it that makes.

An attribute counts only for the answer that tells it: nothing is kept, so nothing is stale, and nobody's page is
evidence for another one. Who owns a record, and whose team that is, is known as ownership is (gateway.records).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from gateway.body import charset as charsets
from gateway.body import media
from gateway.body.csv import open_csv
from gateway.body.fault import BodyFault
from gateway.body.leaf import Container
from gateway.body.media import Media
from gateway.body.xlsx import open_xlsx
from gateway.exchange import Exchange
from gateway.records import ANY_ENTITY, Records
from gateway.refusal import FIELD_NOT_WRITABLE, Refusal
from gateway.typed import merges
from policies import attribute
from policies.criterion import TEAM, Facts, number_of, word
from policies.decision import FieldView
from policies.operation import Action
from policies.profile import Profile

# Actions by which nobody changes a record that is there; a new one is made of what its maker typed.
_KEEP = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT, Action.ASSET, Action.DELETE, Action.CREATE})
_ANY_ENTITY = "record"  # entity of operations on records of any kind
RecordFacts = Mapping[tuple[str, str], Facts]


def rights(
    view: FieldView, entity: str, record: str | None, records: Records, tenant: str, now: datetime, facts: RecordFacts
) -> FieldView:
    """The rights over one record; owners and departments must have been loaded before."""
    if not view.criteria or record is None:
        return view
    known = dict(facts.get((entity, record), {}))
    departments = team_of(records, tenant, entity, record, now)
    if departments is not None:
        known[TEAM] = departments
    return view.of(known)


def writing(exchange: Exchange, entity: str, records: Sequence[str] | None = None) -> FieldView:
    """The rights to write into a field: what holds for the record that is written, as the CRM shows it just now.

    records: those that this very value is written to, None: those of the operation. Of a record of another entity, of
    several, of another one than the operation's and of a new one nothing is known.
    """
    operation, decision = exchange.operation, exchange.decision
    if decision is None:
        raise RuntimeError("a write is looked at only after a decision")
    view = decision.view
    if not view.criteria or operation is None or operation.record is None or operation.entity != entity:
        return view
    if len(operation.records) > 1 or (records is not None and tuple(records) != (operation.record,)):
        return view
    return view.of(exchange.facts.get((entity, operation.record), {}))


def asks_team(view: FieldView) -> bool:
    """Whether it matters to a view in whose department the owner of a record is."""
    return any(one.name == TEAM for one in view.criteria)


def team_of(records: Records, tenant: str, entity: str, record: str, now: datetime) -> tuple[str, ...] | None:
    """The departments of a record's owner; None where one of the two is not known."""
    owner = records.owner(tenant, entity, record, now) or records.owner(tenant, ANY_ENTITY, record, now)
    return None if owner is None else records.departments(tenant, owner, now)


def learn(exchange: Exchange, profile: Profile, kind: Media, charset: str, body: bytes) -> None:
    """Forget what was known and note what this answer tells of records, for somebody to whom it matters."""
    exchange.facts = told(exchange, profile, kind, charset, body)


def told(exchange: Exchange, profile: Profile, kind: Media, charset: str, body: bytes) -> attribute.Told:
    """What an answer tells of records; nothing for a view that asks nothing, or where names are the request's own."""
    operation, decision = exchange.operation, exchange.decision
    # The names in an answer to GraphQL are what the request calls them, and parts of a batch are in one document.
    if operation is None or decision is None or not decision.view.criteria or exchange.batch is not None:
        return {}
    places = profile.attributes.of(operation)
    if not places:
        return {}
    if kind is Media.JSON:
        return attribute.in_json(places, operation, body, profile.record_ids)
    if kind is Media.HTML:
        page = charsets.to_utf8(body, charsets.codec_of(charset))
        return attribute.in_page(places, operation, page, profile.record_ids)
    if kind in (Media.CSV, Media.XLSX):
        try:
            table = open_csv(body, charset) if kind is Media.CSV else open_xlsx(body)
        except BodyFault:
            return {}
        cells = [(one.path[0], one.path[1], one.text) for one in table.leaves if len(one.path) == 2]
        return attribute.in_table(places, cells, profile.record_ids)
    return {}


def tells_in_tables(exchange: Exchange, profile: Profile) -> bool:
    """Whether a column of such a table tells of its records what matters to the person: it is read as a whole then."""
    operation, decision = exchange.operation, exchange.decision
    if operation is None or decision is None or not decision.view.criteria:
        return False
    return any(isinstance(one.value, attribute.Column) for one in profile.attributes.of(operation))


async def look(exchange: Exchange, profile: Profile) -> None:
    """What the CRM shows just now of the one record that is written, for somebody whose rights depend on it."""
    operation, decision = exchange.operation, exchange.decision
    if decision is None or not decision.view.criteria or operation is None or exchange.showing is None:
        return
    if operation.record is None or not profile.attributes.places:
        return
    page = await exchange.showing.page()
    if page is not None:
        kind = media.sniff(page.content_type, None, page.body)
        charset = media.charset_of(page.content_type, kind, page.body)
        exchange.facts = told(page.exchange, profile, kind, charset, page.body)


def require_kept(exchange: Exchange, profile: Profile, parts: Iterable[tuple[Container, bool]]) -> None:
    """Refuse a write of an attribute on which the writer's own rights depend: who could change it would let himself in.

    What says the same as the record does passes: forms post every field. A name counts wherever it stands in a path.
    parts: each with whether the first step of its paths is the label of a column. Raises Refusal.
    """
    names = _names_at_stake(exchange, profile)
    operation = exchange.operation
    if not names or operation is None:
        return
    if merges(operation):  # the one that stays may get it from the other
        require_no_write(exchange, profile)
    known = exchange.facts.get((operation.entity, operation.record or ""), {})
    for container, labels in parts:
        for leaf in container.leaves:
            steps = leaf.path[:1] if labels else leaf.path
            at_stake = next((names[key] for step in steps if (key := step.casefold().strip()) in names), ())
            for name in at_stake:
                if not _same(leaf.text, attribute.posted(known, name)):
                    raise Refusal(FIELD_NOT_WRITABLE, fields=(name.partition(".")[2],))


def _same(text: str, values: tuple[str, ...]) -> bool:
    number = number_of(text.strip())
    return len(values) == 1 and (
        word(text) == word(values[0]) or (number is not None and number == number_of(values[0]))
    )


def require_no_write(exchange: Exchange, profile: Profile) -> None:
    """The same of a request whose leaves say it otherwise than by their names (GraphQL); raises Refusal."""
    names = _names_at_stake(exchange, profile)
    if names:
        raise Refusal(FIELD_NOT_WRITABLE, fields=(next(iter(names.values()))[0].partition(".")[2],))


def _names_at_stake(exchange: Exchange, profile: Profile) -> dict[str, tuple[str, ...]]:
    """Names by which this request could write attributes that the person's rights depend on → these."""
    operation, decision = exchange.operation, exchange.decision
    if decision is None or operation is None or not decision.view.criteria or operation.action in _KEEP:
        return {}
    asked = {one.name for one in decision.view.criteria}
    found: dict[str, tuple[str, ...]] = {}
    for (entity, key), names in profile.attributes.written.items():
        if operation.entity in (entity, _ANY_ENTITY):
            found[key.casefold()] = (*found.get(key.casefold(), ()), *sorted(names & asked))
    return {key: names for key, names in found.items() if names}
