"""What the demo prints when it is ready: where to go, who to be, what to try."""

import io
from collections.abc import Mapping
from datetime import datetime, timedelta

import pyotp
import segno
from rich.columns import Columns
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.access import totp
from gateway.demo.staff import Member, Staff

ABOUT: Mapping[str, str] = {
    "manager": "sees everything",
    "sales": "own customers only, phone and e-mail masked",
    "auditor": "console: the audit trail, no CRM",
    "dpo": "console: requests of people, no CRM",
    "administrator": "console: users and roles, no CRM data",
}
# Where a CRM keeps its database, below the folder of the demo.
DATABASES: Mapping[str, str] = {"Creme CRM": "creme/crm/crmproj/db.sqlite3", "DjangoCRM": "djangocrm/crm/db.sqlite3"}
STEP = timedelta(seconds=totp.STEP_S)


def show(
    console: Console, crm: str, staff: Staff, crm_url: str, console_url: str, ca: str, used_at: datetime, now: datetime
) -> None:
    """Print the summary; codes used for filling the CRM at `used_at` are not offered again."""
    moment = max(now, used_at + STEP)
    console.print()
    console.print(
        Panel(
            Group(
                Text.from_markup(f"[bold]{escape(crm)} through crmgate[/]   [link={crm_url}]{crm_url}[/]"),
                Text.from_markup(f"[bold]console[/]   [link={console_url}]{console_url}[/]"),
                Text.from_markup(f"[dim]The certificate is self-made; to trust it, import {escape(ca)}[/]"),
            ),
            title="crmgate demo",
            border_style="green",
            expand=False,
        )
    )
    console.print(_logins(staff, moment))
    console.print()
    console.print(_secrets(staff))
    console.print(f"\n[dim]Administrator of the CRM itself: {staff.crm_admin.login} / {staff.crm_admin.password}[/]")
    shown = [member for member in staff.members if member.role in ("manager", "sales", "administrator")]
    console.print(Columns([_qr(member) for member in shown], padding=(0, 3)))
    console.print(_things(crm, staff))
    console.print("[bold]Ctrl-C[/] ends everything; the data stay for the next start.\n")


def _logins(staff: Staff, moment: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("sign in as", "password", "code now", "password in the CRM"):
        table.add_column(title, no_wrap=True)
    table.add_column("who")
    for member in staff.members:
        code = pyotp.TOTP(member.secret).at(moment)
        table.add_row(f"[bold]{member.login}[/]", member.password, code, member.crm_password or "-", ABOUT[member.role])
    return table


def _secrets(staff: Staff) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("for the authenticator app", "secret"):
        table.add_column(title, no_wrap=True)
    for member in staff.members:
        table.add_row(member.login, totp.grouped(member.secret))
    return table


def _qr(member: Member) -> Panel:
    drawn = io.StringIO()
    uri = totp.enrolment_uri(member.secret, member.login, "crmgate demo")
    segno.make(uri, error="l").terminal(out=drawn, compact=True, border=2)
    return Panel(Text(drawn.getvalue().rstrip(), style="white on black"), title=member.login, expand=False)


def _things(crm: str, staff: Staff) -> Panel:
    manager, sales = staff.one("manager").login, staff.one("sales").login
    name = {"Tryton": "tryton", "BottleCRM": "bottle"}.get(crm)
    if name is not None:
        lines = [
            f"In another terminal: .venv/bin/python -m gateway.demo.peek --crm {name} - the same records as the "
            f"manager sees them, as sales does, and as {crm} stores them.",
            f"Sign in to the console as {staff.one('auditor').login} and watch those reads arrive.",
            f"Prove the trail: .venv/bin/crmgate audit verify --config .demo/{name}/crmgate.toml",
        ]
    else:
        database = DATABASES[crm]
        lines = [
            f"Open the same contact as {manager} and as {sales}, in two browser profiles: two views of one record.",
            f"As {manager}, search a phone number in the CRM's own search box; then look for it in "
            f".demo/{database}: it is not there.",
            "In another terminal: .venv/bin/crmgate audit tail --config "
            f".demo/{database.partition('/')[0]}/crmgate.toml",
        ]
    numbered = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return Panel(Text(numbered), title="three things to try", expand=False)
