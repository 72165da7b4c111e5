"""The commands of a real installation, from an empty folder to the first sign-in; what `check` says of each fault."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from typer.testing import CliRunner

from gateway.accounts import utc_now
from gateway.certificate import ensure_certificate
from gateway.cli import command_line
from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.demo.filling import API_SIGN_IN
from tests.drills.stack import Stack

pytestmark = pytest.mark.real
WAIT_S = 120
PASSWORD = "four-words-nobody-guesses-here"
HIDDEN = ("New password:", "Repeat for confirmation:")


@dataclass(frozen=True)
class Place:
    """A fresh folder and the two ports its settings name."""

    folder: Path
    port: int
    console_port: int

    @property
    def settings(self) -> Path:
        return self.folder / "crmgate.toml"

    def run(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "gateway.cli", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=WAIT_S)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="crmgate-fresh-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    yield Place(folder, children.free_port(), children.free_port())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made(place: Place, creme_stack: Stack) -> Place:
    """After `crmgate init` with nothing but the address of a running Creme."""
    urls = ["--public-url", f"https://crm.localhost:{place.port}"]
    urls += ["--console-url", f"https://console.localhost:{place.console_port}"]
    code, said = place.run("init", "--upstream", creme_stack.crm.url, *urls)
    assert code == 0, said
    assert "The CRM looks like: creme" in said
    assert "crmgate check" in said
    text = place.settings.read_text()
    for section, port in (("gateway", place.port), ("console", place.console_port)):
        text = text.replace(f"[{section}]\n", f'[{section}]\nlisten = "127.0.0.1:{port}"\n', 1)
    place.settings.write_text(text)
    return place


def dialogue(place: Place, words: list[str], answers: dict[str, Callable[[str], str]]) -> str:
    """Run a command on a terminal of its own and answer what it asks; everything it wrote."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(place.folder)
        os.execv(sys.executable, [sys.executable, "-m", "gateway.cli", *words])
    said, waiting, until = "", dict(answers), time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # how Linux tells the end of a terminal
            break
        said += chunk.decode(errors="replace")
        for question, answer in list(waiting.items()):
            if question in said:
                if question in HIDDEN:
                    _wait_for_no_echo(terminal)
                os.write(terminal, (answer(said) + "\n").encode())
                del waiting[question]
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said
    return said


def _wait_for_no_echo(terminal: int) -> None:
    """What is typed before the terminal stops showing it is thrown away."""
    until = time.monotonic() + WAIT_S
    while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < until:
        time.sleep(0.02)


def secret_in(said: str) -> str:
    found = re.search(r"Secret for the authenticator app: ([A-Z2-7 ]+)", said)
    assert found is not None
    return found[1].replace(" ", "")


def test_init_writes_comments_secrets_that_nobody_else_reads_and_says_what_comes_next(made: Place) -> None:
    text = made.settings.read_text()
    assert text.count("#") > 50
    for name in ("keyring", "keyring.pass"):
        assert (made.folder / "state" / name).stat().st_mode & 0o077 == 0
    assert made.run("init", "--upstream", "http://127.0.0.1:9", "--profile", "creme")[0] == 1
    assert made.settings.read_text() == text


def test_check_finds_nothing_wrong_with_it(made: Place) -> None:
    code, said = made.run("check")
    assert code == 0, said
    assert "problem" not in said


@pytest.fixture(scope="module")
def served(made: Place) -> Iterator[Place]:
    """The same with `crmgate serve` running, as it does when people use the other commands."""
    log = made.folder / "serve.log"
    serving = children.start("crmgate", [sys.executable, "-m", "gateway.cli", "serve"], log, made.folder)
    try:
        children.wait_for_port(serving, made.port)
        children.wait_for_port(serving, made.console_port)
        yield made
    finally:
        serving.stop()
    assert serving.process.returncode == 0
    assert "Traceback" not in log.read_text()


