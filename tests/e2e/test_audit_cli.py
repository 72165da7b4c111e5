"""The trail of a day's work in Creme: complete, without a value, and one changed byte is found."""

import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from gateway.demo.driver import CremeDriver
from gateway.demo.people import Person, make_people
from kms.pseudonym import is_pseudonym
from tests.drills.seek import Seeker, Sought
from tests.drills.stack import Member, Stack, fresh_id
from tests.e2e.database import as_superuser, sql
from tests.e2e.visitors import join, sign_in

pytestmark = pytest.mark.real
CLIENT = "203.0.113.77"
WAIT_S = 60
TYPES = {
    "name": "name",
    "email": "e-mail",
    "phone": "phone",
    "id_card": "ID",
    "bank_card": "card",
    "address": "address",
}


@dataclass
class Watched(Browser):
    """A browser that writes down what it asked for."""

    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def send(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Answer:
        answer = super().send(method, path, body, headers)
        if "/static_media/" not in answer.url:
            self.asked.append((method, answer.url, answer.status))
        return answer


@dataclass(frozen=True)
class Day:
    """What one member of sales did, with whom, and what the trail says about it."""

    member: Member
    people: list[Person]
    record: str
    asked: list[tuple[str, str, int]]
    entries: list[dict[str, Any]]

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["operation"] == operation]


@pytest.fixture(scope="module")
def stack(creme_stack: Stack) -> Stack:
    return creme_stack


def command(stack: Stack, *words: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *words, "--config", str(stack.home.settings_file)]


