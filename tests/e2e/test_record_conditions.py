"""Rights over records of one kind (`where=`) on a real Creme: list, page, form, export and search, and no way around.

Creme tells the line of business, the state and the capital in another spelling on each kind of page, and in some
answers not at all: there nothing opens.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from selectolax.lexbor import LexborHTMLParser

from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.driver import CremeDriver, Driver
from gateway.demo.people import Person, make_people
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.servers import creme

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
POLICY = """
p, software, *, op:*, *, any
p, software, *, kind:*, masked, any
p, software, *, kind:*, search, any
p, software, *, field:contact.*, clear, any, where=contact.sector:software, where=contact.region:!closed
p, software, *, field:contact.*, write, any, where=contact.sector:software
p, seeker, *, op:*, *, any
p, seeker, *, kind:*, search, any
p, seeker, *, field:contact.*, clear, any, where=contact.sector:software
p, mover, *, op:*, *, any
p, mover, *, kind:*, clear, any
p, mover, *, kind:*, write, any
p, mover, *, field:contact.*, clear, any, deny, where=contact.region:closed
p, small, *, op:*, *, any
p, small, *, kind:*, search, any
p, small, *, field:organisation.*, clear, any, where=organisation.value:<20000
"""
SECTORS = {"Software": "3", "Telecom": "4", "": ""}
LISTS = {"contact": "/persons/contacts", "organisation": "/persons/organisations"}
NOT_WRITABLE = "field-not-writable"


@dataclass
class Office:
    """crmgate in front of a Creme, and people at work; direct: the manager without the gateway."""

    stack: Stack
    manager: CremeDriver
    direct: CremeDriver
    software: Browser
    seeker: Browser
    mover: Browser
    small: Browser
    people: list[Person]
    views: dict[str, str]

    def added(self, state: str = "North", sector: str = "") -> tuple[str, Person]:
        """A new contact of a line of business and a state, written by the manager."""
        person = self.people.pop()
        record = self.manager.add_person(person)
        self.put(record, {"sector": SECTORS[sector], "billing_address-state": state})
        return record, person

    def put(self, record: str, values: dict[str, str]) -> None:
        """The manager's own edit, past the gateway."""
        saved(self.direct.browser, f"/persons/contact/edit/{record}", values).expect(302)

    def at_creme(self, record: str) -> dict[str, str]:
        """The edit form of a contact as Creme has it."""
        page = self.direct.browser.get(f"/persons/contact/edit/{record}").expect(200)
        return dict(next(one.fields for one in forms(page) if any(name == "last_name" for name, _ in one.fields)))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("conditions") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    with creme() as server, installed(server, f'[tenant.main]\npolicy = "{policy}"\n') as stack:
        manager, direct = _creme(at_work(stack, "manager", "wang.manager")), _creme(stack.direct("manager"))
        roles = ("software", "seeker", "mover", "small")
        software, seeker, mover, small = (_creme(at_work(stack, one, "wang.manager")).browser for one in roles)
        views = {
            "contact": _view(direct, "contact", "last_name", "mobile", "email", "sector", "billing_address__state"),
            "narrow": _view(direct, "contact", "last_name", "mobile", "email"),
            "organisation": _view(direct, "organisation", "name", "phone", "email", "capital"),
        }
        people = make_people(random.Random(20261127), 40, foreign_share=0)
        yield Office(stack, manager, direct, software, seeker, mover, small, people, views)
        direct.browser.close()
        close_all()


def _creme(driver: Driver) -> CremeDriver:
    assert isinstance(driver, CremeDriver)
    return driver


def _view(driver: CremeDriver, entity: str, *columns: str) -> str:
    """A view of a list, for everybody, with these columns; its id."""
    cells = ",".join(f"regular_field-{one}" for one in columns)
    path = f"/creme_core/header_filter/add/{_type(driver.browser, entity)}"
    before = _views(driver, entity)
    saved(driver.browser, path, {"name": f"Conditions {len(columns)}", "cells": cells}, "cells").expect(302)
    (made,) = _views(driver, entity) - before
    return made


def _views(driver: CremeDriver, entity: str) -> set[str]:
    return set(re.findall(r'value="(creme_core-userhf_[^"]+)"', driver.browser.get(LISTS[entity]).expect(200).text))


def _type(browser: Browser, entity: str) -> str:
    found = re.search(r"/creme_core/mass_import/(\d+)", browser.get(LISTS[entity]).expect(200).text)
    assert found
    return found[1]