def test_the_first_administrator_is_made_at_the_terminal_and_is_let_in(served: Place) -> None:
    answers = {
        "New password:": lambda _: PASSWORD,
        "Repeat for confirmation:": lambda _: PASSWORD,
        "Code of the authenticator app:": lambda said: pyotp.TOTP(secret_in(said)).now(),
    }
    said = dialogue(served, ["user", "add", "ma.li", "--role", "manager", "--role", "administrator", "--here"], answers)
    assert "ma.li can sign in now." in said
    assert PASSWORD not in said
    assert "█" in said  # the QR code
    code_now = pyotp.TOTP(secret_in(said)).at(int(time.time()) + 30)  # the one of the set-up was used
    browser = Browser(f"https://crm.localhost:{served.port}", served.folder / "state" / "tls" / "authority.pem")
    given = {"login": "ma.li", "password": PASSWORD, "code": code_now}
    browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base}).expect(200)
    assert "creme" in browser.get("/").expect(200).text.lower()
    browser.close()


def test_the_other_commands_work_beside_it(served: Place) -> None:
    code, keys = served.run("keys", "status")
    assert (code, "provider local: can be used" in keys, "live" in keys) == (0, True, True)
    code, said = served.run("user", "add", "li.wei", "--role", "sales")
    assert (code, f"https://crm.localhost:{served.port}/.crmgate/set-up?token=" in said) == (0, True)
    code, listed = served.run("user", "list")
    assert (code, "li.wei" in listed, "not set up" in listed) == (0, True, True)
    assert served.run("audit", "verify")[0] == 0
    code, said = served.run("check")
    assert code == 0
    assert len(re.findall("^warning .*listen", said, re.MULTILINE)) == 2  # its own ports are taken: by itself


def test_the_trail_is_proved_published_and_shown_beside_it(served: Place) -> None:
    until = time.monotonic() + WAIT_S
    while not (found := re.search(r"signed ([1-9]\d*)", served.run("audit", "status")[1])):
        assert time.monotonic() < until
    code, key = served.run("audit", "key")
    assert (code, key.startswith("crmgate-audit/main+")) == (0, True), key
    index = str(int(found[1]) - 1)
    code, said = served.run("audit", "prove", index, "--out", "one.tlog-proof")
    assert code == 0, said
    code, said = served.run("audit", "check-proof", "one.tlog-proof", "--key", key.strip())
    assert (code, f"entry {index} of crmgate-audit/main" in said) == (0, True), said
    proof = served.folder / "one.tlog-proof"
    proof.write_text(proof.read_text().replace(f"index {index}", f"index {int(index) + 1}"))
    assert served.run("audit", "check-proof", "one.tlog-proof", "--key", key.strip())[0] == 1
    code, said = served.run("audit", "prove", "999999")
    assert (code, "is not signed" in said) == (1, True), said
    code, said = served.run("audit", "tiles", "public")
    assert (code, (served.folder / "public" / "checkpoint").is_file()) == (0, True), said
    # The running gateway keeps checkpoints in a folder beside the key.
    while "published" not in (said := served.run("audit", "status")[1]):
        assert time.monotonic() < until, said


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("user", "add", "Li.Wei", "--role", "sales"), 1, "already"),
        (("user", "disable", "nobody"), 1, "no account"),
        (("serve", "--config", "nowhere.toml"), 2, "nowhere.toml"),
        (("keys", "status", "--tenant", "other"), 2, "--tenant"),
    ],
)
def test_wrong_use_is_told_plainly(served: Place, words: tuple[str, ...], code: int, text: str) -> None:
    got, said = served.run(*words)
    assert (got, text in said) == (code, True), said


Change = Callable[[Path, str], str]


def _line(section: str, line: str) -> Change:
    return lambda _folder, text: text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)


def _instead(pattern: str, line: str) -> Change:
    return lambda _folder, text: re.sub(pattern, line, text, count=1, flags=re.MULTILINE)


def _broken(file: str, content: bytes | None) -> Change:
    def change(folder: Path, text: str) -> str:
        (folder / "state" / file).unlink()
        if content is not None:
            (folder / "state" / file).write_bytes(content)
            (folder / "state" / file).chmod(0o600)
        return text

    return change


