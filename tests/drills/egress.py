"""`make egress`: a real Creme sends mail through the relay to a mail server here; who gets what, and what is left.

Creme's own e-mail application writes, queues and retries the mails; its queue is its database. Every row says what was
expected and what was seen; the exit code is the number of rows that differ.
"""

import json
import random
import smtplib
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from rich.console import Console
from rich.table import Table

from gateway.demo.children import free_port
from gateway.demo.crm import run_step
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills.leak import stored
from tests.drills.mail_sink import MAILBOX, MailSink, settings_for
from tests.drills.seek import Seeker, Sought
from tests.drills.stack import Stack, fresh_id, installed
from tests.e2e.database import sql
from tests.real.servers import creme

SENDER = "crm@company.example"
MAIL_SETTINGS = """
from crmproj.settings import *
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", {port}, 30
"""
# Runs inside Creme: its e-mail application writes to contacts with what Creme has stored of them.
WRITE = """
import json
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from creme.emails.models import EntityEmail
from creme.persons.models import Contact
work = json.loads({work!r})
user = get_user_model().objects.get(username="root")
said = []
for one in work:
    people = [Contact.objects.get(pk=pk) for pk in one["people"]]
    words = {{}}
    for number, person in enumerate(people):
        for name in ("last_name", "first_name", "mobile", "email"):
            words[f"{{name}}{{number}}"] = getattr(person, name)
    subject, body = one["subject"].format(**words), one["body"].format(**words)
    html = "<html><body><p>" + body + "</p></body></html>"
    if one["how"] == "app":
        mail = EntityEmail.create_n_send_mail(
            sender={sender!r}, recipient=people[0].email, subject=subject, user=user, body=body, body_html=html)
        said.append([mail.pk, mail.status])
    elif one["how"] == "again":
        mail = EntityEmail.objects.get(pk=one["mail"])
        mail.send()
        said.append([mail.pk, EntityEmail.objects.get(pk=mail.pk).status])
    else:
        message = EmailMessage(subject, body, {sender!r}, [person.email for person in people])
        try:
            said.append([0, message.send()])
        except Exception as fault:
            said.append([0, getattr(fault, "smtp_code", -1)])
print("SAID" + json.dumps(said))
"""
SENT, FAILED = 1, 3  # creme.emails.models.mail._Email.Status


@dataclass
class Rows:
    """What was expected and what was seen."""

    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, what: str, expected: object, seen: object) -> None:
        """One row."""
        self.found.append((what, str(expected), str(seen)))

    @property
    def wrong(self) -> int:
        """Rows that differ."""
        return sum(expected != seen for _, expected, seen in self.found)


