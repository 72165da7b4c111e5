"""How a member of staff works in a CRM through a browser or its API: log in, add people, add organisations.

The same calls go to the CRM itself or to the gateway in front of it; the driver does not know which.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from gateway.demo.bottle import LINKS, sign_in_links
from gateway.demo.browser import Answer, Browser, BrowserFault, forms
from gateway.demo.people import Organisation, Person
from gateway.demo.tryton import DATABASE

DJANGOCRM = "/en/123"
"""Where its pages are: the language, and the first part of the path that each installation chooses."""


class DriverFault(Exception):  # noqa: N818 - names what the CRM said
    """The CRM did not take what was entered; the text names the page and the fields, never a value."""

    permanent = True


class Driver(Protocol):
    """One person at work."""

    browser: Browser

    def log_in(self, login: str, password: str) -> None:
        """Log in to the CRM itself."""
        ...

    def add_person(self, person: Person) -> str:
        """Add a contact; its record id."""
        ...

    def add_organisation(self, organisation: Organisation) -> str:
        """Add an organisation; its record id."""
        ...


class CremeDriver:
    """Creme through its own forms."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._pages: dict[str, Answer] = {}

    def log_in(self, login: str, password: str) -> None:
        """Fill the login form; raises DriverFault when Creme shows it again."""
        page = self.browser.get("/creme_login/").expect(200)
        answer = self.browser.submit(
            page, {"username": login, "password": password}, _with(page, "username"), follow=False
        )
        if answer.status != 302:
            raise DriverFault(f"Creme did not let {login} in ({answer.status})")

    def add_person(self, person: Person) -> str:
        """Fill the contact form."""
        return self._add(
            "/persons/contact/add",
            "last_name",
            {
                "last_name": person.last_name,
                "first_name": person.first_name,
                "mobile": person.phone,
                "email": person.email,
                "birthday": person.birthday.isoformat(),
                "billing_address-address": person.address,
                "billing_address-city": person.city,
                "description": person.notes,
            },
        )

    def add_organisation(self, organisation: Organisation) -> str:
        """Fill the organisation form."""
        return self._add(
            "/persons/organisation/add",
            "name",
            {
                "name": organisation.name,
                "phone": organisation.phone,
                "email": organisation.email,
                "billing_address-address": organisation.address,
                "billing_address-city": organisation.city,
                "description": organisation.notes,
            },
        )

    def _add(self, path: str, mark: str, values: dict[str, str]) -> str:
        # One form serves many posts: its token stays good for the whole session.
        page = self._pages.get(path)
        if page is None:
            page = self._pages[path] = self.browser.get(path).expect(200)
        answer = self.browser.submit(page, dict(values), _with(page, mark), follow=False)
        if answer.status != 302:
            raise DriverFault(f"{path} answered {answer.status}: {_complaints(answer)}")
        return urlsplit(answer.header("location")).path.rstrip("/").rpartition("/")[2]


class DjangoCrmDriver:
    """DjangoCRM through its own forms; a contact works for a company, so private customers share one of the user's."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._pages: dict[str, Answer] = {}
        self._login = ""
        self._company = ""

    def log_in(self, login: str, password: str) -> None:
        """Fill the login form; raises DriverFault when DjangoCRM shows it again."""
        page = self.browser.get(f"{DJANGOCRM}/789-login/").expect(200)
        answer = self.browser.submit(
            page, {"username": login, "password": password}, _with(page, "username"), follow=False
        )
        if answer.status != 302:
            raise DriverFault(f"DjangoCRM did not let {login} in ({answer.status})")
        self._login = login

    def add_person(self, person: Person) -> str:
        """Fill the contact form."""
        self._company = self._company or self._own_company()
        return self._add(
            "contact",
            "first_name",
            {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
                "mobile": person.phone,
                "birth_date": person.birthday.isoformat(),
                "address": person.address,
                "description": person.notes,
                "company": self._company,
            },
        )

    def add_organisation(self, organisation: Organisation) -> str:
        """Fill the company form."""
        return self._add(
            "company",
            "full_name",
            {
                "full_name": organisation.name,
                "phone": organisation.phone,
                "email": organisation.email,
                "address": organisation.address,
                "description": organisation.notes,
            },
        )

    def _own_company(self) -> str:
        name = f"Private customers of {self._login}"
        return self._add("company", "full_name", {"full_name": name, "email": f"{self._login}@private.example.com"})

    def _add(self, model: str, mark: str, values: dict[str, str]) -> str:
        path = f"{DJANGOCRM}/crm/{model}/add/"
        page = self._pages.get(path)
        if page is None:
            page = self._pages[path] = self.browser.get(path).expect(200)
        # "Save and continue editing": its answer leads to the new record.
        given: dict[str, str | None] = {**values, "_continue": "Save and continue editing"}
        answer = self.browser.submit(page, given, _with(page, mark), follow=False)
        if answer.status != 302:
            raise DriverFault(f"{path} answered {answer.status}: {_complaints(answer)}")
        return urlsplit(answer.header("location")).path.rstrip("/").split("/")[-2]


class TrytonDriver:
    """Tryton through its JSON-RPC."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._session = ""
        self._count = 0

    def log_in(self, login: str, password: str) -> None:
        """Log in; the session token goes into a header of every later call."""
        told = self.call("common.db.login", [login, {"password": password}, "en"])
        self._session = f"{login}:{told[0]}:{told[1]}"
        token = b64encode(self._session.encode()).decode()
        self.browser.extra_headers["authorization"] = f"Session {token}"

    def add_person(self, person: Person) -> str:
        """A party with mobile, e-mail, address and ID number."""
        identifiers = [{"type": None, "code": code} for code in (person.id_card, person.bank_card) if code]
        values = {
            "name": person.full_name,
            "contact_mechanisms": [_create([_way("mobile", person.phone), _way("email", person.email)])],
            "addresses": [_create([{"street": person.address, "city": person.city}])],
        }
        if identifiers:
            values["identifiers"] = [_create(identifiers)]
        return str(self.call("model.party.party.create", [[values], {}])[0])

    def add_organisation(self, organisation: Organisation) -> str:
        """A party with switchboard, mailbox and address."""
        values = {
            "name": organisation.name,
            "contact_mechanisms": [_create([_way("phone", organisation.phone), _way("email", organisation.email)])],
            "addresses": [_create([{"street": organisation.address, "city": organisation.city}])],
        }
        return str(self.call("model.party.party.create", [[values], {}])[0])

    def call(self, method: str, params: Sequence[Any]) -> Any:
        """One call; raises DriverFault with the kind of error, BrowserFault for a status other than 200."""
        self._count += 1
        body = {"id": self._count, "method": method, "params": list(params)}
        value = self.browser.post_json(f"/{DATABASE}/rpc/", body).expect(200).json()
        if isinstance(value, dict) and "error" in value:
            raise DriverFault(f"Tryton refused {method}: {value['error'][0] if value['error'] else ''}")
        return value["result"] if isinstance(value, dict) and "result" in value else value


