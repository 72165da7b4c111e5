"""What a manager does in a CRM while `crmgate learn` watches: a person's ten minutes, compressed.

Nothing here knows what is learnt: people and firms are entered, edited, opened, looked for and exported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.demo.browser import Answer, forms
from gateway.demo.driver import DJANGOCRM, BottleDriver, CremeDriver, DjangoCrmDriver, Driver, TrytonDriver
from gateway.demo.people import Organisation, Person
from tests.drills import leak, leak_bottle
from tests.drills.crawl import walk_creme, walk_tryton
from tests.drills.crawl_djangocrm import walk_djangocrm
from tests.drills.seek import Sought
from tests.drills.stack import Stack

AGAIN = "seen again"
Records = Sequence[tuple[str, str]]
Worked = Callable[[Any, Sequence[Person], Sequence[Organisation], Records, Sequence[str], int], None]


def worked(stack: Stack, people: list[Person], firms: list[Organisation], pages: int) -> leak.Seeded:
    """What somebody does in the minutes of watching; names and addresses that are in the CRM in clear since then."""
    driver = stack.at_work("manager")
    records: list[tuple[str, str]] = []
    for person in people:
        records.append(("contact", driver.add_person(leak.with_everything(person, "Nobody Inparticular"))))
    for firm in firms:
        records.append(("organisation", driver.add_organisation(firm)))
    clear = [value for person in people for value in (person.full_name, person.last_name, person.phone, person.email)]
    _WORK[type(driver)](driver, people, firms, records, clear, pages)
    driver.browser.close()
    named = [(one.full_name, one.address) for one in people] + [(one.name, one.address) for one in firms]
    sought = [Sought(name, "name", "manager") for name, _ in named]
    return leak.Seeded(sought + [Sought(address, "address", "manager") for _, address in named], records)


def _unseen(_answer: Answer) -> None:
    """A walk that only learning looks at."""


def _in_creme(
    driver: CremeDriver,
    people: Sequence[Person],
    firms: Sequence[Organisation],
    records: Records,
    clear: Sequence[str],
    pages: int,
) -> None:
    for entity, record in records:
        page = driver.browser.get(f"/persons/{entity}/edit/{record}").expect(200)
        mark = "last_name" if entity == "contact" else "name"
        driver.browser.submit(page, {"description": AGAIN}, _form_with(page, mark), follow=False)
    walk_creme(driver.browser, records, clear, pages, _unseen)


def _in_tryton(
    driver: TrytonDriver,
    people: Sequence[Person],
    firms: Sequence[Organisation],
    records: Records,
    clear: Sequence[str],
    pages: int,
) -> None:
    names = [*(person.full_name for person in people), *(firm.name for firm in firms)]
    for (_, record), name in zip(records, names, strict=True):
        driver.call("model.party.party.write", [[int(record)], {"name": name}, {}])
    walk_tryton(driver, clear, pages, _unseen)


def _in_djangocrm(
    driver: DjangoCrmDriver,
    people: Sequence[Person],
    firms: Sequence[Organisation],
    records: Records,
    clear: Sequence[str],
    pages: int,
) -> None:
    for entity, record in records:
        model, mark = ("contact", "first_name") if entity == "contact" else ("company", "full_name")
        page = driver.browser.get(f"{DJANGOCRM}/crm/{model}/{record}/change/").expect(200)
        driver.browser.submit(page, {"description": AGAIN}, _form_with(page, mark), follow=False)
    walk_djangocrm(driver.browser, records, clear, pages, _unseen)


def _in_bottle(
    driver: BottleDriver,
    people: Sequence[Person],
    firms: Sequence[Organisation],
    records: Records,
    clear: Sequence[str],
    pages: int,
) -> None:
    contacts = [record for entity, record in records if entity == "contact"]
    for number, (person, record) in enumerate(zip(people, contacts, strict=True), start=1000):
        told = leak.with_everything(person, "Nobody Inparticular")
        leak_bottle.enter_elsewhere(driver, told, record, 3 * number)  # each of them in records of every kind
    for kind in ("leads", "opportunities", "cases", "tasks", "invoices"):
        listed = driver.browser.get(f"/api/{kind}/?limit=3").expect(200).text
        for record in dict.fromkeys(leak_bottle.UUID.findall(listed)[:3]):
            driver.browser.get(f"/api/{kind}/{record}/")
    for entity, record in records:
        path = f"/api/{'contacts' if entity == 'contact' else 'accounts'}/{record}/"
        body = json.dumps({"description": AGAIN}).encode()
        driver.browser.send("PATCH", path, body, {"content-type": "application/json"}).expect(200)
    leak_bottle.walk(driver.browser, records, clear, pages, _unseen)
    renewed = driver.browser.post_json("/api/auth/refresh-token/", {"refresh": driver.refresh}).expect(200).json()
    driver.browser.extra_headers["authorization"] = f"Bearer {renewed['access']}"
    driver.browser.get("/api/auth/me/").expect(200)
    driver.browser.post_json("/api/auth/logout/", {"refresh": renewed.get("refresh", driver.refresh)}).expect(200)


def _form_with(page: Answer, name: str) -> int:
    return next(at for at, form in enumerate(forms(page)) if name in dict(form.fields))


_WORK: Mapping[type[Driver], Worked] = {
    CremeDriver: _in_creme,
    TrytonDriver: _in_tryton,
    DjangoCrmDriver: _in_djangocrm,
    BottleDriver: _in_bottle,
}
