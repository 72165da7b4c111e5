"""Sorting by protected columns, asking which of their values are greater, and looking for parts: who may.

Surrogates have an order and signs that say nothing, so nobody gets an answer to "greater than": it would be wrong.
Lists may be ordered by them where it does no harm. Where values still stand in clear, their order and their parts are
an oracle: only who sees every one of them may ask for either.
"""

from collections.abc import Callable, Iterable

from gateway.exchange import Exchange
from gateway.refusal import FIELD_NOT_ORDERED, SEARCH_WHILE_CLEAR, Refusal
from gateway.sight import decided
from policies.comparison import EMPTY, ORDER, RANGES, Compared, sees_clear
from policies.decision import FieldView
from privacy import recognise


class Comparing:
    """Judges the comparisons of one gateway's requests. migrated: whether a tenant's CRM holds no value in clear."""

    def __init__(self, migrated: Callable[[str], bool]) -> None:
        self._migrated = migrated

    def stands_clear(self, tenant: str) -> bool:
        """Whether the CRM of a tenant may still hold values in clear."""
        return not self._migrated(tenant)

    def require(self, exchange: Exchange, compared: Iterable[Compared]) -> None:
        """Raise Refusal FIELD_NOT_ORDERED or SEARCH_WHILE_CLEAR where this person may not compare what they ask for."""
        view, migrated = decided(exchange).view, self._migrated(exchange.tenant)
        for one in compared:
            if one.comparison in RANGES or (one.comparison == ORDER and not _may_order(view, one, migrated=migrated)):
                raise Refusal(FIELD_NOT_ORDERED, detail=one.comparison, fields=(one.column,))
            if one.comparison in EMPTY or one.comparison == ORDER or view.sees_everything or migrated:
                continue
            if not one.text or recognise.whole(one.text) is None:  # a whole value is searched for by its surrogate
                raise Refusal(SEARCH_WHILE_CLEAR, detail=one.comparison, fields=(one.column,))


def _may_order(view: FieldView, one: Compared, *, migrated: bool) -> bool:
    """By what the CRM orders by anyway; by fields that are clear everywhere, or somewhere while order means nothing."""
    if view.sees_everything or one.anyway:
        return True
    return all(sees_clear(view, spec, somewhere=migrated) for spec in one.fields)
