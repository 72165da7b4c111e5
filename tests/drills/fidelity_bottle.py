"""The work that the fidelity drill does in BottleCRM: what a client of its REST interface sends in a day."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from gateway.demo.browser import Answer, Upload
from tests.drills import facts
from tests.drills.workflow import Seen, Worker, Workflow

SHARED = "search by a part that several have asks for something else to search by"
NAMES = "BottleCRM cannot tell that two records have one name"
LENGTH = "a value without room is refused by the gateway"
# Times, tokens, what BottleCRM draws at random, and numbers of one day.
MOVING = ("last_login", "humanized_time", "access_token", "refresh_token", "access", "refresh", "api_key", "color")
MOVING += ("offset", "public_token", "public_url")  # the first counts random ids
PEOPLE: Mapping[str, dict[str, Any]] = {
    "wei": {
        "first_name": "伟",
        "last_name": "张",
        "email": "Zhang.WEI@Example.COM",
        "phone": "139-0773-1824",
        "address_line": "建国路88号 3单元",
        "city": "北京",
        "country": "CN",
        "description": '手机13907731824，身份证11010519491231002X\r\n\t second line: <b>&amp;</b> "q" it\'s 100%',
    },
    "marie": {
        "first_name": "Zoé-Marie",
        "last_name": "d'Arcy",
        "email": "zoe.darcy@example.com",
        "phone": "+33 6 12 34 56 78",
        "organization": "Rivoli SARL",
        "title": "Directrice, appelle Zoé-Marie",
        "linkedin_url": "https://www.linkedin.com/in/zoe",
        "address_line": "12 rue de Rivoli",
        "do_not_call": True,
    },
    "john": {
        "first_name": 'John "JJ"',
        "last_name": "Smith & Sons",
        "email": "john@example.org",
        "phone": "+14155550123",
        "description": "card 4111111111111111, call +14155550123 or john@example.org",
    },
    "bare": {"first_name": "No", "last_name": "Body"},
    "namesake": {"first_name": "No", "last_name": "Body", "phone": "+14155550199"},
}
LIANG = "first_name,last_name,email,phone,description\n亮,诸葛,zhuge.liang@example.com,13611112222,call 13611112222\n"
FIRM = {
    "name": "Müller & Töchter GmbH",
    "email": "info@example.net",
    "phone": "+49 30 1234567",
    "address_line": "Weg 1",
}


def send(worker: Worker, method: str, path: str, value: Any = None) -> Answer:
    """One request with JSON in it."""
    body = None if value is None else json.dumps(value).encode()
    given = {} if value is None else {"content-type": "application/json"}
    return worker.driver.browser.send(method, path, body, {"accept": "application/json", **given})


def told(worker: Worker, *answers: Answer) -> tuple[str, ...]:
    """Status, headers and content."""
    browser, seen = worker.driver.browser, list[str]()
    for answer in answers:
        seen += facts.head(answer, browser)
        if "json" in answer.header("content-type"):
            seen += facts.even(facts.structure(answer.json(), MOVING), browser).splitlines()
        elif "csv" in answer.header("content-type"):
            seen += facts.even("\n".join(facts.cells(facts.csv_rows(answer.body))), browser).splitlines()
            seen.append(f"begins with a byte order mark: {answer.body.startswith(bytes((0xEF, 0xBB, 0xBF)))}")
        else:
            seen += facts.even(answer.text, browser).splitlines()
    return tuple(seen)


def place(worker: Worker, path: str) -> str:
    """A path with the ids that were remembered: `{wei}`."""
    for key, value in worker.kept.items():
        path = path.replace(f"{{{key}}}", value)
    return path


def ask(method: str, path: str, value: Any = None, *then: str) -> Callable[[Worker], Seen]:
    """One request, then what other addresses show."""

    def run(worker: Worker) -> Seen:
        given = json.loads(place(worker, json.dumps(value))) if value is not None else None
        answers = [send(worker, method, place(worker, path), given)]
        answers += [send(worker, "GET", place(worker, one)) for one in then]
        return Seen(" ".join(_brief(one) for one in answers), told(worker, *answers))

    return run


def _brief(answer: Answer) -> str:
    value = answer.json() if "json" in answer.header("content-type") else None
    count = value.get("count", "") if isinstance(value, dict) else ""
    return f"{answer.status}{f' ({count})' if count != '' else ''}"


def create(key: str, path: str, values: Mapping[str, Any], *under: str) -> Callable[[Worker], Seen]:
    """A new record, remembered under a key, and how it is shown; under: where its id stands in the answer."""

    def run(worker: Worker) -> Seen:
        given = json.loads(place(worker, json.dumps(dict(values))))
        answer = send(worker, "POST", path, given)
        made: Any = answer.json()
        for step in under or ("id",):
            made = made[step]
        worker.kept[key] = str(made)
        shown = send(worker, "GET", f"{path}{made}/")
        return Seen(f"{answer.status}, then {shown.status}", told(worker, answer, shown))

    return run


def find(path: str) -> Callable[[Worker], Seen]:
    """A search; which search it was stands in no address of the answer."""
    return lambda worker: ask("GET", path)(worker)


def form(worker: Worker) -> Seen:
    """The same interface takes forms: one urlencoded, one with a file."""
    browser = worker.driver.browser
    given = {"first_name": "Form", "last_name": "Typed", "email": "form@example.org", "phone": "(030) 123 4567"}
    answer = browser.post("/api/contacts/", given, follow=False)
    worker.kept["form"] = str(answer.json()["id"])
    note = Upload("note.txt", b"call form@example.org", "text/plain")
    commented = browser.post_files(
        f"/api/contacts/{worker.kept['form']}/", [("comment", "see form@example.org")], [("contact_attachment", note)]
    )
    shown = send(worker, "GET", f"/api/contacts/{worker.kept['form']}/")
    return Seen(f"{answer.status} {commented.status} {shown.status}", told(worker, answer, commented, shown))


def table(path: str, content: str, field: str = "file") -> Callable[[Worker], Seen]:
    """A file that is imported or previewed, then the list."""

    def run(worker: Worker) -> Seen:
        upload = Upload("people.csv", content.encode(), "text/csv")
        answer = worker.driver.browser.post_files(path, [], [(field, upload)], follow=False)
        shown = send(worker, "GET", "/api/contacts/?limit=50")
        return Seen(f"{answer.status}, then {_brief(shown)}", told(worker, answer, shown))

    return run


def put_what_was_read(worker: Worker) -> Seen:
    """A client reads a record and writes the whole of it back, with one field changed."""
    path = place(worker, "/api/contacts/{wei}/")
    held = send(worker, "GET", path).json()["contact_obj"]
    names = ("first_name", "last_name", "email", "phone", "address_line", "city", "country", "description", "title")
    given = {name: held[name] for name in names} | {"city": "上海"}
    answer = send(worker, "PUT", path, given)
    shown = send(worker, "GET", path)
    return Seen(f"{answer.status}, then {shown.status}", told(worker, answer, shown))


def comment(worker: Worker) -> Seen:
    """A comment is written, changed and removed."""
    path = place(worker, "/api/contacts/{marie}/")
    text = '张伟 rang: 13800138000, li.na@example.org\r\n\t<b>&amp;</b> "q" 100%'
    written = send(worker, "POST", path, {"comment": text})
    number = written.json()["comments"][0]["id"]
    own = f"/api/contacts/comment/{number}/"
    changed = send(worker, "PATCH", own, {"comment": "now +33 6 99 88 77 66"})
    shown = send(worker, "GET", path)
    removed = send(worker, "DELETE", own)
    same = written.json()["comments"][0]["comment"] == text
    return Seen(
        f"{written.status} {changed.status} {removed.status}, {'as typed' if same else 'CHANGED'}",
        (str(same), *told(worker, written, changed, shown, removed)),
    )


def loosely(run: Callable[[Worker], Seen]) -> Callable[[Worker], Seen]:
    """Work whose outcome may differ altogether, as the workflow says."""

    def loose(worker: Worker) -> Seen:
        seen = run(worker)
        return Seen(seen.said, seen.facts, ())

    return loose


def in_any_order(run: Callable[[Worker], Seen]) -> Callable[[Worker], Seen]:
    """Work whose answers come in the order of ids that BottleCRM draws at random (its `order_by("-id")`): two of them
    without any gateway differ in it, too."""

    def even(worker: Worker) -> Seen:
        seen = run(worker)
        return Seen(seen.said, tuple(sorted(line.rstrip(",") for line in seen.facts)))

    return even


def search(path: str, text: str) -> Callable[[Worker], Seen]:
    """A search by a text."""
    return find(path + quote(text))


_SEARCHES = (
    ("phone", "/api/contacts/?phone=", "139-0773-1824"),
    ("e-mail", "/api/contacts/?email=", "zoe.darcy@example.com"),
    ("e-mail in capitals", "/api/contacts/?email=", "JOHN@EXAMPLE.ORG"),
    ("name", "/api/contacts/?name=", "d'Arcy"),
    ("name in Chinese", "/api/contacts/?name=", "张"),
    ("first name", "/api/contacts/?name=", "Zoé-Marie"),
    ("part of a name", "/api/contacts/?name=", "Smi"),
    ("part of a phone", "/api/contacts/?phone=", "0773"),
    ("part of an e-mail", "/api/contacts/?email=", "darcy"),
    ("everything: phone", "/api/contacts/?search=", "+14155550123"),
    ("everything: e-mail", "/api/contacts/?search=", "john@example.org"),
    ("everything: part of a name", "/api/contacts/?search=", "Darc"[:1] + "'Arcy"),
    ("everything: part of a phone", "/api/contacts/?search=", "5550123"),
    ("nobody", "/api/contacts/?search=", "nobody@example.com"),
    ("nobody's name", "/api/contacts/?name=", "Qqqzzqqxx"),  # three letters stand in one surrogate of a hundred
    ("a city", "/api/contacts/?city=", "北京"),
    ("a firm", "/api/accounts/?name=", "Töchter"),
    ("the palette: e-mail", "/api/search/?q=", "zoe.darcy@example.com"),
    ("the palette: part of a name", "/api/search/?q=", "Darcy"[:3]),
    ("export of what a search finds", "/api/contacts/export/?search=", "zoe.darcy@example.com"),
)
WORKFLOWS: tuple[Workflow, ...] = (
    *(Workflow(f"create: {key}", create(key, "/api/contacts/", values)) for key, values in PEOPLE.items()),
    Workflow("create: account", create("firm", "/api/accounts/", FIRM)),
    Workflow(
        "create: lead",
        create(
            "lead", "/api/leads/", {**PEOPLE["marie"], "title": "Zoé-Marie wants an offer", "company_name": "Rivoli"}
        ),
    ),
    Workflow(
        "create: deal",
        create("deal", "/api/opportunities/", {"name": "For John +14155550123", "description": "ask john@example.org"}),
    ),
    Workflow(
        "create: ticket",
        create("ticket", "/api/cases/", {"name": "Call 13800138000", "status": "New", "priority": "Normal"}),
    ),
    Workflow(
        "create: task",
        ask("POST", "/api/tasks/", {"title": "Mail x@example.org", "status": "New", "priority": "Low"}, "/api/tasks/"),
    ),
    Workflow(
        "create: invoice",
        create(
            "bill",
            "/api/invoices/",
            {
                "invoice_title": "Bill",
                "account_id": "{firm}",
                "contact_id": "{marie}",
                "client_name": "Zoé-Marie d'Arcy",
                "client_email": "zoe.darcy@example.com",
                "client_phone": "+33 6 12 34 56 78",
                "client_address_line": "12 rue de Rivoli",
                "line_items": [{"name": "Work", "description": "for Zoé-Marie", "quantity": "1", "unit_price": "10"}],
            },
            "invoice",
            "id",
        ),
    ),
    Workflow("list", ask("GET", "/api/contacts/?limit=50")),
    Workflow("list: second page", ask("GET", "/api/contacts/?limit=2&offset=2")),
    Workflow(
        "lists of everything else",
        in_any_order(
            ask("GET", "/api/leads/", None, "/api/accounts/", "/api/opportunities/", "/api/cases/", "/api/invoices/")
        ),
    ),
    Workflow("activities", ask("GET", "/api/activities/", None, "/api/dashboard/")),
    *(Workflow(f"search: {name}", search(path, text)) for name, path, text in _SEARCHES),
    Workflow("search: a name that two have", loosely(search("/api/contacts/?name=", "Body")), known=SHARED),
    Workflow(
        "patch a phone and an e-mail",
        ask(
            "PATCH",
            "/api/contacts/{marie}/",
            {"phone": "+33 (0)6 99 88 77 66", "email": "Zoe.Darcy@Example.org"},
            "/api/contacts/{marie}/",
        ),
    ),
    Workflow(
        "patch: empty a field",
        ask("PATCH", "/api/contacts/{john}/", {"phone": None, "description": ""}, "/api/contacts/{john}/"),
    ),
    Workflow("put what was read", put_what_was_read),
    Workflow(
        "patch a lead",
        ask(
            "PATCH",
            "/api/leads/{lead}/",
            {"phone": "13700001111", "description": "张伟 13700001111"},
            "/api/leads/{lead}/",
        ),
    ),
    Workflow("comment", comment),
    Workflow("a form, and a file beside it", form),
    Workflow(
        "duplicates by e-mail and phone",
        ask("POST", "/api/contacts/duplicates/", {"email": "ZHANG.wei@example.com", "phone": "13907731824"}),
    ),
    Workflow(
        "duplicates by name",
        ask("POST", "/api/contacts/duplicates/", {"first_name": "Zoé-Marie", "last_name": "d'Arcy"}),
    ),
    Workflow("duplicates of a record", loosely(ask("GET", "/api/contacts/{namesake}/duplicates/")), known=NAMES),
    Workflow(
        "refused: e-mail that exists",
        ask("POST", "/api/contacts/", {"first_name": "A", "last_name": "B", "email": "zhang.wei@example.com"}),
    ),
    Workflow(
        "refused: no e-mail, no number, no name",
        ask("POST", "/api/contacts/", {"first_name": "", "email": "not an address", "phone": "see notes"}),
    ),
    Workflow(
        "refused: too long a number",
        loosely(ask("PATCH", "/api/contacts/{wei}/", {"phone": "12345678901234567890123456789"})),
        known=LENGTH,
    ),
    Workflow("refused: an unknown record", ask("GET", "/api/contacts/00000000-0000-4000-8000-000000000000/")),
    Workflow("refused: broken ids", ask("GET", "/api/contacts/17/")),
    Workflow("export", ask("GET", "/api/contacts/export/")),
    Workflow("export of leads and accounts", ask("GET", "/api/leads/export/", None, "/api/accounts/export/")),
    Workflow(
        "import: preview",
        table(
            "/api/contacts/import/preview/",
            LIANG + "Bad,,no address,x,\n",
        ),
    ),
    Workflow(
        "import",
        table(
            "/api/contacts/import/commit/",
            LIANG,
        ),
    ),
    Workflow(
        "import: the same again",
        table("/api/contacts/import/commit/", "first_name,last_name,email\n亮,诸葛,zhuge.liang@example.com\n"),
    ),
    Workflow(
        "who am I, and who else",
        ask("GET", "/api/profile/", None, "/api/auth/me/", "/api/users/get-teams-and-users/", "/api/teams/"),
    ),
    Workflow("the interface described", ask("GET", "/schema/?format=json")),
    Workflow("delete", ask("DELETE", "/api/contacts/{bare}/", None, "/api/contacts/{bare}/")),
)
