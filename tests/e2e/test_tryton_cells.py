"""Whole texts as cells on a real Tryton: ciphertext in column and history, opened by role in their own record only."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.browser import Answer
from gateway.demo.driver import TrytonDriver
from gateway.demo.tryton import DATABASE
from policies.enforcer import DEFAULT_POLICY
from tests.drills.protect_command import Commands
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.celled_tryton import celled_tryton
from tests.real.servers import tryton
from tests.real.trading import with_company

pytestmark = pytest.mark.real
MODEL = "model.sale.opportunity"
NOTE = 'Wants <b>no</b> calls & "no" visits.\nAsk for Zoé-Marie; 王 knows.'
CONTEXT = {"company": 1}
PATIENCE_S = 180.0


@dataclass
class Office:
    """crmgate with that profile in front of a Tryton, and people at work."""

    stack: Stack
    manager: TrytonDriver
    sales: TrytonDriver
    direct: TrytonDriver
    commands: Commands

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.stack.crm.folder / "db" / f"{DATABASE}.sqlite", timeout=30)

    def held(self, record: int, table: str = "sale_opportunity") -> list[str]:
        """The comments that Tryton has of an opportunity, in its table or its history."""
        with closing(self.database()) as connection:
            rows = connection.execute(f"SELECT comment FROM {table} WHERE id = ?", (record,)).fetchall()
            return [str(comment) for (comment,) in rows if comment is not None]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("cells")
    profile = folder / "tryton.yaml"
    profile.write_text(celled_tryton(), encoding="utf-8")
    extra = f'[tenant.main]\nprofile = "{profile}"\npolicy = "{Path(DEFAULT_POLICY)}"\narrivals_s = 2.0\n'
    with tryton() as server:
        with_company(server)
        with installed(server, extra) as stack:
            hands = [at_work(stack, "manager", "wang.manager"), at_work(stack, "sales", "lin.sales")]
            hands.append(stack.direct("manager"))
            login = server.crm.admin_login
            password = folder / "password"
            password.write_text(server.passwords[login], encoding="utf-8")
            commands = Commands(settings=stack.settings)
            commands.protect("credential", "--login", login, "--password-file", str(password), "--db", DATABASE)
            yield Office(stack, *(driver(one) for one in hands), commands)
            hands[-1].browser.close()
            close_all()


def driver(found: object) -> TrytonDriver:
    assert isinstance(found, TrytonDriver)
    return found


def asked(hand: TrytonDriver, verb: str, *params: Any, **context: Any) -> Answer:
    """The answer to a call, whatever it is."""
    body = {"id": 1, "method": f"{MODEL}.{verb}", "params": [*params, {**CONTEXT, **context}]}
    return hand.browser.post_json(f"/{DATABASE}/rpc/", body)


def result(answer: Answer) -> Any:
    told = answer.expect(200).json()
    assert "error" not in told, told
    return told["result"]


def added(hand: TrytonDriver, note: str, **given: Any) -> int:
    return int(result(asked(hand, "create", [{"description": "Visit", "comment": note, **given}]))[0])


def comment(hand: TrytonDriver, record: int, **context: Any) -> str:
    return str(result(asked(hand, "read", [record], ["comment"], **context))[0]["comment"])


def test_a_comment_is_sealed_whole_and_opens_by_role(office: Office) -> None:
    record = added(office.sales, NOTE)
    (cell,) = office.held(record)
    assert cell.startswith("~G1.")
    assert comment(office.manager, record) == NOTE
    hidden = asked(office.sales, "read", [record], ["comment", "description"])
    assert "visits" not in hidden.text
    assert result(hidden)[0]["comment"] == cell
    assert result(hidden)[0]["description"] == "Visit"
    domain = [["id", "=", record]]
    listed = result(asked(office.manager, "search_read", domain, 0, None, None, ["description", "comment"]))
    assert [one["comment"] for one in listed] == [NOTE]
    assert "visits" not in asked(office.sales, "search_read", domain, 0, None, None, ["comment"]).text
    assert "visits" not in asked(office.sales, "export_data", [record], ["comment"], False).text


def test_lists_of_several_records_open_each_in_its_own(office: Office) -> None:
    notes = {added(office.manager, f"the {word} secret"): f"the {word} secret" for word in ("first", "second")}
    listed = result(asked(office.manager, "read", list(notes), ["comment"]))
    assert {one["id"]: one["comment"] for one in listed} == notes


def test_a_write_keeps_replaces_and_empties_the_comment_and_its_history_is_ciphertext(office: Office) -> None:
    record = added(office.manager, NOTE)
    result(asked(office.sales, "write", [record], {"description": "Call"}))
    assert comment(office.manager, record) == NOTE
    result(asked(office.manager, "write", [record], {"comment": comment(office.manager, record)}))
    assert comment(office.manager, record) == NOTE
    own = result(asked(office.sales, "read", [record], ["comment"]))[0]["comment"]
    result(asked(office.sales, "write", [record], {"comment": own}))  # what was shown comes back
    assert comment(office.manager, record) == NOTE
    result(asked(office.sales, "write", [record], {"comment": "typed by sales"}))
    assert comment(office.manager, record) == "typed by sales"
    foreign = office.held(added(office.manager, "of another"))[0]
    assert asked(office.sales, "write", [record], {"comment": foreign}).status == 409
    assert comment(office.manager, record) == "typed by sales"
    versions = office.held(record, "sale_opportunity__history")
    assert len(versions) >= 3
    assert all(one.startswith("~G1.") for one in versions)
    # Tryton shows the first version of a record to who asks for that time.
    first = result(asked(office.manager, "history_revisions", [record]))[-1][0]
    assert comment(office.manager, record, _datetime=first) == NOTE
    assert "visits" not in asked(office.sales, "read", [record], ["comment"], _datetime=first).text
    result(asked(office.manager, "write", [record], {"comment": ""}))
    assert result(asked(office.manager, "read", [record], ["comment"]))[0]["comment"] in ("", None)


def test_several_comments_in_one_call_are_refused_and_none_is_lost_or_clear(office: Office) -> None:
    several = [{"description": word, "comment": f"unsayable {word}"} for word in ("a", "b")]
    assert asked(office.manager, "create", several).status == 422
    first, second = (added(office.manager, word) for word in ("one", "two"))
    values = {"comment": "unsayable c"}
    assert asked(office.manager, "write", [first, second], values).status == 422
    assert asked(office.manager, "write", [first], {"description": "x"}, [second], values).status == 422
    assert asked(office.manager, "import_data", ["description", "comment"], [["x", "unsayable d"]]).status == 422
    assert (comment(office.manager, first), comment(office.manager, second)) == ("one", "two")
    assert not any("unsayable" in one for one in at_rest(office))


def test_a_copy_holds_ciphertext_that_opens_in_its_own_record_only(office: Office) -> None:
    record = added(office.manager, "copied secret")
    (copied,) = result(asked(office.manager, "copy", [record], {}))
    assert office.held(copied) == office.held(record)
    for hand in (office.manager, office.sales):
        assert "copied secret" not in asked(hand, "read", [copied], ["comment"]).text
    assert comment(office.manager, record) == "copied secret"
    # Its comment is written anew by whoever sees the first one.
    result(asked(office.manager, "write", [copied], {"comment": comment(office.manager, record)}))
    assert comment(office.manager, copied) == "copied secret"


def test_a_cell_moved_in_the_database_does_not_open(office: Office) -> None:
    first, second = (added(office.manager, f"{word} has a secret") for word in ("Alpha", "Beta"))
    with closing(office.database()) as connection, connection:
        moved = office.held(first)[0]
        connection.execute("UPDATE sale_opportunity SET comment = ? WHERE id = ?", (moved, second))
    assert "Alpha has" not in asked(office.manager, "read", [second], ["comment"]).text
    assert "Alpha has" not in asked(office.manager, "read", [first, second], ["comment"]).text
    assert comment(office.manager, first) == "Alpha has a secret"


def test_a_comment_made_past_the_gateway_becomes_a_cell(office: Office) -> None:
    record = added(office.direct, "typed past the gateway")
    start = time.monotonic()
    while not office.held(record)[0].startswith("~G1."):
        assert time.monotonic() - start < PATIENCE_S
        time.sleep(1)
    assert comment(office.manager, record) == "typed past the gateway"
    assert "typed past" not in asked(office.sales, "read", [record], ["comment"]).text


def test_the_probe_proves_the_cell_on_a_scratch_record(office: Office) -> None:
    with closing(office.database()) as connection:
        before = connection.execute("SELECT count(*) FROM sale_opportunity").fetchone()
    told = office.commands.protect("probe", code=None)
    (line,) = [one for one in told.splitlines() if "comment" in one and "text (cell)" in one]
    print(told)
    assert "opportunity" in line
    assert "holds" in line
    with closing(office.database()) as connection:
        assert connection.execute("SELECT count(*) FROM sale_opportunity").fetchone() == before


def test_no_comment_is_anywhere_in_tryton(office: Office) -> None:
    added(office.sales, "a sentence that nobody else has written")
    assert not any("sentence that nobody" in one for one in at_rest(office))


def at_rest(office: Office) -> list[str]:
    """Everything Tryton keeps, as text."""
    kept = [
        one.read_bytes().decode("utf-8", "replace") for one in Path(office.stack.crm.folder).rglob("*") if one.is_file()
    ]
    assert json.dumps("~G1.")[1:-1] in "".join(kept)
    return kept
