"""`make demo`: installs a real CRM, puts crmgate in front of it, fills it through the gateway, and waits for Ctrl-C.

Everything listens on 127.0.0.1. The first start takes minutes, mostly for the CRM's own installation; later ones take
seconds and keep the data. All programs started here end with it.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from rich.console import Console

from gateway.access.users import Profile
from gateway.accounts import open_accounts, utc_now
from gateway.demo import children, filling, stage, summary
from gateway.demo.bottle import Bottle
from gateway.demo.browser import Browser, BrowserFault
from gateway.demo.children import Child, ChildFault
from gateway.demo.creme import Creme
from gateway.demo.crm import Crm, copy_state, ensure_installed, ensure_prepared
from gateway.demo.django_crm import DjangoCrm
from gateway.demo.driver import DriverFault
from gateway.demo.environment import InstallFault
from gateway.demo.filling import SignInFault
from gateway.demo.interpreter import InterpreterMissing
from gateway.demo.staff import Staff, load_staff
from gateway.demo.stage import Stage
from gateway.demo.steps import Steps
from gateway.demo.tryton import Tryton
from gateway.opening import open_database
from gateway.settings import Settings, cache_folder

CRMS: Mapping[str, Callable[[], Crm]] = {
    "creme": Creme,
    "djangocrm": DjangoCrm,
    "tryton": Tryton,
    "bottle": Bottle,
}
TOLD = (InstallFault, InterpreterMissing, ChildFault, DriverFault, SignInFault, BrowserFault)


def main() -> int:
    """Run the demo; the exit code is 0 after Ctrl-C and 1 when something failed."""
    arguments = _arguments()
    console = Console(highlight=False)
    home = Stage(arguments.folder.absolute() / arguments.crm, arguments.port, arguments.console_port)
    busy = home.busy_ports()
    if busy:
        ports = " and ".join(map(str, busy))
        console.print(f"Port {ports} of 127.0.0.1 is in use, perhaps by another demo. Stop that first.", style="red")
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _as_interrupt)
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with contextlib.ExitStack() as running:
        try:
            _run(CRMS[arguments.crm](), home, console, running, most=arguments.records, once=arguments.once)
        except KeyboardInterrupt:
            console.print("\nStopping…")
        except TOLD as fault:
            console.print(str(fault), style="red", markup=False)
            return 1
    return 0


def _run(
    crm: Crm, home: Stage, console: Console, running: contextlib.ExitStack, *, most: int | None, once: bool
) -> None:
    """The whole demo, step by step."""
    steps = Steps(console)
    with steps.step(f"{crm.title} {crm.version} installed") as report:
        python = ensure_installed(crm, cache_folder(), report)
    with steps.step(f"{crm.title} prepared") as report:
        prepared = ensure_prepared(crm, python, cache_folder(), report)
        if not home.crm.exists():
            copy_state(prepared, home.crm)
    staff = load_staff(home.staff, crm.admin_login)
    with steps.step(f"{crm.title} running"):
        port = home.crm_port()
        crm_child, crm_ids = _start_crm(crm, python, home, staff, port, running)
    with steps.step("accounts of crmgate"):
        settings = home.write_settings(crm.name, port)
        stage.make_certificate(settings)
        asyncio.run(_provision(settings, staff, crm_ids))
    with steps.step("crmgate running"):
        gateway_child = _start_gateway(home, running)
    with steps.step("synthetic people entered through the gateway") as report:
        used = filling.fill(crm.name, staff, lambda: _browser(home), home.seeded, report, most)
    ca = str(home.authority)
    now = utc_now()
    summary.show(console, crm.title, staff, home.crm_url, home.console_url, ca, used or now - summary.STEP, now)
    if not once:
        _wait([crm_child, gateway_child])


def _start_crm(
    crm: Crm, python: Path, home: Stage, staff: Staff, port: int, running: contextlib.ExitStack
) -> tuple[Child, Mapping[str, str]]:
    crm.set_up(python, home.crm, port)
    ids: Mapping[str, str] = home.crm_ids()
    if not ids and not crm.users_need_it_running():
        ids = crm.add_users(python, home.crm, port, staff.crm_users())
    child = crm.start(python, home.crm, port, home.folder / "crm.log")
    running.callback(child.stop)
    children.wait_for_http(child, port, crm.ready_path)
    if not ids:
        ids = crm.add_users(python, home.crm, port, staff.crm_users())
    home.keep_crm_ids(ids)
    return child, ids


async def _provision(settings: Settings, staff: Staff, crm_ids: Mapping[str, str]) -> None:
    """Accounts of the gateway with both factors set, where they are missing."""
    database = await asyncio.to_thread(open_database, settings)
    try:
        async with open_accounts(settings, stage.TENANT, database.dsn) as accounts:
            for member in staff.members:
                if await accounts.users.by_login(accounts.tenant, member.login) is not None:
                    continue
                profile = Profile(
                    display_name=f"{member.first_name} {member.last_name}",
                    roles=(member.role,),
                    crm_user=crm_ids.get(member.login, ""),
                )
                user = await accounts.users.create(accounts.tenant, member.login, profile)
                await accounts.users.provision(user, member.password, member.secret)
                await accounts.record("user.add", user.id, member.role)
    finally:
        await asyncio.to_thread(database.close)


def _start_gateway(home: Stage, running: contextlib.ExitStack) -> Child:
    command: list[str | Path] = [sys.executable, "-m", "gateway.cli", "serve", "--config", home.settings_file]
    child = children.start("crmgate", command, home.folder / "crmgate.log", home.folder)
    running.callback(child.stop)
    for port in (home.port, home.console_port):
        children.wait_for_port(child, port)
    return child


def _browser(home: Stage) -> Browser:
    return Browser(home.crm_url, home.authority)


def _wait(watched: list[Child]) -> None:
    """Wait until Ctrl-C, or until one of them ends by itself."""
    while True:
        for child in watched:
            if not child.alive():
                raise ChildFault(f"{child.name} ended by itself:\n{child.last_words()}")
        time.sleep(0.5)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.demo", description=__doc__)
    parser.add_argument("--crm", choices=sorted(CRMS), default="creme", help="which CRM to put behind the gateway")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where the demo keeps its data")
    parser.add_argument("--port", type=int, default=8443, help="port of the gateway")
    parser.add_argument("--console-port", type=int, default=8444, help="port of the console")
    parser.add_argument("--records", type=int, help="enter only so many records (for the tests)")
    parser.add_argument("--once", action="store_true", help="stop when everything is up (for the tests)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
