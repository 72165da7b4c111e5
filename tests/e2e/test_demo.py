"""`make demo` as a newcomer sees it: it starts, says how to sign in, keeps its data, and ends completely."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.demo.children import free_port, port_is_free
from gateway.demo.filling import records
from gateway.demo.people import Person
from gateway.demo.staff import load_staff

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
RECORDS = 26


@contextmanager
def demo(crm: str, folder: Path, ports: tuple[int, int]) -> Iterator[str]:
    """A running demo; gives what it printed, ends it with Ctrl-C and looks that nothing stays behind."""
    log = folder / "printed"
    arguments = ["--crm", crm, "--folder", str(folder / "demo"), "--records", str(RECORDS)]
    arguments += ["--port", str(ports[0]), "--console-port", str(ports[1])]
    with log.open("w") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "gateway.demo", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "120"},
        )
    try:
        until = time.monotonic() + 500
        while "ends everything" not in log.read_text() and time.monotonic() < until:
            assert running.poll() is None, log.read_text()
            time.sleep(0.2)
        yield log.read_text()
    finally:
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(60) == 0
    for port in ports:
        assert port_is_free(port)
    assert "demo" not in open_command_lines(folder)


def open_command_lines(folder: Path) -> str:
    """Command lines of processes that still work in the demo's folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            lines.append(line)
    return "\n".join(lines)


def stored_names(crm: str, folder: Path) -> list[str]:
    if crm == "creme":
        file, query = folder / "demo/creme/crm/crmproj/db.sqlite3", "SELECT last_name FROM persons_contact"
    else:
        file, query = folder / "demo/tryton/crm/db/crm.sqlite", "SELECT name FROM party_party"
    connection = sqlite3.connect(file)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


@pytest.mark.parametrize("crm", ["creme", "tryton"])
def test_demo(crm: str, tmp_path: Path) -> None:
    for part in (tmp_path, *tmp_path.parents):
        if os.geteuid() == 0 and part.is_relative_to("/tmp/pytest-of-root"):
            part.chmod(0o755)  # as root the database runs as another account, which has to pass
    ports = free_port(), free_port()
    with demo(crm, tmp_path, ports) as printed:
        staff = load_staff(tmp_path / "demo" / crm / "staff.json", "")
        assert f"https://crm.localhost:{ports[0]}" in printed
        assert f"https://console.localhost:{ports[1]}" in printed
        for member in staff.members:
            assert member.password in printed
            assert member.secret[:4] in printed
        assert "█" in printed
        assert "three things to try" in printed
    before = stored_names(crm, tmp_path)
    people = [record for _, record in list(records())[:RECORDS] if isinstance(record, Person)]
    assert len(before) >= len(people)
    for person in people:
        assert person.last_name not in before
        assert person.full_name not in before
    with demo(crm, tmp_path, ports):
        pass
    assert stored_names(crm, tmp_path) == before


def test_busy_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gateway.demo", "--folder", str(tmp_path)),
                *("--port", str(port), "--console-port", str(free_port())),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use" in " ".join(done.stdout.split())
