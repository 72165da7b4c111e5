"""The work that the fidelity drill does in Tryton: the calls its clients make for a party and its children."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gateway.demo.browser import Answer
from gateway.demo.driver import TrytonDriver
from gateway.demo.tryton import DATABASE
from tests.drills import facts
from tests.drills.workflow import Seen, Worker, Workflow

SORTED = "order by a protected field"
PARTIAL = "partial search on a protected field"
SHARED = "search by a name that several have asks for something else to search by"
PARTY, WAY, PLACE, NUMBER = "party.party", "party.contact_mechanism", "party.address", "party.identifier"
# Times, and the server's own clock-based stamps.
MOVING = ("create_date", "write_date", "_timestamp", "__timestamp__", "timestamp")
FIELDS = ["name", "rec_name", "code", "phone", "mobile", "email", "fax", "full_name", "active", "lang"]
DEEP = ["contact_mechanisms.value", "contact_mechanisms.type", "contact_mechanisms.rec_name", "identifiers.code"]
DEEP += ["addresses.full_address", "addresses.street", "addresses.city", "addresses.rec_name"]


def _create(*values: dict[str, Any]) -> list[Any]:
    return ["create", list(values)]


PEOPLE: dict[str, dict[str, Any]] = {
    "wei": {
        "name": "张伟",
        "contact_mechanisms": [
            _create(
                {"type": "mobile", "value": "139-0773-1824"},
                {"type": "phone", "value": "010-6552 9988 转 23"},
                {"type": "email", "value": "Zhang.WEI@Example.COM"},
                {"type": "other", "value": "wechat: zhangwei_81", "comment": "evenings, 13700001111"},
            )
        ],
        "identifiers": [_create({"type": None, "code": "11010519491231002X"})],
        "addresses": [_create({"street_unstructured": "建国路88号 3单元", "city": "北京", "postal_code": "100022"})],
    },
    "marie": {
        "name": "Zoé-Marie d'Arcy",
        "contact_mechanisms": [
            _create(
                {"type": "phone", "value": "+33 6 12 34 56 78"},
                {"type": "email", "value": "zoe.darcy@example.com"},
                {"type": "website", "value": "https://www.example.com/zoe"},
            )
        ],
        "addresses": [_create({"street_unstructured": "12 rue de Rivoli\nBâtiment B", "city": "Paris"})],
    },
    "john": {
        "name": 'John "JJ" Smith & Sons',
        "contact_mechanisms": [
            _create({"type": "mobile", "value": "+14155550123"}, {"type": "fax", "value": "+14155550124"})
        ],
        "identifiers": [
            _create({"type": None, "code": "6222020000000000004"}, {"type": None, "code": "ACME-2026/0042"})
        ],
    },
    "bare": {"name": "O'Nobody"},
    "namesake": {"name": "O'Nobody"},
}


def ask(worker: Worker, method: str, params: Sequence[Any]) -> tuple[Answer, Any]:
    """One call; its answer and what it holds, an error included."""
    assert isinstance(worker.driver, TrytonDriver)
    body = {"id": 7, "method": method, "params": [*params, {}]}
    answer = worker.driver.browser.post_json(f"/{DATABASE}/rpc/", body)
    return answer, answer.json() if "json" in answer.header("content-type") else answer.text


def told(worker: Worker, answer: Answer, value: Any) -> tuple[str, ...]:
    """Status, headers and JSON."""
    browser = worker.driver.browser
    return (*facts.head(answer, browser), *facts.even(facts.structure(value, MOVING), browser).splitlines())


def result(value: Any) -> Any:
    """What a call gave; raises ValueError with the kind of error when it was refused."""
    if isinstance(value, dict) and "error" in value:
        raise ValueError(f"refused: {value['error'][0]}")
    return value["result"] if isinstance(value, dict) and "result" in value else value


def number(worker: Worker, key: str) -> int:
    """A remembered record id."""
    return int(worker.kept[key])


def create(key: str) -> Callable[[Worker], Seen]:
    """A party with everything that hangs on it."""

    def run(worker: Worker) -> Seen:
        answer, value = ask(worker, f"model.{PARTY}.create", [[PEOPLE[key]]])
        worker.kept[key] = str(result(value)[0])
        return Seen(f"{answer.status} party {worker.kept[key]}", told(worker, answer, value))

    return run


def call(
    model: str, method: str, params: Callable[[Worker], list[Any]], *, fails: bool = False
) -> Callable[[Worker], Seen]:
    """One call compared as it is. fails: the CRM is expected to refuse it."""

    def run(worker: Worker) -> Seen:
        answer, value = ask(worker, f"model.{model}.{method}", params(worker))
        if fails:
            said = f"{answer.status} {value['error'][0]}: {str(value['error'][1])[:60]}"
            return Seen(said, told(worker, answer, value))
        got = result(value)
        said = f"{answer.status} {len(got)} rows" if isinstance(got, list) else f"{answer.status} {_brief(got)}"
        return Seen(said, told(worker, answer, value))

    return run


def _brief(value: Any) -> str:
    return f"{len(value)} fields" if isinstance(value, dict) else json.dumps(value)[:40]


def rows_as_set(model: str, domain: list[Any], order: Any, names: list[str]) -> Callable[[Worker], Seen]:
    """Rows in the order of a protected field; as a set they must agree."""

    def run(worker: Worker) -> Seen:
        answer, value = ask(worker, f"model.{model}.search_read", [domain, 0, 100, order, names])
        got = result(value)
        loose = tuple(sorted(facts.structure(row, MOVING) for row in got))
        return Seen(f"{answer.status} {len(got)} rows", told(worker, answer, value), loose)

    return run


def search(domain: list[Any]) -> Callable[[Worker], Seen]:
    """Records that a condition finds, in the order of their numbers."""

    def run(worker: Worker) -> Seen:
        answer, value = ask(
            worker, f"model.{PARTY}.search_read", [domain, 0, 100, [["id", "ASC"]], ["rec_name", "email"]]
        )
        got = result(value)
        counted, count = ask(worker, f"model.{PARTY}.search_count", [domain])
        said = (
            f"{answer.status} {len(got)} found, count {result(count)}" if answer.status == 200 else f"{answer.status}"
        )
        return Seen(
            said,
            (*told(worker, answer, value), *told(worker, counted, count)),
            facts.head(answer, worker.driver.browser),
        )

    return run


def loosely(run: Callable[[Worker], Seen]) -> Callable[[Worker], Seen]:
    """Work whose outcome may differ altogether, as the workflow says."""
    return lambda worker: replace(run(worker), loose=())


def _party(worker: Worker, key: str) -> dict[str, Any]:
    _, value = ask(
        worker, f"model.{PARTY}.read", [[number(worker, key)], ["contact_mechanisms", "addresses", "identifiers"]]
    )
    row: dict[str, Any] = result(value)[0]
    return row


def write_way(worker: Worker) -> Seen:
    """Change a phone number and an e-mail address on their own records."""
    ways = _party(worker, "marie")["contact_mechanisms"]
    seen: tuple[str, ...] = ()
    for way, new in zip(ways, ("+33 (0)6 99 88 77 66", "Zoe.Darcy@Example.org"), strict=False):
        answer, value = ask(worker, f"model.{WAY}.write", [[way], {"value": new}])
        seen += told(worker, answer, value)
    answer, value = ask(
        worker, f"model.{WAY}.read", [ways, ["value", "type", "rec_name", "email", "other_value", "url"]]
    )
    return Seen(f"{answer.status} {len(result(value))} read", (*seen, *told(worker, answer, value)))


def write_party(worker: Worker) -> Seen:
    """Rename a party, change one child, add one and remove one in the same call."""
    row = _party(worker, "wei")
    ways = row["contact_mechanisms"]
    values = {
        "name": "张伟明",
        "contact_mechanisms": [
            ["write", [ways[0]], {"value": "139 0773 1899"}],
            _create({"type": "email", "value": "weiming@example.net"}),
            ["delete", [ways[3]]],
        ],
        "addresses": [["write", row["addresses"][:1], {"street_unstructured": "长安街1号"}]],
    }
    answer, value = ask(worker, f"model.{PARTY}.write", [[number(worker, "wei")], values])
    read, got = ask(worker, f"model.{PARTY}.read", [[number(worker, "wei")], [*FIELDS, *DEEP]])
    result(value)
    return Seen(
        f"{answer.status}, {len(result(got)[0])} fields", (*told(worker, answer, value), *told(worker, read, got))
    )


def copy(worker: Worker) -> Seen:
    """A copy, with its children."""
    answer, value = ask(worker, f"model.{PARTY}.copy", [[number(worker, "marie")]])
    worker.kept["copy"] = str(result(value)[0])
    read, got = ask(worker, f"model.{PARTY}.read", [[number(worker, "copy")], [*FIELDS, *DEEP]])
    return Seen(
        f"{answer.status} party {worker.kept['copy']}", (*told(worker, answer, value), *told(worker, read, got))
    )


def note(worker: Worker) -> Seen:
    """A note on a party, byte for byte."""
    text = '第一行：手机13800138000，邮箱li.na@example.org\r\n\t张伟 said: <b>&amp;</b> "q" it\'s 100%  \\n end '
    values = {"resource": f"{PARTY},{worker.kept['marie']}", "message": text}
    answer, value = ask(worker, "model.ir.note.create", [[values]])
    read, got = ask(worker, "model.ir.note.read", [result(value), ["message", "resource"]])
    same = result(got)[0]["message"] == text
    return Seen(
        f"{answer.status} {'as typed' if same else 'CHANGED'}",
        (str(same), *told(worker, answer, value), *told(worker, read, got)),
    )


def no_right(worker: Worker) -> Seen:
    """A record of a type that the manager's groups do not reach, with numbers in its text."""
    text = {"description": "Call 13800138000 first", "comment": "mail li.na@example.org"}
    answer, value = ask(worker, "model.sale.opportunity.create", [[{"party": number(worker, "wei"), **text}]])
    return Seen(f"{answer.status} {value['error'][0]}: {value['error'][1][0]}", told(worker, answer, value))


