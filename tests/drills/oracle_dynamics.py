"""Probes of the oracle drill at a Dataverse: OData filters, orders, groups, expansions, keys in paths, and errors.

The CRM is the small server of the hosted tests, which reads OData by itself and compares what it holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from urllib.parse import quote, urlencode

from gateway.demo.browser import Answer, Browser, BrowserFault
from gateway.demo.driver import Driver
from gateway.demo.people import Organisation, Person
from tests.drills.oracle_probe import Hidden, Probe, by_chance
from tests.hosted.dynamics import BASE, dynamics

SERVER = dynamics
_COLUMNS: Mapping[str, str] = {
    "firstname": "first_name",
    "lastname": "last_name",
    "fullname": "full_name",
    "emailaddress1": "email",
    "telephone1": "phone",
    "address1_line1": "address",
    "description": "notes",
}
_COMPARED = ("eq", "ne", "gt", "ge", "lt", "le")
_PARTS = ("contains", "startswith", "endswith")


@dataclass(slots=True)
class DynamicsDriver:
    """A program of somebody at the Web API; the server takes any bearer token."""

    browser: Browser

    def log_in(self, login: str, password: str) -> None:
        """There is nobody to ask: the token of the program stands in every call."""
        self.browser.extra_headers["authorization"] = f"Bearer token-of-{login}"

    def add_person(self, person: Person) -> str:
        """A contact, and the same person as a lead."""
        values = {name: getattr(person, column) for name, column in _COLUMNS.items() if name != "fullname"}
        lead = {name: values[name] for name in ("firstname", "lastname", "emailaddress1", "telephone1", "description")}
        self._add("leads", {**lead, "subject": "Asked for an offer"})
        given = {**values, "birthdate": person.birthday.isoformat(), "address1_city": "X"}
        return self._add("contacts", {**given, "parentcustomerid_account@odata.bind": self._account()})

    def add_organisation(self, organisation: Organisation) -> str:
        """An account."""
        return self._add("accounts", {"name": organisation.name, "telephone1": organisation.phone})

    def _account(self) -> str:
        found = self.browser.get(f"{BASE}/accounts?$select=accountid").expect(200).json()["value"]
        return f"/accounts({found[0]['accountid'] if found else self._add('accounts', {'name': 'Acme'})})"

    def _add(self, kind: str, values: Mapping[str, str]) -> str:
        answer = self.browser.post_json(f"{BASE}/{kind}", values).expect(204)
        return answer.header("odata-entityid").rpartition("(")[2].rstrip(")")


def at_work(browser: Browser, login: str) -> DynamicsDriver:
    """Somebody at work in this browser."""
    driver = DynamicsDriver(browser)
    driver.log_in(login, "")
    return driver


def probes(hidden: Hidden) -> list[Probe]:
    """All of them."""
    found = [*_filters(hidden), *_orders(), *_groups(hidden), *_expanded(hidden), *_keys(hidden), *_renamed(hidden)]
    return [*found, *_pages(), *_errors(hidden)]


def _get(path: str, **given: str) -> Callable[[Driver], Sequence[Answer]]:
    """One query; options lose the underscore that stands for the dollar sign."""

    def ask(driver: Driver) -> Sequence[Answer]:
        query = urlencode({name.replace("_", "$", 1): value for name, value in given.items()}, quote_via=quote)
        return [driver.browser.get(f"{BASE}/{path}?{query}" if query else f"{BASE}/{path}")]

    return ask


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _short(hidden: Hidden, column: str) -> Iterator[tuple[str, str]]:
    """What a column is compared with, but for what may be part of surrogates, too."""
    found = ((what, text[:60]) for what, text in hidden.operands(column))
    return ((what, text) for what, text in found if not by_chance(text))


def _filters(hidden: Hidden) -> Iterator[Probe]:
    for name, column in _COLUMNS.items():
        for number, (what, text) in enumerate(_short(hidden, column)):
            written, part = _text(text), _PARTS[number % 3]
            whole = f"{name} {_COMPARED[number % 6]} {written}"
            for how, condition in (
                (_COMPARED[number % 6], whole),
                (part, f"{part}({name},{written})"),
                (f"not {part}", f"not {part}({name},{written})"),
                ("in", f"{name} in ({written},'nobody')"),
                ("or", f"(createdon gt 2020-01-01 and {whole}) or address1_city eq 'nowhere'"),
            ):
                ask = _get("contacts", _filter=condition, _select="contactid", _count="true")
                yield Probe("filter", f"{name} {how} {what}", ask)
        for presence in ("eq null", "ne null"):
            yield Probe("filter", f"{name} {presence}", _get("contacts", _filter=f"{name} {presence}"))
    for what, text in _short(hidden, "email"):
        ask = _get("leads", _filter=f"startswith(emailaddress1,{_text(text)})", _top="0", _count="true")
        yield Probe("count", f"leads whose e-mail begins with {what}", ask)
    for what, text in _short(hidden, "phone"):
        condition = f"parentcustomerid_account/telephone1 eq {_text(text)}"
        yield Probe("filter", f"contacts of a firm with phone {what}", _get("contacts", _filter=condition))
    for person, operator in product((hidden.here, hidden.there), _COMPARED):
        condition = f"birthdate {operator} {person.birthday.isoformat()}"
        yield Probe("filter", f"birthdate {operator}", _get("contacts", _filter=condition))


def _orders() -> Iterator[Probe]:
    for name, way in product((*_COLUMNS, "birthdate"), ("asc", "desc")):
        for given in ({"_orderby": f"{name} {way}"}, {"_orderby": f"address1_city,{name} {way}", "_top": "1"}):
            yield Probe("sort", f"{next(iter(given.values()))}", _get("contacts", _select="contactid", **given))
    yield Probe("sort", "createdon", _get("contacts", _orderby="createdon desc", _select="contactid"))


def _groups(hidden: Hidden) -> Iterator[Probe]:
    for name in (*_COLUMNS, "birthdate"):
        for apply in (
            f"groupby(({name}),aggregate($count as total))",
            f"aggregate({name} with max as most)",
            f"groupby(({name}))",
        ):
            yield Probe("group", apply, _get("contacts", _apply=apply))
    for what, text in _short(hidden, "last_name"):
        apply = f"filter(startswith(lastname,{_text(text)}))/aggregate($count as total)"
        yield Probe("group", f"how many {what}", _get("contacts", _apply=apply))


def _expanded(hidden: Hidden) -> Iterator[Probe]:
    for name, column in _COLUMNS.items():
        for inner in (f"$select={name}", f"$orderby={name} desc;$top=1", f"$filter={name} ne null;$select={name}"):
            yield Probe("include", inner, _get("accounts", _expand=f"contact_customer_accounts({inner})"))
        text = str(getattr(hidden.here, column))[:30]
        inner = f"$filter=startswith({name},{_text(text)})"
        yield Probe("include", f"$filter by {name}", _get("accounts", _expand=f"contact_customer_accounts({inner})"))
        yield Probe("include", f"only {name}", _get("contacts", _select=f"contactid,{name}"))
    yield Probe("include", "the firm", _get("contacts", _expand="parentcustomerid_account"))
    yield Probe("include", "everybody of a firm", _get("accounts", _expand="contact_customer_accounts"))


def _keys(hidden: Hidden) -> Iterator[Probe]:
    for kind in ("contacts", "leads"):
        for what, text in _short(hidden, "email"):
            key = quote(f"{kind}(emailaddress1={_text(text)})", safe="()='")
            yield Probe("key", f"{kind} by {what}", _get(key, _select="createdon"))


def _renamed(hidden: Hidden) -> Iterator[Probe]:
    for name in _COLUMNS:
        for given in (
            {"_compute": f"{name} as jobtitle", "_select": "jobtitle"},
            {"_compute": f"length({name}) as size", "_filter": "size gt 5"},
            {"_apply": f"compute({name} as shown)/groupby((shown))"},
            {"_filter": f"tolower({name}) eq @p", "@p": _text(hidden.here.email)},
        ):
            yield Probe("alias", f"{name} by {next(iter(given))}", _get("contacts", **given))


def _pages() -> Iterator[Probe]:
    for path in ("contacts", "leads", "accounts"):
        for given in ({}, {"_top": "2"}, {"_count": "true"}, {"_skiptoken": "2"}, {"_skip": "1"}):
            yield Probe("page", f"{path} {next(iter(given), '')}", _get(path, **given))

    def everybody(driver: Driver) -> Sequence[Answer]:
        ids = [one["contactid"] for one in driver.browser.get(f"{BASE}/contacts?$top=50").expect(200).json()["value"]]
        if not ids:
            raise BrowserFault("the list shows nobody, so that nothing could be told")
        return [driver.browser.get(f"{BASE}/contacts({one})") for one in ids]

    yield Probe("include", "every contact", everybody)


def _errors(hidden: Hidden) -> Iterator[Probe]:
    email = _text(hidden.here.email)
    for condition in (
        "nonsense eq 1",
        f"nonsense(emailaddress1,{email})",
        "emailaddress1 nonsense 'x'",
        f"emailaddress1 eq {email} and",
        f"contains(emailaddress1 {email})",
        f"emailaddress1 eq {email}) or (1 eq 1",
        f"leads/any(l:l/emailaddress1 eq {email})",
        f"emailaddress1 eq {email} /* x */",
        f"startswith(tolower(emailaddress1),{email})",
        f"Microsoft.Dynamics.CRM.ContainValues(PropertyName='emailaddress1',PropertyValues=[{email}])",
    ):
        yield Probe("error", condition.replace(email, "…"), _get("contacts", _filter=condition))
    for given in (
        {"_search": hidden.here.full_name},
        {"_orderby": "nonsense"},
        {"fetchXml": "<fetch/>"},
    ):
        yield Probe("error", f"{next(iter(given))} that is not taken", _get("contacts", **given))
    for path in ("contacts(17)", "nowhere", "contacts(emailaddress1=)", "contacts(telephone1='1')", "contacts/$value"):
        yield Probe("error", path, _get(path))
