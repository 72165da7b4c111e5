"""Fills the CRM through the gateway, as people would: sign in, log in, enter one record after the other.

Three quarters of the people belong to the manager, a quarter to the sales user. How far it came is written down after
every record, so that an interrupted filling goes on where it stopped.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyotp

from gateway.demo.browser import Browser
from gateway.demo.driver import Driver, make_driver
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from gateway.demo.staff import Member, Staff

PEOPLE, ORGANISATIONS = 200, 20
SEED = 20260101
API_SIGN_IN = "/.crmgate/api/sign-in"


class SignInFault(Exception):  # noqa: N818 - names what failed
    """The gateway did not let a member of the demo's staff in; the text has the status."""

    permanent = False


def records() -> Iterator[tuple[str, Person | Organisation]]:
    """Everything to enter with the role that enters it; always the same order and values."""
    people = make_people(random.Random(SEED), PEOPLE)  # noqa: S311 - synthetic people, the same every time
    yield from (("manager", one) for one in make_organisations(random.Random(SEED), ORGANISATIONS, apart_from=people))  # noqa: S311
    yield from (("sales" if number % 4 == 0 else "manager", person) for number, person in enumerate(people))


def sign_in(browser: Browser, member: Member, now: datetime) -> None:
    """Both factors at the gateway; its cookie is in the browser then."""
    code = pyotp.TOTP(member.secret).at(now)
    given = {"login": member.login, "password": member.password, "code": code}
    answer = browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base})
    if answer.status != 200:
        raise SignInFault(f"the gateway answered {answer.status} to the sign-in of {member.login}")


def fill(
    crm: str,
    staff: Staff,
    open_browser: Callable[[], Browser],
    done_file: Path,
    report: Callable[[str, float], None],
    most: int | None = None,
) -> datetime | None:
    """Enter what is missing; the moment of the last sign-in, None when nothing was missing.

    most: enter no more than so many records in all.
    """
    done = int(done_file.read_text()) if done_file.exists() else 0
    todo = list(records())[:most]
    if done >= len(todo):
        return None
    moment: datetime | None = None
    drivers: dict[str, Driver] = {}
    try:
        for number, (role, record) in enumerate(todo[done:], done):
            if role not in drivers:
                moment = datetime.now(UTC)
                drivers[role] = _at_work(crm, staff.one(role), open_browser(), moment)
            _enter(drivers[role], record)
            done_file.write_text(str(number + 1))
            report(f"{number + 1} of {len(todo)}", (number + 1) / len(todo))
    finally:
        for driver in drivers.values():
            driver.browser.close()
    return moment


def _at_work(crm: str, member: Member, browser: Browser, moment: datetime) -> Driver:
    sign_in(browser, member, moment)
    driver = make_driver(crm, browser)
    driver.log_in(member.login, member.crm_password)
    return driver


def _enter(driver: Driver, record: Person | Organisation) -> str:
    return driver.add_person(record) if isinstance(record, Person) else driver.add_organisation(record)
