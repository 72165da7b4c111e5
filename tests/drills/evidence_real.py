"""`make evidence-real`: the probe of MariaDB against a real server, in clear, half encrypted and whole.

Needs `mariadbd` (Debian: mariadb-server). Everything is in a temporary folder, on a Unix socket; nothing listens on a
port. Not part of `make test`, because the server is about 200 MB.
"""

import contextlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.evidence.mysql import MysqlProbe
from gateway.evidence.probe import Verdict
from gateway.evidence.store import MysqlClient, ServerSilent

WAIT_S = 120.0
PLAIN: tuple[str, ...] = ()
ENCRYPTED = (
    "innodb_encrypt_tables=FORCE",
    "innodb_encrypt_log=ON",
    "innodb_encrypt_temporary_tables=ON",
    "innodb_encryption_threads=4",
    "encrypt_tmp_files=ON",
    "encrypt_binlog=ON",
    "aria_encrypt_tables=ON",
)


@contextlib.contextmanager
def server(folder: Path, settings: tuple[str, ...]) -> Iterator[MysqlClient]:
    """A MariaDB over the data in a folder with these settings; ends it afterwards."""
    config = folder / "server.cnf"
    lines = [
        "[mariadbd]",
        f"datadir={folder}/data",
        f"socket={folder}/s",
        f"pid-file={folder}/pid",
        "skip-networking",
        "log_bin=binlog",
        f"log_error={folder}/error.log",
        "plugin_load_add=file_key_management",
        "loose-file_key_management",
        f"file_key_management_filename={folder}/keys",
        *(f"{one}" for one in settings),
    ]
    plugins = next(Path(shutil.which("mariadbd") or "/").parents[1].glob("lib*/mysql/plugin"), None)
    lines += [f"plugin_dir={plugins}", f"lc_messages_dir={plugins.parents[2]}/share/mysql"] if plugins else []
    config.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(["mariadbd", f"--defaults-file={config}", "--user=root"])
    client = MysqlClient(folder / "client.cnf")
    end = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                client("SELECT 1")
                break
            except ServerSilent:
                if time.monotonic() > end or process.poll() is not None:
                    raise SystemExit((folder / "error.log").read_text()[-3000:]) from None
                time.sleep(0.3)
        yield client
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    """Exit code 1 when a verdict is not the one that is true."""
    if shutil.which("mariadbd") is None:
        print("make evidence-real needs mariadbd: apt-get install mariadb-server", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="crmgate-mariadb-"))
    try:
        return _run(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path) -> int:
    (folder / "keys").write_text(f"1;{secrets.token_hex(32)}\n")
    (folder / "client.cnf").write_text(f"[client]\nuser=root\nsocket={folder}/s\n")
    (folder / "probe.cnf").write_text(f"[client]\nuser=probe\npassword=probe\nsocket={folder}/s\n")
    installer = shutil.which("mariadb-install-db")
    assert installer is not None
    base = Path(shutil.which("mariadbd") or "/").parents[1]
    subprocess.run(
        [installer, "--no-defaults", f"--basedir={base}", f"--datadir={folder}/data", "--user=root"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    rows: list[tuple[str, Verdict, Verdict, str]] = []

    def look(what: str, wanted: Verdict, access: str = "probe.cnf") -> None:
        (seen,) = MysqlProbe("CRM", "crm", MysqlClient(folder / access)).look()
        rows.append((what, wanted, seen.verdict, "; ".join(f"{name}: {value}" for name, value in seen.facts)))

    with server(folder, PLAIN) as ask:
        ask("CREATE DATABASE crm")
        for name in ("contact", "`my-table`", "`客户`"):
            ask(f"CREATE TABLE crm.{name} (id INT PRIMARY KEY, phone VARCHAR(40))")
        ask("CREATE TABLE crm.part (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3")
        ask("CREATE USER probe@localhost IDENTIFIED BY 'probe'")
        look("an account without any right", Verdict.NOT_VISIBLE)
        ask("GRANT PROCESS ON *.* TO probe@localhost")
        ask("GRANT REFERENCES ON crm.* TO probe@localhost")
        look("nothing encrypted", Verdict.REFUTED)
    with server(folder, ENCRYPTED) as ask:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            (seen,) = MysqlProbe("CRM", "crm", ask).look()
            if seen.verdict is Verdict.PROVED:
                break
            time.sleep(1)
        look("everything encrypted", Verdict.PROVED)
        ask("CREATE TABLE crm.old (id INT) ENGINE = MyISAM")
        look("one table of another engine", Verdict.REFUTED)
        ask("DROP TABLE crm.old")
        look("without it", Verdict.PROVED)
    look("server stopped", Verdict.NOT_VISIBLE)
    table = Table("state of a real MariaDB", "wanted", "probe", "seen")
    for what, wanted, verdict, facts in rows:
        table.add_row(what, wanted, f"[{'green' if verdict is wanted else 'bold red'}]{verdict}[/]", facts)
    Console(width=170).print(table)
    return 0 if all(wanted is verdict for _, wanted, verdict, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
