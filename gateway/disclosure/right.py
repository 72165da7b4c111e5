"""Whether a person may have one value revealed: asked of the policy per origin, as for rendering."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from gateway.records import ANY_ENTITY, Records
from kms.tokens import Origin
from policies.decision import FieldView, Form


class RevealRight(Protocol):
    """What the policy says about revealing."""

    def any(self, view: FieldView) -> bool:
        """Whether there is anything this view lets reveal."""
        ...

    def may(self, view: FieldView, kind: str, origin: Origin, *, owned: bool) -> bool:
        """Whether a value of this kind that stands at an origin bound to a record may be revealed."""
        ...


def permitted(
    right: RevealRight,
    view: FieldView,
    records: Records,
    tenant: str,
    crm_user: str | None,
    now: datetime,
    kind: str,
    origins: Iterable[Origin],
) -> list[Origin]:
    """The origins by which a value may be revealed; owners must have been loaded before. Unbound ones never do."""
    return [
        one
        for one in origins
        if one.record is not None
        and right.may(view, kind, one, owned=_owned(records, tenant, one.entity, one.record, crm_user, now))
    ]


def _owned(records: Records, tenant: str, entity: str, record: str, crm_user: str | None, now: datetime) -> bool:
    owner = records.owner(tenant, entity, record, now) or records.owner(tenant, ANY_ENTITY, record, now)
    return bool(crm_user) and owner == crm_user


class PolicyRight:
    """The right `reveal` of the policy: what is shown masked may be revealed, if every rule over it says so."""

    _MOST = 1_000

    def __init__(self) -> None:
        self._known: dict[int, tuple[FieldView, bool]] = {}  # the view itself keeps its identity from another

    def any(self, view: FieldView) -> bool:
        """Whether there is anything this view lets reveal; looked up once for a view."""
        known = self._known.get(id(view))
        if known is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            rules = (*view.rules.values(), *view.by_kind.values(), *view.in_text.values())
            known = self._known[id(view)] = (view, any(one.revealable_own or one.revealable_other for one in rules))
        return known[1]

    def may(self, view: FieldView, kind: str, origin: Origin, *, owned: bool) -> bool:
        """Whether a value may be revealed; of a kind in a field declared as another, both have to let it."""
        if not view.revealable(origin.entity, origin.field, kind, bound=origin.record is not None, owned=owned):
            return False
        declared = view.rules.get((origin.entity, origin.field))
        if declared is None or (declared.own if owned else declared.other) is Form.CLEAR:
            return True
        return declared.revealable_own if owned else declared.revealable_other