def refused_identifier(worker: Worker) -> Seen:
    """A tax number that is none: a UserError in an answer with status 200, with the values in its text."""
    values = {"party": number(worker, "marie"), "type": "fr_siren", "code": "13800138000"}
    answer, value = ask(worker, f"model.{NUMBER}.create", [[values]])
    return Seen(f"{answer.status} {value['error'][0]}: {value['error'][1][0]}", told(worker, answer, value))


def delete(worker: Worker) -> Seen:
    """Remove the copy and look for it."""
    answer, value = ask(worker, f"model.{PARTY}.delete", [[number(worker, "copy")]])
    read, got = ask(worker, f"model.{PARTY}.search", [[["id", "=", number(worker, "copy")]], 0, 10, None])
    return Seen(
        f"{answer.status}, then {len(result(got))} found", (*told(worker, answer, value), *told(worker, read, got))
    )


def raw_errors(worker: Worker) -> Seen:
    """Calls that Tryton does not take: unknown method, unknown field, missing record."""
    seen: tuple[str, ...] = ()
    statuses = []
    for method, params in (
        (f"model.{PARTY}.read", [[99999], ["name"]]),
        (f"model.{PARTY}.search_read", [[["no_such_field", "=", "x"]], 0, 1, None, ["name"]]),
        (f"model.{PARTY}.create", [[{"no_such_field": "x"}]]),
    ):
        answer, value = ask(worker, method, params)
        statuses.append(str(answer.status))
        kept = value["error"][:2] if isinstance(value, dict) and "error" in value else value
        seen += (f"status {answer.status}", facts.structure(kept))
    return Seen(" ".join(statuses), seen)


