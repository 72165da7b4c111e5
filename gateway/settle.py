"""The form a vault entry takes for one principal: decided per origin, never per place of appearance.

Any origin that permits, opens (DESIGN, section 1). An origin without a record, or an entry without origins, opens only
by rights over the kind in the whole tenant. Ownership that is unknown or stale counts as "not owned".
"""

from collections.abc import Iterable
from datetime import datetime

from gateway.facts import RecordFacts, rights
from gateway.records import ANY_ENTITY, RecordKey, Records
from kms.tokens import Origin, VaultEntry
from policies.decision import FieldView, Form

NOWHERE = Origin("", "", None)
NO_FACTS: RecordFacts = {}


def settle(
    entry: VaultEntry,
    view: FieldView,
    records: Records,
    tenant: str,
    crm_user: str | None,
    now: datetime,
    facts: RecordFacts = NO_FACTS,
) -> tuple[Form, Origin]:
    """The most any origin permits, and the origin that permits it; owners must have been loaded before.

    facts: what is known of records, where the view asks for it; see gateway.facts.
    A value of one kind in a field declared as another (a phone number with words in it) shows no more than both allow.
    """
    best, by = Form.HIDDEN, NOWHERE
    for origin in entry.origins or (NOWHERE,):
        record, bound = origin.record, origin.record is not None
        owned = bool(crm_user and record) and _owner(records, tenant, origin.entity, record or "", now) == crm_user
        its = view
        if view.criteria and record is not None:
            its = rights(view, origin.entity, record, records, tenant, now, facts)
        form = its.form(origin.entity, origin.field, entry.kind, bound=bound, owned=owned)
        declared = its.rules.get((origin.entity, origin.field))
        if declared is not None:
            form = min(form, declared.own if owned else declared.other)
        if form > best or (bound and by.record is None and form == best):
            best, by = form, origin
    return best, by


def records_of(entries: Iterable[VaultEntry]) -> set[RecordKey]:
    """Records whose owners must be known before these entries can be settled."""
    return {
        (entity, origin.record)
        for entry in entries
        for origin in entry.origins
        if origin.record is not None
        for entity in (origin.entity, ANY_ENTITY)
    }


def _owner(records: Records, tenant: str, entity: str, record: str, now: datetime) -> str | None:
    """Owner of the record itself, or of its number where the CRM has one number range for all records."""
    return records.owner(tenant, entity, record, now) or records.owner(tenant, ANY_ENTITY, record, now)
