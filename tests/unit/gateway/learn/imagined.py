"""An imagined CRM for the tests of learning: a few exchanges of a server with forms, and of one with JSON."""

import json
from urllib.parse import urlencode

from gateway.learn.standin import standin_of
from gateway.learn.watcher import Seen, Watcher
from kms.surrogate import SHAPES

KEY = b"k" * 32
HTML = (("content-type", "text/html; charset=utf-8"),)
JSON = (("content-type", "application/json"),)
FORM = "application/x-www-form-urlencoded"
PEOPLE = (
    ("Zhang", "Wei", "13800138000", "zhang.wei@example.com", "Nanjing Road 12"),
    ("Dupont", "Marie", "+33 6 12 34 56 78", "marie@example.org", "Rue des Lilas 3"),
    ("Li", "Na Hua", "13912345678", "li.na@example.net", "Chang'an Avenue 99"),
)
CLEAR = [text for person in PEOPLE for text in person if len(text) > 4]


def watcher() -> Watcher:
    """A fresh one."""
    return Watcher(KEY, standin_of(SHAPES))


def seen(
    method: str,
    target: str,
    answer: str | bytes = b"",
    body: str | bytes = b"",
    status: int = 200,
    fields: tuple[tuple[str, str], ...] = HTML,
    content_type: str = "",
) -> Seen:
    """One exchange."""
    return Seen(method, target, content_type, _bytes(body), status, fields, _bytes(answer))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def form_crm() -> Watcher:
    """A session at a CRM with pages and forms: sign-in, three people added, listed, opened, edited, searched."""
    found = watcher()
    sign_in = (
        '<form action="/login" method="post"><input name="username"><input type="password" name="password"></form>'
    )
    found.note(seen("GET", "/login", sign_in))
    signed = urlencode({"username": "anna", "password": "hunter2-hunter2"})
    cookie = (("set-cookie", "crmsession=abc; Path=/"), ("location", "/"))
    found.note(seen("POST", "/login", b"", signed, 302, cookie, FORM))
    for number, (last, first, phone, email, street) in enumerate(PEOPLE, 11):
        found.note(seen("GET", "/people/contact/add", page_of("/people/contact/add")))
        posted = {"csrf": "x" * 40, "last_name": last, "first_name": first, "phone": phone, "email": email,
                  "street": street, "notes": f"{first} called", "status": "open"}  # fmt: skip
        moved = (("location", f"/people/contact/{number}"),)
        found.note(seen("POST", "/people/contact/add", b"", urlencode(posted), 302, moved, FORM))
        filled = page_of(f"/people/contact/edit/{number}", (last, first, phone, email, street))
        found.note(seen("GET", f"/people/contact/edit/{number}", filled))
        found.note(seen("POST", f"/people/contact/edit/{number}", b"", urlencode(posted), 302, moved, FORM))
        shown = f'<td name="cell_last_name">{last}</td><td name="cell_phone">{phone}</td><span>{first}</span>'
        found.note(
            seen("GET", f"/people/contact/{number}", f"<html><body><table><tr>{shown}</tr></table></body></html>")
        )
    rows = "".join(
        f'<tr><td name="cell_last_name"><a href="/people/contact/{number}">{last}</a></td>'
        f'<td name="cell_street">{street}</td></tr>'
        for number, (last, _, _, _, street) in enumerate(PEOPLE, 11)
    )
    found.note(seen("GET", "/people/contacts", f"<html><body><table>{rows}</table></body></html>"))
    found.note(
        seen("GET", "/people/contacts?sort=name&search-last_name=Zhang+Wei&search-city=Big+Town", "<html></html>")
    )
    found.note(seen("POST", "/screen/blob", b"ok", "mode=wide", 200, (("content-type", "text/plain"),), FORM))
    return found


def page_of(action: str, values: tuple[str, ...] = ("", "", "", "", "")) -> str:
    """The form of a contact."""
    last, first, phone, email, street = values
    return (
        f'<html><body><form action="{action}" method="post"><input type="hidden" name="csrf" value="{"x" * 40}">'
        f'<label for="a">Last name *</label><input id="a" name="last_name" maxlength="100" value="{last}">'
        f'<label for="b">First name</label><input id="b" name="first_name" value="{first}">'
        f'<label for="c">Phone</label><input id="c" name="phone" type="tel" value="{phone}">'
        f'<input name="email" type="email" value="{email}"><input name="street" value="{street}">'
        '<textarea name="notes"></textarea><select name="status"><option>open</option></select></form></body></html>'
    )


def call(found: Watcher, method: str, params: list[object], result: object) -> None:
    """One JSON-RPC call."""
    body, answer = json.dumps({"id": 1, "method": method, "params": params}), json.dumps({"id": 1, "result": result})
    found.note(seen("POST", "/db/rpc/", answer, body, 200, JSON, "application/json"))


def rpc_crm() -> Watcher:
    """A session at a CRM that is called by JSON-RPC."""
    found = watcher()
    call(found, "common.db.login", ["anna", {"password": "hunter2-hunter2"}, "en"], [1, "t" * 40])
    for number, (last, first, phone, email, street) in enumerate(PEOPLE, 5):
        ways = [["create", [{"type": "mobile", "value": phone}, {"type": "email", "value": email}]]]
        values = {"name": f"{first} {last}", "ways": ways, "addresses": [["create", [{"street": street}]]]}
        call(found, "model.party.party.create", [[values], {}], [number])
        call(found, "model.party.party.write", [[number], {"name": f"{first} {last}"}, {}], None)
        rows = [{"id": number, "rec_name": f"{first} {last}", "phone": phone}]
        call(
            found,
            "model.party.party.search_read",
            [[["rec_name", "ilike", f"%{last} x%"]], 0, 10, None, ["name"], {}],
            rows,
        )
    call(
        found,
        "model.res.user.read",
        [[1], ["name"], {}],
        [{"id": 1, "name": "Anna Admin", "email": "anna@example.com"}],
    )
    call(found, "model.party.party.frobnicate", [[5], {}], None)
    return found