WORKFLOWS: tuple[Workflow, ...] = (
    *(Workflow(f"create: {key}", create(key)) for key in PEOPLE),
    Workflow(
        "read everything of a party",
        call(PARTY, "read", lambda w: [[number(w, key) for key in PEOPLE], [*FIELDS, *DEEP]]),
    ),
    Workflow(
        "read with computed fields",
        call(
            PARTY,
            "read",
            lambda w: [
                [number(w, "wei")],
                [
                    "full_name",
                    "tax_identifier",
                    "replaced_by",
                    "create_uid.rec_name",
                    "contact_mechanisms.value_compact",
                ],
            ],
        ),
    ),
    Workflow("search_read by number", call(PARTY, "search_read", lambda _: [[], 0, 100, [["id", "ASC"]], FIELDS])),
    Workflow("search_read by name", rows_as_set(PARTY, [], [["name", "ASC"]], FIELDS), known=SORTED),
    Workflow("search_read in the default order", rows_as_set(PARTY, [], None, ["rec_name"]), known=SORTED),
    Workflow(
        "mechanisms of all parties",
        call(
            WAY, "search_read", lambda _: [[], 0, 100, [["id", "ASC"]], ["value", "type", "party.rec_name", "rec_name"]]
        ),
    ),
    Workflow(
        "addresses of all parties",
        call(
            PLACE,
            "search_read",
            lambda _: [[], 0, 100, [["id", "ASC"]], ["street", "city", "full_address", "rec_name"]],
        ),
    ),
    Workflow(
        "identifiers of all parties",
        call(NUMBER, "search_read", lambda _: [[], 0, 100, [["id", "ASC"]], ["code", "rec_name"]]),
    ),
    Workflow("search: phone =", search([["contact_mechanisms.value", "=", "139-0773-1824"]])),
    Workflow("search: e-mail =", search([["contact_mechanisms.value", "=", "Zhang.WEI@Example.COM"]])),
    Workflow(
        "search: e-mail ilike, lower case", search([["contact_mechanisms.value", "ilike", "%zhang.wei@example.com%"]])
    ),
    Workflow("search: phone ilike", search([["contact_mechanisms.value", "ilike", "%+33 6 12 34 56 78%"]])),
    Workflow("search: name =", search([["name", "=", "Zoé-Marie d'Arcy"]])),
    Workflow("search: name ilike", search([["name", "ilike", "%张伟%"]])),
    Workflow("search: rec_name ilike name", search([["rec_name", "ilike", "%Zoé-Marie d'Arcy%"]])),
    Workflow("search: rec_name ilike phone", search([["rec_name", "ilike", "%+14155550123%"]])),
    Workflow("search: rec_name ilike e-mail", search([["rec_name", "ilike", "%zoe.darcy@example.com%"]])),
    Workflow(
        "search: OR of two, and a negation",
        search(["OR", ["name", "=", "张伟"], ["contact_mechanisms.value", "in", ["+14155550123", "x@example.com"]]]),
    ),
    Workflow("search: ID number =", search([["identifiers.code", "=", "11010519491231002X"]])),
    Workflow("search: other number =", search([["identifiers.code", "=", "ACME-2026/0042"]])),
    Workflow("search: nobody", search([["contact_mechanisms.value", "=", "+8613100000009"]])),
    Workflow("search: city", search([["addresses.city", "ilike", "%Par%"]])),
    Workflow("search: part of a name", search([["name", "ilike", "%Marie%"]]), known=PARTIAL),
    Workflow("search: part of a phone", search([["contact_mechanisms.value", "ilike", "%0773%"]]), known=PARTIAL),
    Workflow("write a phone and an e-mail on their own", write_way),
    Workflow("write a party and its children", write_party),
    Workflow("note on a party", note),
    Workflow("refused: no right to the record type", no_right),
    Workflow(
        "export_data",
        call(
            PARTY,
            "export_data",
            lambda w: [
                [number(w, key) for key in PEOPLE],
                [
                    "name",
                    "contact_mechanisms/type",
                    "contact_mechanisms/value",
                    "addresses/full_address",
                    "identifiers/code",
                ],
            ],
        ),
    ),
    Workflow(
        "export_data_domain",
        call(
            PARTY,
            "export_data_domain",
            lambda _: [[["name", "!=", "x"]], ["id", "name", "email"], 0, 100, [["id", "ASC"]]],
        ),
    ),
    Workflow(
        "import_data",
        call(
            PARTY,
            "import_data",
            lambda _: [
                ["name", "contact_mechanisms/type", "contact_mechanisms/value"],
                [["诸葛亮", "email", "zhuge.liang@example.com"], ["", "mobile", "13611112222"]],
            ],
        ),
    ),
    Workflow(
        "parties after the import",
        call(PARTY, "search_read", lambda _: [[], 0, 100, [["id", "ASC"]], ["name", "email", "mobile"]]),
    ),
    Workflow("default_get", call(PARTY, "default_get", lambda _: [["name", "lang", "active", "addresses"], True])),
    Workflow(
        "on_change of a mechanism",
        call(WAY, "on_change", lambda _: [{"type": "email", "value": "zoe@example.com", "id": -1}, ["value"]]),
    ),
    Workflow(
        "create: a number that is none",
        call(
            PARTY,
            "create",
            lambda _: [
                [
                    {
                        "name": "Zhao",
                        "contact_mechanisms": [
                            _create(
                                {"type": "phone", "value": "see notes"}, {"type": "email", "value": "not an address"}
                            )
                        ],
                    }
                ]
            ],
        ),
    ),
    Workflow("search: a number that is none", search([["contact_mechanisms.value", "=", "see notes"]])),
    Workflow("autocomplete", call(PARTY, "autocomplete", lambda _: ["Zoé-Marie d'Arcy", [], 10, None])),
    Workflow("refused: identifier, text names code and party", refused_identifier),
    Workflow(
        "refused: duplicate code, text names a value",
        call(PARTY, "create", lambda _: [[{"name": "Li", "code": "1"}]], fails=True),
    ),
    Workflow(
        "refused: no name of a required field",
        call(WAY, "create", lambda _: [[{"type": "email", "value": "no.party@example.com"}]], fails=True),
    ),
    Workflow("calls that Tryton does not take", raw_errors),
    Workflow("copy with children", copy),
    Workflow("search: a name that two have", loosely(search([["name", "=", "O'Nobody"]])), known=SHARED),
    Workflow("delete", delete),
    Workflow("resources of a party", call(PARTY, "resources", lambda w: [[number(w, "marie")]])),
    Workflow("fields and view", call(PARTY, "fields_view_get", lambda _: [None, "form"])),
)
