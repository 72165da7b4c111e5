"""`python -m gateway.demo.peek`: the same Tryton parties as two people see them and as Tryton stores them.

For a running `make demo CRM=tryton`, whose CRM has no pages to look at. Each call uses up a code of both people.
"""

import argparse
import sqlite3
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.access.totp import STEP_S
from gateway.demo.browser import Browser
from gateway.demo.driver import TrytonDriver
from gateway.demo.filling import SignInFault, sign_in
from gateway.demo.staff import Member, load_staff
from gateway.demo.stage import Stage
from gateway.demo.tryton import ADMIN, DATABASE

FIELDS = ("name", "mobile", "phone", "email")
SHOWN = 6


def main() -> int:
    """Print the table; the exit code is 1 when no demo runs."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.peek", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where the demo keeps its data")
    home = Stage(parser.parse_args().folder.absolute() / "tryton")
    console = Console(highlight=False)
    if home.port not in home.busy_ports():
        console.print("No demo runs. Start it in another terminal: make demo CRM=tryton", style="red")
        return 1
    staff = load_staff(home.staff, ADMIN)
    table = Table("party", *(title for title in ("manager sees", "sales sees", "stored by Tryton")), show_lines=True)
    manager, sales = (_view(home, staff.one(role)) for role in ("manager", "sales"))
    stored = _stored(home.crm / "db" / f"{DATABASE}.sqlite", list(manager))
    for record in manager:
        table.add_row(str(record), *(_cell(view.get(record, {})) for view in (manager, sales, stored)))
    console.print(table)
    return 0


def _view(home: Stage, member: Member) -> dict[int, dict[str, str]]:
    """The newest parties as this member reads them through the gateway."""
    browser = Browser(home.crm_url, home.authority)
    try:
        try:
            sign_in(browser, member, datetime.now(UTC))
        except SignInFault:
            # The code of this half minute was used already; the next one was not.
            time.sleep(STEP_S - time.time() % STEP_S + 0.5)
            sign_in(browser, member, datetime.now(UTC))
        driver = TrytonDriver(browser)
        driver.log_in(member.login, member.crm_password)
        params = [[], 0, SHOWN, [["id", "DESC"]], [*FIELDS, "id"], {}]
        rows = driver.call("model.party.party.search_read", params)
        return {row["id"]: {name: row.get(name) or "" for name in FIELDS} for row in rows}
    finally:
        browser.close()


def _stored(file: Path, records: list[int]) -> dict[int, dict[str, str]]:
    """The same parties in Tryton's own database."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        found: dict[int, dict[str, str]] = {}
        for record in records:
            ways = connection.execute("SELECT type, value FROM party_contact_mechanism WHERE party = ?", [record])
            found[record] = dict(ways.fetchall())
            name = connection.execute("SELECT name FROM party_party WHERE id = ?", [record]).fetchone()
            found[record]["name"] = name[0] if name else ""
        return found
    finally:
        connection.close()


def _cell(values: Mapping[str, str]) -> str:
    return "\n".join(escape(values[name]) for name in FIELDS if values.get(name)) or "[dim]nothing[/]"


if __name__ == "__main__":
    sys.exit(main())
