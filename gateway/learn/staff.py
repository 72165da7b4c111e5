"""Which kinds of records are accounts of staff: those are left alone, else nobody could sign in.

Some words mean staff in one CRM and customers in another (accounts, members, profiles). What sets a password is
staff; whatever else is written there is asked about, and counts as customers until somebody says otherwise.
"""

from collections.abc import Sequence

from gateway.learn.choices import Choices
from gateway.learn.evidence import Evidence
from gateway.learn.proposal import Decision
from gateway.learn.routes import Found, sets_password
from gateway.learn.vocabulary import vocabulary


def staff_of(evidence: Evidence, routes: Sequence[Found], choices: Choices) -> frozenset[str]:
    """The entities of these routes that are accounts of staff."""
    words = vocabulary()
    found = set()
    for entity in {one.entity for one in routes}:
        own = entity.split("_")
        if not words.staff.isdisjoint(own) or (
            not words.maybe_staff.isdisjoint(own) and _are_staff(entity, evidence, routes, choices)
        ):
            found.add(entity)
    return frozenset(found)


def _are_staff(entity: str, evidence: Evidence, routes: Sequence[Found], choices: Choices) -> bool:
    written = [one for one in routes if one.entity == entity and one.action in ("create", "update", "import")]
    if any(sets_password(one, evidence) for one in written):
        return True
    if not written:
        return False  # nobody wrote there: what is read is protected like everything else
    asked = Decision(
        f"staff.{entity}",
        f"Are the records called “{entity}” accounts of your own staff, or customers?",
        {"customers": "customers: protected like everybody", "staff": "staff: left alone"},
        "customers",
        2.7,
        tuple(sorted(one.key for one in written))[:6],
        {"entity": entity},
    )
    return choices.get(asked) == "staff"