def saved(browser: Browser, path: str, changes: dict[str, str], mark: str = "last_name") -> Answer:
    """A form opened and saved with changes."""
    page = browser.get(path).expect(200)
    form = next(one for one in forms(page) if any(name == mark for name, _ in one.fields))
    about = {"referer": page.url, "origin": browser.base}
    return browser.post(page.url, form.filled(dict(changes)), follow=False, headers=about)


def rows(browser: Browser, entity: str, view: str, **asked: str) -> dict[str, str]:
    """Record → the text of its row."""
    query = urlencode({"hfilter": view, "rows": "100", **asked})
    tree = LexborHTMLParser(browser.get(f"{LISTS[entity]}?{query}").expect(200).body)
    return {
        str(number.attributes["value"]): " ".join(" ".join(one.text().split()) for one in row.css("td.lv-cell-content"))
        for row in tree.css("tr.lv-row")
        for number in row.css("input[name=entity_id]")
    }


def exported(browser: Browser, entity: str, view: str) -> str:
    order = "last_name" if entity == "contact" else "name"
    asked = {"ct_id": _type(browser, entity), "type": "csv", "hfilter": view, "efilter": ""}
    asked |= {"sort_key": f"regular_field-{order}", "sort_order": "ASC", "extra_q": '{"op":"AND","val":[]}'}
    return browser.get(f"/creme_core/mass_export?{urlencode(asked)}").text


def shows(text: str, person: Person) -> bool:
    """Whether a text shows a person's values; all of them or none."""
    seen = {value in text for value in (person.phone, person.email)}
    assert len(seen) == 1, "some of a person's values only"
    return seen.pop()


def test_a_role_sees_the_records_of_its_line_of_business_and_no_others(office: Office) -> None:
    ours, theirs, nobodys = (office.added(sector=sector) for sector in ("Software", "Telecom", ""))
    closed = office.added(state="Closed", sector="Software")
    nowhere = office.added(state="", sector="Software")  # not known to be open
    listed = rows(office.software, "contact", office.views["contact"])
    for (record, person), clear in ((ours, True), (theirs, False), (nobodys, False), (closed, False), (nowhere, False)):
        assert shows(listed[record], person) is clear
        for path in (f"/persons/contact/{record}", f"/persons/contact/edit/{record}"):
            assert shows(office.software.get(path).expect(200).text, person) is clear, path
        assert shows(office.manager.browser.get(f"/persons/contact/{record}").expect(200).text, person)


def test_what_does_not_tell_the_line_of_business_opens_nothing(office: Office) -> None:
    record, person = office.added(sector="Software")
    assert shows(rows(office.software, "contact", office.views["contact"])[record], person)
    assert not shows(rows(office.software, "contact", office.views["narrow"])[record], person)
    for view in (office.views["contact"], office.views["narrow"]):
        assert not shows(exported(office.software, "contact", view), person)
        assert shows(exported(office.manager.browser, "contact", view), person)
    asked = (
        f"/vcfs/{record}/generate_vcf",
        f"/creme_core/search?{urlencode({'research': person.phone})}",
        f"/creme_core/relation/entity/{record}/json?{urlencode({'fields': 'unicode'})}",
    )
    for path in asked:
        text = office.software.get(path).text
        assert person.email not in text, path
        assert person.last_name not in text, path


def test_searches_and_orders_tell_nothing_of_what_opens_only_under_a_condition(office: Office) -> None:
    ours, theirs, nobody = office.added(sector="Software"), office.added(sector="Telecom"), office.people.pop()
    view = office.views["contact"]

    def found(browser: Browser, box: str, text: str) -> tuple[int, set[str]]:
        asked = urlencode({"hfilter": view, "rows": "100", f"search-regular_field-{box}": text})
        answer = browser.get(f"/persons/contacts?{asked}")
        return answer.status, set(re.findall(r'name="entity_id" value="(\d+)"', answer.text))

    for box in ("email", "mobile", "last_name"):
        values = [
            (person.email, person.phone, person.last_name)[("email", "mobile", "last_name").index(box)]
            for person in (ours[1], theirs[1], nobody)
        ]
        assert len({str(found(office.seeker, box, one)) for one in values}) == 1, box
    assert shows(rows(office.seeker, "contact", view)[ours[0]], ours[1])
    assert ours[0] in found(office.manager.browser, "email", ours[1].email)[1]
    for box in ("email", "mobile"):
        order = urlencode({"hfilter": view, "sort_key": f"regular_field-{box}", "sort_order": "ASC"})
        assert [one.get(f"/persons/contacts?{order}").status for one in (office.seeker, office.software)] == [403, 403]


