"""Probes of the oracle drill at DjangoCRM: parameters named after columns, numbered orders, search, pages, exports."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from urllib.parse import urlencode

from gateway.demo.browser import Answer, BrowserFault
from gateway.demo.driver import Driver
from tests.drills.oracle_probe import LOOKUPS, Hidden, Probe

_LIST = "/en/123/crm/contact/"
_COLUMNS = {
    "last_name": "last_name",
    "first_name": "first_name",
    "phone": "phone",
    "email": "email",
    "address": "address",
}


def probes(hidden: Hidden) -> list[Probe]:
    """All of them."""
    return [*_filters(hidden), *_orders(hidden), *_searches(hidden), *_pages()]


def _get(path: str, **given: str) -> Callable[[Driver], Sequence[Answer]]:
    def ask(driver: Driver) -> Sequence[Answer]:
        return [driver.browser.get(f"{path}?{urlencode(given)}" if given else path)]

    return ask


def _filters(hidden: Hidden) -> Iterator[Probe]:
    for column, name in _COLUMNS.items():
        operands = list(hidden.operands(column))
        for number, lookup in enumerate(LOOKUPS):
            for step in (0, 3, 5):
                what, text = operands[(number + step) % len(operands)]
                yield Probe(
                    "filter", f"{name}__{lookup}, {what}", _get(_LIST, **{"all": "yes", f"{name}__{lookup}": text})
                )
        for what, text in operands:
            yield Probe("filter", f"{name}, {what}", _get(_LIST, **{"all": "yes", name: text}))
            through = _get("/en/123/crm/company/", **{"all": "yes", f"contact__{name}__startswith": text})
            yield Probe("filter", f"companies whose contact has {name}, {what}", through)
    for lookup, person in product(("year", "gt", "lte"), (hidden.here, hidden.there)):
        text = str(person.birthday.year) if lookup == "year" else person.birthday.isoformat()
        yield Probe("filter", f"birth_date__{lookup}", _get(_LIST, **{"all": "yes", f"birth_date__{lookup}": text}))


def _orders(hidden: Hidden) -> Iterator[Probe]:
    for number, way in product(range(1, 9), ("", "-")):
        if not (hidden.protected and number in (1, 4, 5)):  # names: random surrogates, of which some are seen
            yield Probe("sort", f"column {way}{number}", _get(_LIST, all="yes", o=f"{way}{number}"))
            yield Probe("sort", f"column 7, then {way}{number}", _get(_LIST, all="yes", o=f"7.{way}{number}"))


def _searches(hidden: Hidden) -> Iterator[Probe]:
    for column in _COLUMNS:
        for what, text in hidden.operands(column):
            if text.isdecimal() and len(text) < 8:
                continue  # a few digits are part of surrogates, too, by chance
            yield Probe("search", f"{what} of {column}", _get(_LIST, all="yes", q=text))


def _pages() -> Iterator[Probe]:
    for path in (
        "/en/123/",
        "/en/123/crm/contact/",
        "/en/123/crm/company/",
        "/en/123/crm/lead/",
        "/en/123/crm/request/",
    ):
        yield Probe("include", path, _get(path, all="yes"))

    def everybody(driver: Driver) -> Sequence[Answer]:
        numbers = set(re.findall(r"/crm/contact/(\d+)/change/", driver.browser.get(f"{_LIST}?all=yes").text))
        if not numbers:
            raise BrowserFault("the list shows nobody, so that nothing could be told")
        return [driver.browser.get(f"{_LIST}{number}/change/") for number in sorted(numbers, key=int)]

    yield Probe("include", "the page of everybody", everybody)
    for given in ({"phone__nonsense": "1"}, {"nonsense__gt": "1"}, {"phone__regex": "("}, {"o": "x"}):
        yield Probe("error", f"{next(iter(given))} that means nothing", _get(_LIST, **given))
