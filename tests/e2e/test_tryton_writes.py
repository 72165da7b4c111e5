"""Attached files, imports and arrivals past the gateway on a real Tryton with the shipped profile."""

import base64
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from gateway.demo.browser import Answer
from gateway.demo.driver import TrytonDriver, make_driver
from gateway.demo.people import Person, make_people
from gateway.demo.tryton import DATABASE
from gateway.opening import open_database
from policies.enforcer import DEFAULT_POLICY
from tests.conftest import unwalled
from tests.drills import roundtrip_tryton
from tests.drills.protect_command import Commands
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all, join, sign_in
from tests.hosted.office import clear_of_the_hour, trail
from tests.real.servers import tryton

pytestmark = pytest.mark.real

POLICY = """
p, reader, *, kind:*, clear, any
p, reader, *, op:*, *, any
p, clerk, *, kind:name, clear, any
p, clerk, *, kind:phone, masked, any
p, clerk, *, op:*, *, any
g, importer, sales, *
p, importer, *, op:*, import, any
"""
PATIENCE_S = 180.0
TOLD = 5  # answers in an hour that another party has a number
PDF = b"%PDF-1.7 " + secrets.token_bytes(300_000) + b"contract of Zhang Wei"
PNG = b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(2000)
PARTY, FILE = "model.party.party", "model.ir.attachment"


@dataclass
class Office:
    """crmgate in front of a Tryton, and people at work."""

    stack: Stack
    manager: TrytonDriver
    reader: TrytonDriver
    clerk: TrytonDriver
    sales: TrytonDriver
    direct: TrytonDriver
    people: list[Person]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("writes") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[access]\nuniqueness_per_hour = {TOLD}\n[tenant.main]\npolicy = "{policy}"\n'
    with tryton() as server, installed(server, extra) as stack:
        people = make_people(random.Random(20261127), 40)
        hands = [driver(at_work(stack, "manager", "wang.manager"))]
        hands += [driver(at_work(stack, role, "lin.sales")) for role in ("reader", "clerk", "sales")]
        hands.append(driver(stack.direct("manager")))
        login = server.crm.admin_login
        password = policy.with_name("password")
        password.write_text(server.passwords[login], encoding="utf-8")
        words = ("credential", "--login", login, "--password-file", str(password), "--db", DATABASE)
        Commands(settings=stack.settings).protect(*words)
        yield Office(stack, *hands, people)
        hands[-1].browser.close()
        close_all()


def driver(found: object) -> TrytonDriver:
    assert isinstance(found, TrytonDriver)
    return found


def asked(stack: Stack, query: LiteralString, *values: str) -> list[tuple[str]]:
    """Rows of crmgate's own database."""
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            return connection.execute(query, values).fetchall()
    finally:
        database.close()


def waited(look: Callable[[], bool]) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while not look():
        assert time.monotonic() - start < PATIENCE_S
        time.sleep(1)
    return time.monotonic() - start


# -- attached files ----------------------------------------------------------------------------------------------


def enclosed(data: bytes) -> dict[str, str]:
    return {"__class__": "bytes", "base64": base64.b64encode(data).decode()}


def attach(hand: TrytonDriver, party: str, name: str, data: bytes) -> int:
    values = {"name": name, "resource": f"party.party,{party}", "data": enclosed(data)}
    return int(hand.call(f"{FILE}.create", [[values], {}])[0])


def asked_for(hand: TrytonDriver, record: int, *names: str) -> Answer:
    """The answer to a read of an attached file, whatever it is."""
    body = {"id": 1, "method": f"{FILE}.read", "params": [[record], list(names) or ["data"], {}]}
    return hand.browser.post_json(f"/{DATABASE}/rpc/", body)


def content(hand: TrytonDriver, record: int) -> bytes:
    return base64.b64decode(asked_for(hand, record).expect(200).json()["result"][0]["data"]["base64"])


