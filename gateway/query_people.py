"""Whom `person('contact/17')` means in an auditor's statement: pseudonyms, found as `crmgate audit who` finds them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from audit.sql.answer import QueryFailed
from audit.sql.refused import StatementRefused
from gateway.named_people import NamedPeople
from kms.connections import StoreUnavailable
from kms.provider import KeysUnavailable
from kms.pseudonym import is_pseudonym

Named = Callable[[str, Sequence[str]], Awaitable[Mapping[str, Sequence[str]]]]
"""Tenant, and persons as "kind/number" → the pseudonyms of each; raises StatementRefused, QueryFailed."""


async def nobody(_tenant: str, _asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Nobody is named where no keys are open. Raises: QueryFailed."""
    raise QueryFailed("keys")


async def pseudonyms_of_persons(people: NamedPeople, tenant: str, asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The pseudonyms of each person; none for who is unknown or erased. Raises: StatementRefused, QueryFailed."""
    found = {}
    for text in asked:
        kind, _, number = text.partition("/")
        if not people.holds_people(tenant, kind):
            raise StatementRefused("person-kind", kind)
        try:
            names = await people.names_of(tenant, kind, number)
        except (KeysUnavailable, StoreUnavailable):
            raise QueryFailed("keys") from None
        # The CRM's own number, which old entries have, may be somebody else's in another kind.
        found[text] = [name for name in names if is_pseudonym(name) and name != number]
    return found