class Desk:
    """Creme's side of the drill: one process of its own a call, as its job runner would be."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        smtp = stack.settings.egress.smtp
        assert smtp is not None
        self.relay, self.sink = smtp.listen.port, MailSink(smtp.smart_host.port)
        file = stack.crm.folder / "crmproj" / "mail_settings.py"
        file.write_text(MAIL_SETTINGS.format(port=self.relay))

    def write(self, *work: dict[str, object]) -> list[list[int]]:
        """Let Creme write mails; (id of the mail in Creme, its status there) of each, or the SMTP code it heard."""
        script = WRITE.format(work=json.dumps(work), sender=SENDER)
        command = [self._stack.crm.python, "-W", "ignore", "-m", "creme.manage", "shell"]
        said = run_step([*command, "--settings=crmproj.mail_settings"], self._stack.crm.folder, script)
        answer: list[list[int]] = json.loads(
            next(line for line in said.splitlines() if "SAID" in line).split("SAID")[1]
        )
        return answer

    def submit(self, to: str, text: str) -> int:
        """A mail to any address, straight to the relay; the code it answered."""
        letter = EmailMessage()
        letter["Subject"], letter["From"], letter["To"] = "hello", SENDER, to
        letter.set_content(text)
        with smtplib.SMTP("127.0.0.1", self.relay, timeout=30) as client:
            try:
                client.send_message(letter)
            except smtplib.SMTPRecipientsRefused as refused:
                return next(iter(refused.recipients.values()))[0]
            except smtplib.SMTPResponseException as fault:
                return fault.smtp_code
        return 250


def drill(stack: Stack, manager: Driver, console: Console) -> int:
    """The whole drill; the number of rows that are not as they must be."""
    rows, desk = Rows(), Desk(stack)
    people = make_people(random.Random(int(fresh_id(), 16)), 3)
    records = [manager.add_person(person) for person in people]
    held = [_held(stack, record) for record in records]
    desk.sink.start()
    try:
        _own_mail(rows, desk, people, records)
        _pasted(rows, desk, people, records)
        _retried(rows, desk, people, records)
        _several(rows, desk, people, records)
        _others(rows, desk, stack, people, held)
        _inbound(rows, desk, stack, people[0], held[0])
        _called(rows, stack, people, held)
        _web_form(rows, stack, people[0])
        desk.sink.stop()
        _down(rows, desk, people, records)
    finally:
        with suppress(Exception):
            desk.sink.stop()
    delivered = b"\n".join(one.raw for one in desk.sink.taken)
    _left_behind(rows, stack, people, delivered)
    table = Table(title="Mail of a real Creme through the relay")
    for column in ("what", "expected", "seen"):
        table.add_column(column)
    for what, expected, seen in rows.found:
        table.add_row(what, expected, seen, style="" if expected == seen else "bold red")
    console.print(table)
    console.print(f"egress: {rows.wrong} of {len(rows.found)} rows differ", style="bold red" if rows.wrong else "green")
    return rows.wrong


BODY = "Dear {first_name0} {last_name0}, we have your number as {mobile0}."


def _letter(**more: object) -> dict[str, object]:
    return {"how": "app", "subject": "Offer for {last_name0}", "body": BODY, **more}


def _own_mail(rows: Rows, desk: Desk, people: list[Person], records: list[str]) -> None:
    (said,) = desk.write(_letter(people=records[:1]))
    person = people[0]
    rows.add("Creme's e-mail application says: sent", SENT, said[1])
    got = desk.sink.to(person.email)
    rows.add("mails at the person's real address", 1, len(got))
    if not got:
        return
    text = BODY.format(first_name0=person.first_name, last_name0=person.last_name, mobile0=person.phone)
    rows.add("text with the person's own values", True, got[0].text().strip() == text)
    rows.add("the same in HTML", True, f"{person.first_name} {person.last_name}" in got[0].text("html"))
    rows.add("subject", f"Offer for {person.last_name}", got[0].letter["subject"])
    rows.add("To:", person.email, got[0].letter["to"].addresses[0].addr_spec)


def _pasted(rows: Rows, desk: Desk, people: list[Person], records: list[str]) -> None:
    body = "{last_name1} {first_name1} {mobile1} {email1} / {mobile0}"
    (said,) = desk.write(_letter(people=records[:2], subject="{mobile1} {email1}", body=body))
    got = desk.sink.to(people[0].email)[1:]
    rows.add("mail with another person's surrogates pasted in: sent", SENT, said[1])
    raw = b"\n".join([one.raw + (one.text() + one.text("html") + one.letter["subject"]).encode() for one in got])
    other = people[1]
    seeker = Seeker([Sought(other.phone, "phone"), Sought(other.email, "e-mail")])
    rows.add("values of the other person in it", 0, len(seeker.find(raw)) if got else "no mail")
    rows.add("the recipient's own number in it", True, people[0].phone in raw.decode("utf-8", "replace"))


def _retried(rows: Rows, desk: Desk, people: list[Person], records: list[str]) -> None:
    person = people[2]
    desk.sink.answers[person.email] = ["451 4.7.1 greylisted"]
    (first,) = desk.write(_letter(people=records[2:]))
    rows.add("smart host says later: Creme's queue keeps the mail", FAILED, first[1])
    rows.add("mails delivered so far", 0, len(desk.sink.to(person.email)))
    again, _ = desk.write(
        {"how": "again", "people": [], "mail": first[0], "subject": "", "body": ""},
        _letter(people=records[2:], subject="Next"),
    )
    rows.add("Creme's queue tries again: sent", SENT, again[1])
    rows.add(
        "mails with this subject at the person's",
        1,
        sum("Offer" in str(one.letter["subject"]) for one in desk.sink.to(person.email)),
    )


def _several(rows: Rows, desk: Desk, people: list[Person], records: list[str]) -> None:
    before = {person.email: len(desk.sink.to(person.email)) for person in people}
    one, two = people[0], people[1]
    desk.sink.answers[two.email] = ["451 4.2.1 mailbox busy"]
    message = {"how": "plain", "people": records[:2], "subject": "News", "body": "{mobile0} {mobile1}"}
    codes = [said[1] for said in desk.write(message, message)]
    rows.add("one message to two, one of them later, then tried again", [451, 1], codes)
    new = {person.email: desk.sink.to(person.email)[before[person.email] :] for person in (one, two)}
    rows.add("each of the two got it", [1, 1], [len(new[person.email]) for person in (one, two)])
    shown = [
        [person.phone in mail.text() for person in (one, two)] for owner in (one, two) for mail in new[owner.email]
    ]
    rows.add("numbers of the first and the second shown to each", [[True, False], [False, True]], shown)


def _others(rows: Rows, desk: Desk, stack: Stack, people: list[Person], held: list[dict[str, str]]) -> None:
    text = held[0]["mobile"]
    login = stack.members["manager"].login
    rows.add("mail to staff with full rights", 250, desk.submit(f"{login}@company.example", text))
    rows.add(
        "  shows the number",
        [people[0].phone],
        [one.text().strip() for one in desk.sink.to(f"{login}@company.example")],
    )
    rows.add("mail to an unknown desk of the company", 250, desk.submit("somebody@company.example", text))
    rows.add(
        "  shows the number",
        [False],
        [people[0].phone in one.text() for one in desk.sink.to("somebody@company.example")],
    )
    rows.add("mail to a stranger", 550, desk.submit("eve@evil.example", text))
    rows.add("mail to the clear address of a person", 550, desk.submit(people[0].email, text))


def _inbound(rows: Rows, desk: Desk, stack: Stack, person: Person, held: dict[str, str]) -> None:
    inbound = stack.settings.egress.inbound
    assert inbound is not None
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = "Question", f"{person.full_name} <{person.email}>", MAILBOX
    letter.set_content(f"Please call me: {person.phone}")
    with smtplib.SMTP("127.0.0.1", inbound.listen.port, timeout=30) as client:
        client.send_message(letter)
    got = desk.sink.to(MAILBOX)
    rows.add(
        "mail of the person in the CRM's mailbox: From, envelope, text",
        [[held["email"]] * 2 + [held["mobile"]]],
        [[one.letter["from"].addresses[0].addr_spec, one.sender, one.text().strip().rpartition(" ")[2]] for one in got],
    )
    seeker = Seeker([Sought(person.email, "e-mail"), Sought(person.phone, "phone")])
    rows.add("clear values of the person in it", 0, sum(len(seeker.find(one.raw)) for one in got))


class Service(BaseHTTPRequestHandler):
    """An SMS service that keeps what it was sent and repeats it."""

    taken: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        """Keep one call."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.append(dict(parse_qsl(body.decode())))
        said = json.dumps(self.taken[-1]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def _post(port: int, target: str, fields: dict[str, str], host: str = "") -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        named = {"Host": host} if host else {}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", target, urlencode(fields), named | form)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _called(rows: Rows, stack: Stack, people: list[Person], held: list[dict[str, str]]) -> None:
    """A call as Creme would make it, with what Creme has stored, through the forward proxy."""
    proxy, service = stack.settings.egress.proxy, stack.settings.egress.http[0]
    assert proxy is not None
    host = service.url.removeprefix("http://")
    Service.taken.clear()
    with ThreadingHTTPServer(("127.0.0.1", int(host.rpartition(":")[2])), Service) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            sent = {"to": held[0]["mobile"], "text": f"{held[0]['mobile']} {held[1]['mobile']}"}
            status, answer = _post(proxy.listen.port, f"{service.url}/send", sent, host)
            refused, _ = _post(proxy.listen.port, f"{service.url}/admin", sent, host)
            stranger, _ = _post(proxy.listen.port, "http://evil.example/send", sent, "evil.example")
        finally:
            server.shutdown()
            thread.join()
    clear = people[0].phone
    got = [(clear in one["text"], people[1].phone in one["text"], one["to"] == clear) for one in Service.taken]
    rows.add("call of a listed service: own number, another's, recipient opened", [(True, False, True)], got)
    rows.add("answer comes back without the number it repeats", (200, False), (status, clear in answer))
    rows.add("path and service that are not listed", (403, 403), (refused, stranger))


def _web_form(rows: Rows, stack: Stack, person: Person) -> None:
    leads = stack.settings.egress.leads
    assert leads is not None
    given = {"last_name": person.last_name, "mobile": person.phone, "email": person.email}
    status, answer = _post(leads.listen.port, "/contact", given)
    rows.add("web form that Creme does not take (it wants a session)", (422, False), (status, person.phone in answer))


def _down(rows: Rows, desk: Desk, people: list[Person], records: list[str]) -> None:
    before = len(desk.sink.taken)
    (said,) = desk.write(_letter(people=records[:1], subject="While it is down"))
    rows.add("smart host down: Creme's queue keeps the mail", FAILED, said[1])
    rows.add("mails that went anywhere", 0, len(desk.sink.taken) - before)


def _left_behind(rows: Rows, stack: Stack, people: list[Person], delivered: bytes) -> None:
    sought = [Sought(one.email, "e-mail") for one in people] + [Sought(one.phone, "phone") for one in people]
    seeker = Seeker(sought)
    rows.add("control: values found in what was delivered", len(sought), len(seeker.find(delivered)))
    found: set[str] = set()
    looked = 0
    for label, body in stored(stack.crm.folder, stack.crm.child.log):
        looked += 1
        if seeker.find(body):
            found.add(label)
    rows.add("Creme's queue, database, files and log with a clear value", "none", ", ".join(sorted(found)) or "none")
    with closing(sqlite3.connect(next(stack.crm.folder.rglob("db.sqlite3")))) as database:
        (mails,) = database.execute("SELECT count(*) FROM emails_entityemail").fetchone()
    rows.add("mails in Creme's queue that were looked at", True, mails >= 5 and looked > 5)
    tables = [row[0] for row in sql(stack.settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    clear = [
        name
        for name in tables
        if seeker.find(
            "\n".join(row[0] for row in sql(stack.settings, f'SELECT to_jsonb(t)::text FROM "{name}" t')).encode()
        )
    ]
    entries = "\n".join(row[0] for row in sql(stack.settings, "SELECT convert_from(body, 'UTF8') FROM audit_entry"))
    clear += ["audit trail"] if seeker.find(entries.encode()) else []
    clear += ["crmgate's log"] if seeker.find(stack.gateway.log.read_bytes()) else []
    rows.add("crmgate's tables, trail and log with a clear value", "none", ", ".join(clear) or "none")
    rows.add("mails in the trail: decided before sent", True, '"operation":"egress.smtp"' in entries)


def _held(stack: Stack, record: str) -> dict[str, str]:
    """What Creme has stored of a contact."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT mobile, email FROM persons_contact WHERE cremeentity_ptr_id = ?"
        return dict(zip(("mobile", "email"), connection.execute(query, (record,)).fetchone(), strict=True))


def main() -> int:
    """Run it on an installation of its own."""
    mail = settings_for(*(free_port() for _ in range(6)))
    with creme() as server, installed(server, mail) as stack:
        return drill(stack, stack.at_work("manager"), Console(highlight=False, width=150))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