class BottleDriver:
    """BottleCRM through its REST interface."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.refresh = ""

    def log_in(self, login: str, password: str) -> None:
        """Use up one of the sign-in links; the access token goes into a header of every later call.

        Raises DriverFault when none of them is taken.
        """
        links = list(sign_in_links(login, password))
        first = secrets.randbelow(LINKS)  # several may sign in at the same time
        for link in links[first:] + links[:first]:
            answer = self.browser.post_json("/api/auth/magic-link/verify/", {"token": link})
            if answer.status == 200:
                told = answer.json()
                self.refresh = told["refresh_token"]
                self.browser.extra_headers["authorization"] = f"Bearer {told['access_token']}"
                return
            if answer.status != 400:  # a link that was used already
                break
        raise DriverFault(f"BottleCRM did not let {login} in ({answer.status})")

    def add_person(self, person: Person) -> str:
        """Add a contact."""
        return self._add(
            "/api/contacts/",
            {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "phone": person.phone,
                "email": person.email,
                "address_line": person.address,
                "city": person.city,
                "description": person.notes,
            },
        )

    def add_organisation(self, organisation: Organisation) -> str:
        """Add an account."""
        return self._add(
            "/api/accounts/",
            {
                "name": organisation.name,
                "phone": organisation.phone,
                "email": organisation.email,
                "address_line": organisation.address,
                "city": organisation.city,
                "description": organisation.notes,
            },
        )

    def _add(self, path: str, values: dict[str, str]) -> str:
        answer = self.browser.post_json(path, values)
        if answer.status not in (200, 201):
            told = answer.json() if "json" in answer.header("content-type") else {}
            errors = told.get("errors") if isinstance(told, dict) else None
            fields = ", ".join(sorted(errors)) if isinstance(errors, dict) else ""
            raise DriverFault(f"{path} answered {answer.status}: {fields or 'refused'}")
        return str(answer.json()["id"])


DRIVERS: Mapping[str, Callable[[Browser], Driver]] = {
    "creme": CremeDriver,
    "djangocrm": DjangoCrmDriver,
    "tryton": TrytonDriver,
    "bottle": BottleDriver,
}


def make_driver(crm: str, browser: Browser) -> Driver:
    """The driver for a CRM by its name."""
    return DRIVERS[crm](browser)


def _create(values: list[dict[str, Any]]) -> list[Any]:
    return ["create", values]


def _way(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, "value": value}


def _with(page: Answer, name: str) -> int:
    """Index of the form that has a field of this name."""
    for index, form in enumerate(forms(page)):
        if any(key == name for key, _ in form.fields):
            return index
    raise BrowserFault(f"{urlsplit(page.url).path} has no form with {name}")


def _complaints(answer: Answer) -> str:
    """Names of the fields a refused form complains about."""
    tree = LexborHTMLParser(answer.body)
    marked = ".field-error input, .field-error textarea, .errors input, .errors textarea"
    named = [node.attributes.get("name") or "" for node in tree.css(marked)]
    return ", ".join(sorted(filter(None, named))) or "the form was refused"
