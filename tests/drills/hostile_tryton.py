"""Hostile values in Tryton, through JSON-RPC: stored, read back, saved again, refused; every answer is valid JSON."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gateway.demo.browser import Answer
from gateway.demo.driver import TrytonDriver
from gateway.demo.tryton import DATABASE
from tests.drills.hostile_creme import TOLD, Tally
from tests.drills.hostile_values import Hostile
from tests.drills.stack import Stack


@dataclass(slots=True)
class Party:
    """One stored party and the text that is its name and street."""

    number: int
    text: str


def values_of(text: str) -> dict[str, Any]:
    """A party that carries the text in every field that takes any."""
    return {
        "name": text,
        "addresses": [["create", [{"street": text, "city": "Berlin"}]]],
        "contact_mechanisms": [["create", [{"type": "other", "value": text}]]],
    }


def ask(driver: TrytonDriver, method: str, params: Sequence[Any]) -> Answer:
    """One call, whatever comes of it."""
    body = {"id": 1, "method": method, "params": list(params)}
    return driver.browser.send(
        "POST",
        f"/{DATABASE}/rpc/",
        json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        {"content-type": "application/json", "accept": "application/json"},
    )


def store(driver: TrytonDriver, values: Sequence[Hostile], tally: Tally) -> list[Party]:
    """One party for each value."""
    stored = []
    for one in values:
        answer = ask(driver, "model.party.party.create", [[values_of(one.text)], {}])
        taken = answer.status == 200 and "error" not in _object(answer)
        tally.expect(taken is not one.refused, f"{one.key}: {answer.status}")
        if taken:
            stored.append(Party(_result(answer)[0], one.text))
    return stored


def round_trip(driver: TrytonDriver, parties: Sequence[Party], tally: Tally) -> None:
    """Names, streets and contact texts come back as they were typed."""
    rows = _read(driver, parties)
    for party in parties:
        row = rows[party.number]
        tally.expect(row["name"] == party.text, f"name of {party.number}")
        tally.expect([one["street"] for one in row["addresses."]] == [party.text], f"street of {party.number}")
        tally.expect([one["value"] for one in row["contact_mechanisms."]] == [party.text], f"contact of {party.number}")


def saved_again(driver: TrytonDriver, parties: Sequence[Party], tally: Tally) -> None:
    """What was read is written back and read again."""
    for party in parties:
        row = _read(driver, [party])[party.number]
        answer = ask(driver, "model.party.party.write", [[party.number], {"name": row["name"]}, {}])
        tally.expect(answer.status == 200 and "error" not in _object(answer), f"saving {party.number}: {answer.status}")
    round_trip(driver, parties, tally)


def readable(driver: TrytonDriver, parties: Sequence[Party], tally: Tally) -> None:
    """A restricted role gets valid JSON as well; reading, searching and exporting."""
    numbers = [party.number for party in parties]
    for method, params in (
        ("model.party.party.read", [numbers, ["name", "rec_name", "contact_mechanisms.value", "addresses.street"], {}]),
        ("model.party.party.search_read", [[], 0, 500, None, ["rec_name", "name"], {}]),
        ("model.party.party.export_data", [numbers, ["name", "rec_name"], {}]),
        ("model.party.address.search_read", [[], 0, 500, None, ["street", "rec_name"], {}]),
        ("model.party.contact_mechanism.search_read", [[], 0, 500, None, ["value", "rec_name"], {}]),
    ):
        answer = ask(driver, method, params)
        told = json.loads(answer.body)
        tally.expect(answer.status == 200 and (not isinstance(told, dict) or "error" not in told), f"{method}")


# (what, values of a new party): what a party cannot hold.
UNFIT: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("256 characters in a name of 255", {"name": "x" * 256}),
    ("NUL", {"name": "a\0b"}),
    ("control character", {"name": "a\x07b"}),
    ("line break in a name", {"name": "a\r\nb"}),
    (
        "line break in a phone",
        {"name": "Muster", "contact_mechanisms": [["create", [{"type": "phone", "value": "1\n2"}]]]},
    ),
    ("501 characters in a street", {"name": "Muster", "addresses": [["create", [{"street": "y" * 501}]]]}),
)


def refused(stack: Stack, driver: TrytonDriver, tally: Tally, answers: dict[str, set[str]]) -> None:
    """Everything unfit is refused in both languages, and Tryton's tables stay as they were."""
    before = rows_in(stack)
    for language, titles in TOLD.items():
        driver.browser.language = language
        for what, values in UNFIT:
            answer = ask(driver, "model.party.party.create", [[values], {}])
            told = json.loads(answer.body)
            answers.setdefault(what, set()).add(f"{answer.status} {told.get('title', '')}")
            good = answer.status == 422 and told.get("title") in titles and bool(told.get("fields"))
            tally.expect(good, f"{what} ({language}): {answer.status}")
    driver.browser.language = "en"
    # JSON can write half a character; no CRM can store it.
    body = b'{"id":1,"method":"model.party.party.create","params":[[{"name":"a\\ud800b"}],{}]}'
    answer = driver.browser.send("POST", f"/{DATABASE}/rpc/", body, {"content-type": "application/json"})
    answers.setdefault("half a character", set()).add(f"{answer.status} {json.loads(answer.body).get('title', '')}")
    tally.expect(answer.status in (400, 422), f"half a character: {answer.status}")
    tally.expect(rows_in(stack) == before, "Tryton stored something of what was refused")


def rows_in(stack: Stack) -> tuple[int, ...]:
    """Rows of Tryton's own tables."""
    file = stack.crm.folder / "db" / f"{DATABASE}.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        tables = ("party_party", "party_address", "party_contact_mechanism")
        return tuple(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)


def _read(driver: TrytonDriver, parties: Sequence[Party]) -> dict[int, dict[str, Any]]:
    fields = ["name", "rec_name", "addresses.street", "contact_mechanisms.value"]
    told = driver.call("model.party.party.read", [[party.number for party in parties], fields, {}])
    return {row["id"]: row for row in told}


def _object(answer: Answer) -> dict[str, Any]:
    told = json.loads(answer.body)
    return told if isinstance(told, dict) else {}


def _result(answer: Answer) -> Any:
    told = json.loads(answer.body)
    return told["result"] if isinstance(told, dict) else told