def test_a_record_of_ones_own_kind_is_saved_and_nobody_lets_himself_in(office: Office) -> None:
    ours, theirs = office.added(sector="Software"), office.added(sector="Telecom")
    new = office.people.pop()
    # The form posts every field; the line of business goes back as the number of its choice.
    edit = "/persons/contact/edit/{}"
    saved(office.software, edit.format(ours[0]), {"mobile": new.phone}).expect(302)
    assert new.phone in office.manager.browser.get(f"/persons/contact/{ours[0]}").text
    before = office.at_creme(theirs[0])
    kind = _type(office.software, "contact")
    inner = f"/creme_core/entity/edit/inner/{kind}/{theirs[0]}?cell=regular_field-sector"
    bulk = f"/creme_core/entity/update/bulk/{kind}/field/regular_field-sector?entities={theirs[0]}"
    tries = [
        saved(office.software, edit.format(theirs[0]), {"mobile": new.phone}),
        saved(office.software, edit.format(theirs[0]), {"sector": SECTORS["Software"]}),
        saved(office.software, edit.format(theirs[0]), {"billing_address-state": "North-West"}),
        saved(office.software, inner, {"sector": SECTORS["Software"]}, "sector"),
        saved(office.software, bulk, {"sector": SECTORS["Software"]}, "sector"),
    ]
    assert [(one.status, NOT_WRITABLE in one.text) for one in tries] == [(403, True)] * 5
    after = office.at_creme(theirs[0])
    assert {name: text for name, text in after.items() if before[name] != text}.keys() <= {"csrfmiddlewaretoken"}
    # A refused form comes back with what was typed: Creme's answer to it is no evidence.
    typed = saved(office.manager.browser, edit.format(theirs[0]), {"sector": SECTORS["Software"], "last_name": ""})
    assert typed.status == 200
    assert not shows(office.software.get(f"/persons/contact/{theirs[0]}").expect(200).text, theirs[1])
    # What leaves the line of business is closed with the next answer.
    office.put(ours[0], {"sector": SECTORS["Telecom"]})
    assert new.phone not in office.software.get(f"/persons/contact/{ours[0]}").expect(200).text


def test_a_record_does_not_leave_a_denied_state_by_its_address(office: Office) -> None:
    """An address has a form of its own, whose number says nothing of the contact."""
    record, person = office.added(state="Closed")
    page = office.direct.browser.get(f"/persons/contact/{record}").expect(200)
    address = re.search(r"/persons/address/edit/\d+", page.text)
    assert address
    assert not shows(office.mover.get(f"/persons/contact/{record}").expect(200).text, person)
    refused = saved(office.mover, address[0], {"state": "Open"}, "state")
    assert (refused.status, NOT_WRITABLE in refused.text) == (403, True)
    assert office.at_creme(record)["billing_address-state"] == "Closed"
    saved(office.manager.browser, address[0], {"state": "Open"}, "state").expect(200)
    assert shows(office.mover.get(f"/persons/contact/{record}").expect(200).text, person)


def test_under_a_value_is_under_it_however_a_page_writes_the_number(office: Office) -> None:
    given = {"19999": True, "20000": False, "1999": True, "": False, "1234567": False}
    companies: dict[str, tuple[str, bool]] = {}
    for number, (capital, clear) in enumerate(given.items()):
        phone = f"0211 55510{number:02}"
        values = {"name": f"Birch Works {number}", "phone": phone, "capital": capital}
        made = saved(office.manager.browser, "/persons/organisation/add", values, "name").expect(302)
        companies[made.header("location").rstrip("/").rpartition("/")[2]] = (phone, clear)
    listed = rows(office.small, "organisation", office.views["organisation"])
    assert any("19,999" in text for text in listed.values())
    table = exported(office.small, "organisation", office.views["organisation"])
    for record, (phone, clear) in companies.items():
        assert (phone in listed[record]) is clear
        for path in (f"/persons/organisation/{record}", f"/persons/organisation/edit/{record}"):
            assert (phone in office.small.get(path).expect(200).text) is clear, path
        assert phone not in table