def run(stack: Stack, *words: str) -> tuple[int, str]:
    done = subprocess.run(command(stack, *words), capture_output=True, text=True, timeout=WAIT_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def entries_of(stack: Stack, login: str) -> list[dict[str, Any]]:
    rows = sql(stack.settings, "SELECT body FROM audit_entry ORDER BY index")
    told = [json.loads(row[0]) for row in rows]
    return [entry for entry in told if entry["actor_login"] == login]


@pytest.fixture(scope="module")
def day(stack: Stack) -> Day:
    """Sign in, log in to the CRM, add, look, list, search, edit, export, and try what the role does not have."""
    member = join(stack, "sales", "lin.sales")
    known = sign_in(stack, member)
    browser = Watched(known.base, known.authority, cookies=dict(known.cookies))
    browser.extra_headers["x-forwarded-for"] = CLIENT
    driver = CremeDriver(browser)
    driver.log_in("lin.sales", stack.crm.passwords["lin.sales"])
    people = make_people(random.Random(int(fresh_id(), 16)), 3)
    # A value that stands in the notes as well is recorded under either of its places.
    people[0] = replace(people[0], notes="")
    record, *_ = [driver.add_person(person) for person in people]
    browser.get(f"/persons/contact/{record}").expect(200)
    browser.get("/persons/contacts").expect(200)
    browser.get(f"/creme_core/search?research={people[0].phone}&ct_id=")
    form = browser.get(f"/persons/contact/edit/{record}").expect(200)
    browser.submit(form, {"position": ""}, -1, follow=False)
    browser.post(f"/creme_core/entity/delete/{record}", {}, follow=False)
    browser.post("/no/such/page", {"note": people[0].email}, follow=False)
    browser.close()
    return Day(member, people, record, browser.asked, entries_of(stack, member.login))


def test_every_exchange_has_its_entries(day: Day) -> None:
    ends = [entry for entry in day.entries if entry["kind"] in ("outcome", "refusal")]
    assert [(entry["method"], entry["status"]) for entry in ends] == [
        (method, status) for method, _, status in day.asked
    ]
    assert len({entry["exchange"] for entry in ends}) == len(ends)
    decided = {entry["exchange"] for entry in day.entries if entry["kind"] == "decision"}
    written = {entry["exchange"] for entry in ends if entry["method"] == "POST" and entry["kind"] == "outcome"}
    assert written <= decided | {entry["exchange"] for entry in ends if entry["operation"].startswith("auth.")}


def test_every_entry_says_who_from_where_what_and_why(stack: Stack, day: Day) -> None:
    data = [entry for entry in day.entries if entry["kind"] in ("decision", "outcome", "refusal")]
    assert data
    for entry in data:
        assert entry["actor"].startswith("u")
        assert entry["crm_user"] in ("lin.sales", stack.crm.user_ids["lin.sales"])
        assert entry["client"] == CLIENT
        assert entry["operation"]
        assert entry["reason"]
        assert entry["policy"]
        assert entry["tenant"] == "main"
        assert entry["fields"]["roles"] == ["sales"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry["at"])
    # Who somebody is in the CRM is known from the CRM's own log-in on.
    assert data[-1]["crm_user"] == "lin.sales"


def test_entries_name_records_and_the_form_of_every_field(day: Day) -> None:
    [read] = day.of("contact.read")
    person = read["record"]
    assert (read["entity"], read["data_subject"], is_pseudonym(person)) == ("contact", person, True)
    shown = read["fields"]["shown"]
    assert shown.keys() >= {"contact.last_name", "contact.mobile", "contact.email"}, read["fields"]
    assert shown["contact.last_name"][person].keys() == {"clear"}
    assert shown["contact.mobile"][person].keys() == {"masked"}
    assert shown["contact.email"][person].keys() == {"masked"}
    created = [entry for entry in day.of("contact.create") if entry["kind"] == "decision"]
    assert len(created) == len(day.people)
    assert {"contact.last_name", "contact.mobile", "contact.email"} <= set(created[0]["fields"]["written"])
    assert created[0]["fields"]["tokenised"]["email"] >= 1
    listed = day.of("contact.list")[-1]["fields"]["shown"]
    assert len(listed["contact.last_name"]) >= len(day.people)


def test_whoever_may_read_the_trail_is_told_the_records_of_the_living(stack: Stack, day: Day) -> None:
    command_ = command(stack, "audit", "tail", "--lines", "50", "--entity", "contact", "--record", day.record)
    with subprocess.Popen(command_, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        lines = [
            tail.stdout.readline()
            for _ in range(len([one for one in day.entries if one["record"] == day.of("contact.read")[0]["record"]]))
        ]
        tail.send_signal(signal.SIGINT)
        tail.stdout.read()
    assert lines
    assert all(f"contact/{day.record} " in line for line in lines)
    assert not any("ds_" in line for line in lines)


def test_refused_attempts_are_there_with_their_reason(day: Day) -> None:
    refused = [entry for entry in day.entries if entry["kind"] == "refusal"]
    assert {entry["reason"] for entry in refused} <= {"not-allowed", "write-not-granted", "no-matching-rule"}
    assert {entry["status"] for entry in refused} == {403}
    assert len(refused) >= 2


def test_no_value_is_in_the_trail_or_in_any_log(stack: Stack, day: Day) -> None:
    sought = [Sought(value, TYPES[kind], person.key) for person in day.people for kind, value in person.values]
    sought += [Sought(stack.crm.passwords["lin.sales"], "password"), Sought(day.member.password, "password")]
    sought.append(Sought(day.member.secret, "secret"))
    seeker = Seeker(sought)
    texts = {"log": stack.gateway.log.read_bytes()}
    for table in ("audit_entry", "audit_head", "audit_checkpoint"):
        rows = sql(stack.settings, f"SELECT to_jsonb(t)::text FROM {table} t")
        texts[table] = "\n".join(row[0] for row in rows).encode()
    texts["bodies"] = b"\n".join(row[0] for row in sql(stack.settings, "SELECT body FROM audit_entry"))
    assert len(texts["bodies"]) > 1000
    found = {name: seeker.find(text) for name, text in texts.items()}
    # ID and bank cards are not typed in the contact form; everything else was, and more than once.
    assert found == {name: set() for name in texts}
    control = json.dumps([one.value for one in sought]).encode()
    assert len(seeker.find(control)) == len({one.value for one in sought})


def test_an_auditor_gets_who_saw_one_customer_and_proves_it_offline(stack: Stack, day: Day, tmp_path: Path) -> None:
    code, said = run(stack, "audit", "key")
    assert code == 0
    key, wanted = said.strip().splitlines()[-1], ("--entity", "contact", "--record", day.record)
    end = time.monotonic() + WAIT_S
    while True:  # checkpoints come every few seconds
        pack = tmp_path / f"{fresh_id()}.zip"
        code, said = run(stack, "audit", "pack", str(pack), *wanted, "--complete", "--language", "zh")
        if code == 0 and "not signed yet" not in said:
            break
        assert time.monotonic() < end, said
    with zipfile.ZipFile(pack) as opened:
        (tmp_path / "verify.py").write_bytes(opened.read("verify.py"))
        entries = [json.loads(line) for line in opened.read("events.jsonl").splitlines()]
        policies = [name for name in opened.namelist() if name.startswith("policies/")]
        whole = b"".join(opened.read(name) for name in opened.namelist())
    assert day.member.login in {one["actor_login"] for one in entries}
    assert {one["record"] for one in entries} == {day.of("contact.read")[0]["record"]}
    assert f'"{day.record}"'.encode() not in whole
    assert policies
    for person in day.people:
        assert person.phone.encode() not in whole
        assert person.email.encode() not in whole
    command = [sys.executable, "-I", "verify.py", pack.name, "--key", key]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "PROVED"), done.stdout + done.stderr
    assert re.search(rf"{len(entries)} selected of \d+ in the range 0 to", done.stdout)
    told = run(stack, "audit", "pack", str(pack), *wanted)
    assert told[0] != 0, "a file that is there is not overwritten"
    assert sql(stack.settings, "SELECT 1 FROM audit_entry WHERE operation = 'audit.pack'")


def test_verify_finds_one_changed_byte_and_names_the_entry(stack: Stack, day: Day) -> None:
    code, said = run(stack, "audit", "verify")
    assert code == 0, said
    assert "is whole" in said
    [(index, size)] = sql(
        stack.settings,
        "SELECT index, octet_length(body) FROM audit_entry WHERE kind = 'outcome' ORDER BY index DESC OFFSET 2 LIMIT 1",
    )
    flip = (
        "UPDATE audit_entry SET body = set_byte(body, %s, get_byte(body, %s) # 1) WHERE index = %s AND tenant = 'main'"
    )
    for place in (0, size // 2, size - 1):
        as_superuser(stack.settings, (flip, (place, place, index)))
        try:
            code, said = run(stack, "audit", "verify")
        finally:
            as_superuser(stack.settings, (flip, (place, place, index)))
        assert code == 1
        assert re.search(rf"\b{index}\b", said), said
    assert run(stack, "audit", "verify")[0] == 0


@contextlib.contextmanager
def tail(stack: Stack, *words: str) -> Iterator[Queue[str]]:
    """`crmgate audit tail`, line by line; ended with Ctrl-C."""
    words = ("audit", "tail", *words)
    running = subprocess.Popen(command(stack, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: Queue[str] = Queue()

    def read() -> None:
        assert running.stdout is not None
        for line in running.stdout:
            lines.put(line)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        yield lines
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(WAIT_S)
        reading.join()
        said = running.stderr.read() if running.stderr is not None else ""
        for stream in (running.stdout, running.stderr):
            if stream is not None:
                stream.close()
    assert "Traceback" not in said
    assert code in (0, 130)


@pytest.mark.parametrize("words", [("-n", "1", "--json"), ("-n", "1")], ids=["json", "text"])
def test_tail_shows_what_happens_as_it_happens(stack: Stack, words: tuple[str, ...]) -> None:
    member = join(stack, "manager")
    browser = sign_in(stack, member)
    with tail(stack, *words) as lines:
        assert lines.get(timeout=WAIT_S)  # the newest one there was
        browser.get("/persons/contacts", follow=False)
        until = time.monotonic() + WAIT_S
        seen = ""
        while not (member.login in seen and "contact.list" in seen) and time.monotonic() < until:
            with contextlib.suppress(Empty):
                seen = lines.get(timeout=1)
    assert "contact.list" in seen
    assert member.login in seen
    if "--json" in words:
        assert json.loads(seen)["operation"] == "contact.list"
