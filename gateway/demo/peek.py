"""`python -m gateway.demo.peek`: the same records as two people see them and as the CRM stores them.

For a running `make demo CRM=tryton` or `CRM=bottle`, whose CRMs have no pages to look at. Each call uses up a code of
both people.
"""

import argparse
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.access.totp import STEP_S
from gateway.demo import bottle
from gateway.demo.browser import Browser
from gateway.demo.driver import BottleDriver, Driver, TrytonDriver, make_driver
from gateway.demo.filling import SignInFault, sign_in
from gateway.demo.staff import Member, load_staff
from gateway.demo.stage import Stage
from gateway.demo.tryton import ADMIN, DATABASE

FIELDS: Mapping[str, tuple[str, ...]] = {
    "tryton": ("name", "mobile", "phone", "email"),
    "bottle": ("first_name", "last_name", "phone", "email"),
}
SHOWN = 6
Rows = dict[str, dict[str, str]]


def main() -> int:
    """Print the table; the exit code is 1 when no demo runs."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.peek", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where the demo keeps its data")
    parser.add_argument("--crm", choices=sorted(FIELDS), default="tryton", help="whose demo runs")
    given = parser.parse_args()
    home = Stage(given.folder.absolute() / given.crm)
    console = Console(highlight=False)
    if home.port not in home.busy_ports():
        console.print(f"No demo runs. Start it in another terminal: make demo CRM={given.crm}", style="red")
        return 1
    staff = load_staff(home.staff, ADMIN)
    table = Table("record", "manager sees", "sales sees", "stored by the CRM", show_lines=True)
    manager, sales = (_view(home, staff.one(role), given.crm) for role in ("manager", "sales"))
    stored = _stored(home.crm, given.crm, list(manager))
    for record in manager:
        table.add_row(record, *(_cell(view.get(record, {}), given.crm) for view in (manager, sales, stored)))
    console.print(table)
    return 0


def _view(home: Stage, member: Member, crm: str) -> Rows:
    """The newest records as this member reads them through the gateway."""
    browser = Browser(home.crm_url, home.authority)
    try:
        try:
            sign_in(browser, member, datetime.now(UTC))
        except SignInFault:
            # The code of this half minute was used already; the next one was not.
            time.sleep(STEP_S - time.time() % STEP_S + 0.5)
            sign_in(browser, member, datetime.now(UTC))
        driver = make_driver(crm, browser)
        driver.log_in(member.login, member.crm_password)
        return {str(row["id"]): {name: row.get(name) or "" for name in FIELDS[crm]} for row in _newest(driver)}
    finally:
        browser.close()


def _newest(driver: Driver) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]]
    if isinstance(driver, BottleDriver):
        rows = driver.browser.get(f"/api/contacts/?limit={SHOWN}").expect(200).json()["results"]
    else:
        assert isinstance(driver, TrytonDriver)
        params = [[], 0, SHOWN, [["id", "DESC"]], [*FIELDS["tryton"], "id"], {}]
        rows = driver.call("model.party.party.search_read", params)
    return rows


def _stored(folder: Path, crm: str, records: Sequence[str]) -> Rows:
    """The same records in the CRM's own database."""
    if crm == "bottle":
        return _stored_contacts(folder, records)
    return _stored_parties(folder / "db" / f"{DATABASE}.sqlite", records)


def _stored_contacts(folder: Path, records: Sequence[str]) -> Rows:
    dsn = make_conninfo(bottle.cluster(folder).admin_dsn, dbname=bottle.DATABASE)
    with psycopg.connect(dsn) as connection:
        query = "SELECT id::text, first_name, last_name, phone, email FROM contacts WHERE id::text = ANY(%s)"
        rows = connection.execute(query, [list(records)]).fetchall()
    return {row[0]: dict(zip(FIELDS["bottle"], row[1:], strict=True)) for row in rows}


def _stored_parties(file: Path, records: Sequence[str]) -> Rows:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        found: Rows = {}
        for record in records:
            ways = connection.execute("SELECT type, value FROM party_contact_mechanism WHERE party = ?", [record])
            found[record] = dict(ways.fetchall())
            name = connection.execute("SELECT name FROM party_party WHERE id = ?", [record]).fetchone()
            found[record]["name"] = name[0] if name else ""
        return found
    finally:
        connection.close()


def _cell(values: Mapping[str, str], crm: str) -> str:
    return "\n".join(escape(values[name]) for name in FIELDS[crm] if values.get(name)) or "[dim]nothing[/]"


if __name__ == "__main__":
    sys.exit(main())
