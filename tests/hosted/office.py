"""People and programs in front of a hosted CRM: what the end-to-end tests of each vendor share."""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from gateway.demo.browser import Answer, Browser
from gateway.demo.people import Person, make_people
from gateway.opening import open_database
from tests.conftest import unwalled
from tests.drills.stack import Stack
from tests.e2e.visitors import join, sign_in
from tests.hosted.service import Service

PEOPLE = make_people(random.Random(4), 9)


@dataclass
class Client:
    """One program of one person, with the CRM's own credential in every call."""

    browser: Browser
    scheme: str = "Bearer"
    accept: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, value: Any = None, **headers: str) -> Answer:
        """One call of the API."""
        body = None if value is None else json.dumps(value).encode()
        given = {"origin": self.browser.base, "accept": "application/json", **self.accept, **headers}
        if body is not None:
            given["content-type"] = "application/json"
        return self.browser.send(method, path, body, given)


def client(stack: Stack, role: str, scheme: str = "Bearer", user: str = "") -> Client:
    """A program of a new account with this role; user: who it is in the CRM, as the administrator says."""
    browser = sign_in(stack, join(stack, role, user))
    browser.extra_headers["authorization"] = f"{scheme} token-of-{user or role}"
    return Client(browser, scheme)


def clear_values(people: list[Person]) -> set[str]:
    """Everything about these people that the CRM must never have met."""
    found = {value for person in people for _, value in person.values} - {one.id_card for one in people}
    found |= {one.birthday.isoformat() for one in people}
    return found | {one.last_name for one in people if len(one.last_name) > 2}


@dataclass
class Hosted:
    """An installation in front of a hosted CRM, with a manager, somebody in sales, and people who were entered."""

    stack: Stack
    service: Service
    manager: Client
    sales: Client
    records: dict[str, Person]


def soql_text(value: str) -> str:
    """What stands between the quotation marks."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def full_name(person: Person) -> str:
    """As Salesforce puts it together."""
    return f"{person.first_name} {person.last_name}"


def having(hosted: Hosted, holds: Callable[[Person], bool]) -> set[str]:
    """The records of people of whom something is true."""
    return {record for record, person in hosted.records.items() if holds(person)}


def origins(stack: Stack, record: str) -> list[tuple[str, str, int]]:
    """(entity, field, number of values) that are known to be of a record."""
    return asked(
        stack,
        "SELECT entity, field, count(*)::int FROM vault_origin WHERE record = %s GROUP BY 1, 2 ORDER BY 1, 2",
        record,
    )


def asked(stack: Stack, query: LiteralString, *values: str) -> list[Any]:
    """Rows of crmgate's own database."""
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            return connection.execute(query, values).fetchall()
    finally:
        database.close()


def patient(send: Callable[[], Answer]) -> Answer:
    """The answer to a first write: a busy machine may take longer to make the first keys than one call may take."""
    for _ in range(20):
        answer = send()
        if answer.status != 503:
            break
    return answer


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something is true, at most two minutes: sessions are believed for seconds without asking."""
    for _ in range(600):
        if holds():
            return
        time.sleep(0.2)
    raise AssertionError("it never became true")


def clear_of_the_hour(seconds: float) -> None:
    """Budgets are of a clock hour: wait for the next one where this one ends too soon."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 1)


def trail(stack: Stack, actor: str) -> list[tuple[str, str]]:
    """Kind and reason of every entry about somebody in the audit trail. actor: the login."""
    rows = asked(stack, "SELECT kind, reason, body FROM audit_entry ORDER BY index")
    return [(kind, reason) for kind, reason, body in rows if json.loads(bytes(body)).get("actor_login") == actor]