def _mismatched_certificate(folder: Path, text: str) -> str:
    one = ensure_certificate(folder / "one", ["crm.localhost"], utc_now())
    two = ensure_certificate(folder / "two", ["crm.localhost"], utc_now())
    return _line("gateway", f'tls_certificate = "{one.certificate}"\ntls_key = "{two.key}"')(folder, text)


def _other_host(folder: Path, text: str) -> str:
    one = ensure_certificate(folder / "one", ["elsewhere.example"], utc_now())
    return _line("gateway", f'tls_certificate = "{one.certificate}"\ntls_key = "{one.key}"')(folder, text)


MOVED = 'public_url = "https://crm.localhost:9443"'
AWAY = 'provider = "openbao"\naddress = "http://127.0.0.1:9"\ntoken_file = "state/keyring.pass"'
NO_DATABASE = 'dsn = "host=127.0.0.1 port=9 connect_timeout=2"'
OPEN = r'listen = "0.0.0.0:\1"' + "\ntls = false"
# What is broken → exit code and words that say it.
FAULTS: dict[str, tuple[Change, int, str]] = {
    "the CRM is not there": (_instead("^upstream = .*", 'upstream = "http://127.0.0.1:9"'), 1, "cannot be reached"),
    "the CRM's name is unknown": (_instead("^upstream = .*", 'upstream = "http://crm.invalid"'), 1, "not known to DNS"),
    "the CRM has no TLS": (_instead('^upstream = "http:', 'upstream = "https:'), 1, "does not speak TLS"),
    "unknown profile": (_instead("^profile = .*", 'profile = "sugar"'), 1, 'no CRM profile "sugar"'),
    "policy file missing": (_line("tenant.main", 'policy = "mine.csv"'), 1, "mine.csv"),
    "mistyped section": (lambda _f, text: text.replace("[limits]", "[limit]"), 2, "did you mean limits"),
    "mistyped key": (_line("limits", "body_mbs = 3"), 2, "did you mean body_mb"),
    "wrong kind of value": (_line("limits", 'body_mb = "many"'), 2, "body_mb"),
    "not TOML": (lambda _f, text: text + "\n[[[", 2, "not valid TOML"),
    "console on the CRM's host": (_instead('^public_url = "https://console.*', MOVED), 2, "ports share cookies"),
    "password in the dsn": (_line("database", 'dsn = "host=127.0.0.1 password=x"'), 2, "must not hold a password"),
    "database does not answer": (_line("database", NO_DATABASE), 1, "database.dsn"),
    "passphrase missing": (_broken("keyring.pass", None), 1, "passphrase"),
    "wrong passphrase": (_broken("keyring.pass", b"another\n"), 1, "passphrase"),
    "keyring missing": (_broken("keyring", None), 1, "keyring"),
    "OpenBao away": (_line("keys", AWAY), 1, "keys.address"),
    "certificate and key apart": (_mismatched_certificate, 1, "do not belong together"),
    "certificate for another host": (_other_host, 1, "crm.localhost"),
    "TLS off towards the network": (_instead(r'^listen = "127.0.0.1:(\d+)"', OPEN), 1, "TLS is off"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(FAULTS))
def test_check_names_each_fault_in_plain_words(made: Place, tmp_path: Path, fault: str) -> None:
    change, expected, word = FAULTS[fault]
    shutil.copytree(made.folder / "state", tmp_path / "state", ignore=shutil.ignore_patterns("database"))
    file = tmp_path / "crmgate.toml"
    file.write_text(change(tmp_path, made.settings.read_text()))
    done = CliRunner().invoke(command_line(), ["check", "--config", str(file)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == expected, done.output
    assert word in done.output
    assert "Traceback" not in done.output
    wrong = [line for line in done.output.splitlines() if line.startswith("problem")]
    assert len(wrong) == (1 if expected == 1 else 0), done.output  # this fault and nothing else