def at_rest(office: Office, *parts: bytes) -> set[str]:
    """Files of Tryton, database and store of attached files, that hold one of these bytes."""
    files = [one for one in Path(office.stack.crm.folder).rglob("*") if one.is_file()]
    assert any(one.stat().st_size > len(PDF) for one in files if DATABASE in one.parts[:-1])
    return {one.name for one in files for part in parts if part in one.read_bytes()}


def test_an_attached_file_is_ciphertext_in_tryton_and_clear_by_role(office: Office) -> None:
    party = office.manager.add_person(office.people.pop())
    record = attach(office.manager, party, "contract.pdf", PDF)
    assert at_rest(office, PDF[9:4009], b"Zhang Wei") == set()
    kept = content(office.direct, record)
    assert kept.startswith(b"G1S1\x11")
    assert content(office.manager, record) == PDF
    assert content(office.reader, record) == PDF
    for hand in (office.clerk, office.sales):
        refused = asked_for(hand, record)
        assert refused.status == 403
        assert base64.b64encode(kept)[:40] not in refused.body
        assert asked_for(hand, record, "name", "data_size").expect(200).json()["result"][0]["name"] == "contract.pdf"
    # The size is Tryton's own, as the profile says.
    (told,) = asked_for(office.manager, record, "data_size").expect(200).json()["result"]
    assert told["data_size"] == len(kept) == 84 + len(PDF) + 16 * -(-len(PDF) // 65536)


def test_a_file_written_back_unchanged_and_a_new_one_in_its_place(office: Office) -> None:
    party = office.manager.add_person(office.people.pop())
    record = attach(office.manager, party, "letter.pdf", PDF[:70_000])
    read = content(office.manager, record)
    office.manager.call(f"{FILE}.write", [[record], {"data": enclosed(read)}, {}])
    assert content(office.direct, record).startswith(b"G1S1")
    assert content(office.reader, record) == PDF[:70_000]
    office.sales.call(f"{FILE}.write", [[record], {"description": "seen"}, {}])
    assert content(office.manager, record) == PDF[:70_000]
    office.manager.call(f"{FILE}.write", [[record], {"data": enclosed(b"%PDF-1.7 new"), "name": "new.pdf"}, {}])
    assert content(office.reader, record) == b"%PDF-1.7 new"
    office.manager.call(f"{FILE}.write", [[record], {"data": None}, {}])
    assert asked_for(office.sales, record).expect(200).json()["result"][0]["data"] is None


def test_what_sales_attached_is_ciphertext_too_and_texts_are_files(office: Office) -> None:
    party = office.manager.add_person(office.people.pop())
    record = attach(office.sales, party, "note.txt", b"a sentence that nobody else has written")
    assert at_rest(office, b"sentence that nobody") == set()
    assert content(office.manager, record) == b"a sentence that nobody else has written"
    assert asked_for(office.sales, record).status == 403


def test_attached_tables_stay_tables_and_pictures_stay_pictures(office: Office) -> None:
    person = office.people.pop()
    party = office.manager.add_person(person)
    table = f"Name,Phone\n{person.full_name},{person.phone}\n".encode()
    assert content(office.direct, attach(office.manager, party, "p.csv", table)).startswith(b"Name,Phone\nZq")
    picture = attach(office.manager, party, "p.png", PNG)
    assert content(office.direct, picture) == PNG
    assert content(office.sales, picture) == PNG


def test_a_file_in_no_form_of_a_file_or_in_a_table_is_refused(office: Office) -> None:
    party = office.manager.add_person(office.people.pop())
    text = base64.b64encode(b"%PDF-1.7 smuggled").decode()
    for data in (text, list(b"%PDF-1.7 smuggled"), {"__class__": "Decimal", "base64": text}):
        values = {"name": "x.pdf", "resource": f"party.party,{party}", "data": data}
        body = {"id": 1, "method": f"{FILE}.create", "params": [[values], {}]}
        assert office.manager.browser.post_json(f"/{DATABASE}/rpc/", body).status == 415
    rows = [["x.pdf", f"party.party,{party}", text]]
    body = {"id": 1, "method": f"{FILE}.import_data", "params": [["name", "resource", "data"], rows, {}]}
    assert office.manager.browser.post_json(f"/{DATABASE}/rpc/", body).status == 415
    assert at_rest(office, b"smuggled") == set()


def test_the_trail_says_who_saw_which_file(office: Office) -> None:
    party = office.manager.add_person(office.people.pop())
    record = attach(office.manager, party, "seen.pdf", b"%PDF-1.7 seen by one")
    content(office.reader, record)
    cells = asked(office.stack, "SELECT field FROM vault_cell WHERE entity = 'attachment' AND record = %s", str(record))
    assert cells == [("data",)]
    rows: list[Any] = asked(office.stack, "SELECT convert_from(body, 'UTF8') FROM audit_entry")
    assert any('"attachment.data":{"ds_' in body for (body,) in rows)
    assert not any("seen by one" in body for (body,) in rows)


# -- imports and what comes past the gateway ---------------------------------------------------------------------


def held(office: Office, party: int) -> str:
    """What Tryton itself has of a party."""
    names = ["name", "contact_mechanisms.value", "contact_mechanisms.comment", "addresses.street_unstructured"]
    return str(office.direct.call(f"{PARTY}.read", [[party], names, {}]))


def shown(hand: TrytonDriver, party: int) -> str:
    return str(
        hand.call(f"{PARTY}.read", [[party], ["name", "contact_mechanisms.value", "contact_mechanisms.comment"], {}])
    )


def first_look(office: Office) -> None:
    """Wait until the gateway knows where its looks begin."""
    waited(lambda: bool(asked(office.stack, "SELECT 1 FROM protect_record WHERE entity = 'note'")))


def bound(office: Office, party: int) -> set[str]:
    """Fields whose values the vault knows to stand in this party."""
    query = "SELECT field FROM vault_origin WHERE entity = 'party' AND record = %s AND retired_at IS NULL"
    return {name for (name,) in asked(office.stack, query, str(party))}


def imported(hand: TrytonDriver, rows: list[list[str]]) -> list[int]:
    """Parties that Tryton's own import made, in the order of their rows."""
    before = set(parties(hand))
    columns = ["name", "contact_mechanisms/type", "contact_mechanisms/value", "contact_mechanisms/comment"]
    count = hand.call(f"{PARTY}.import_data", [columns, rows, {}])
    made = sorted(set(parties(hand)) - before)
    assert count == len(made)
    assert len(made) == sum(bool(row[0]) for row in rows)
    return made


def parties(hand: TrytonDriver) -> list[int]:
    return [int(one) for one in hand.call(f"{PARTY}.search", [[], 0, None, [["id", "ASC"]], {}])]


def test_what_an_import_brought_is_bound_to_its_records_by_the_gateways_own_reading(office: Office) -> None:
    first_look(office)
    one, other = office.people.pop(), office.people.pop()
    rows = []
    for who in (one, other):
        rows.append([who.full_name, "mobile", who.phone, f"call {who.phone} first"])
        rows.append(["", "email", who.email, ""])
    record, _ = imported(office.manager, rows)
    assert not any(value in held(office, record) for value in (one.full_name, one.phone, one.email))
    seconds = waited(lambda: {"name", "mobile", "email"} <= bound(office, record))
    print(f"an import was bound after {seconds:.0f} s")
    # Who made the import owns its records, and sees of them what owners see; others do not.
    owner = driver(at_work(office.stack, "sales", "wang.manager"))
    assert one.full_name in shown(owner, record)
    assert one.phone not in shown(owner, record)
    assert one.full_name not in shown(office.sales, record)
    assert all(value in shown(office.manager, record) for value in (one.full_name, one.phone, one.email))
    assert office.clerk.call(f"{PARTY}.read", [[record], ["name"], {}])[0]["name"] == one.full_name


def test_a_number_that_a_family_shares_is_bound_to_each_of_its_records(office: Office) -> None:
    first_look(office)
    one, other, stranger = (office.people.pop() for _ in range(3))
    rows = [[who.full_name, "mobile", one.phone, ""] for who in (one, other)]
    made = imported(office.manager, rows)
    surrogate = office.direct.call(f"{PARTY}.read", [[made[0]], ["mobile"], {}])[0]["mobile"]
    # Somebody who does not see numbers knew it from before, and put it into a record of his own past the gateway.
    aside = driver(office.stack.direct("sales"))
    way = {"type": "mobile", "value": surrogate}
    copied = int(aside.call(f"{PARTY}.create", [[{"name": "X", "contact_mechanisms": [["create", [way]]]}], {}])[0])
    aside.browser.close()
    waited(lambda: all("mobile" in bound(office, party) for party in made))
    waited(lambda: "X" not in held(office, copied) or "name" in bound(office, copied))
    assert "mobile" not in bound(office, copied)
    assert stranger.phone not in shown(office.manager, copied)


def test_being_told_that_a_number_is_anothers_is_budgeted_audited_and_alarmed(office: Office) -> None:
    clear_of_the_hour(60)
    hidden, stranger = office.people.pop(), office.people.pop()
    office.manager.add_person(hidden)
    member = join(office.stack, "sales", "chen.sales")
    guesser = driver(make_driver("tryton", sign_in(office.stack, member)))
    guesser.log_in("chen.sales", office.stack.crm.passwords["chen.sales"])

    def guess(hand: TrytonDriver, sort: str, value: str) -> Answer:
        form = {"id": -1, "party": None, "type": sort, "value": value}
        body = {"id": 1, "method": "model.party.contact_mechanism.on_change_notify", "params": [form, {}]}
        return hand.browser.post_json(f"/{DATABASE}/rpc/", body)

    for _ in range(TOLD + 2):  # what nobody has uses nothing up
        assert guess(guesser, "email", stranger.email).expect(200).json()["result"] == []
    for number in range(TOLD):
        sort, value = (("email", hidden.email), ("mobile", hidden.phone))[number % 2]
        assert guess(guesser, sort, value).expect(200).json()["result"][0][0] == "warning"
    for value in (hidden.email, stranger.email):  # the refusal says nothing: it is the same for both
        refused = guess(guesser, "email", value)
        assert (refused.status, refused.json()["reason"]) == (429, "uniqueness-budget")
    assert guess(office.manager, "email", hidden.email).expect(200).json()["result"] != []
    assert guess(office.sales, "email", stranger.email).expect(200).json()["result"] == []  # another's budget
    entries = trail(office.stack, member.login)
    assert entries.count(("guess", "uniqueness-told")) == TOLD
    assert entries.count(("alarm", "uniqueness-budget")) == 1
    assert entries.count(("refusal", "uniqueness-budget")) == 2
    assert (
        office.direct.call(
            "model.party.contact_mechanism.search_count", [[["value", "=", stranger.email]], 0, None, {}]
        )
        == 0
    )


def test_exported_rows_come_back_and_nothing_changes_but_what_somebody_changed(office: Office) -> None:
    importer = driver(at_work(office.stack, "importer", "lin.sales"))
    people = [office.people.pop() for _ in range(4)]
    lines = roundtrip_tryton.run(roundtrip_tryton.furnish(office.manager, importer, office.direct, people))
    assert [(line.what, line.faults) for line in lines if line.faults] == []
    assert sum(line.compared for line in lines) > 80


def test_a_party_made_past_the_gateway_is_protected_within_a_minute(office: Office) -> None:
    first_look(office)
    one = office.people.pop()
    record = int(office.direct.add_person(one))
    values = (one.full_name, one.phone, one.email, one.address.splitlines()[0])
    assert one.phone in held(office, record)
    seconds = waited(lambda: not any(value in held(office, record) for value in values))
    print(f"a party made past the gateway was protected after {seconds:.0f} s")
    assert all(value in shown(office.manager, record) for value in values[:3])
    assert not any(value in shown(office.sales, record) for value in values[:3])
