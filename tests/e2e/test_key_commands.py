"""`crmgate keys`: status, a customer's key, and destruction by two people, as commands of a real installation."""

import asyncio
import base64
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyotp
import pytest
from typer.testing import CliRunner, Result

from audit.note import read_signer
from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.cli import command_line
from gateway.database import open_pool
from gateway.first_steps import ensure_secrets
from gateway.opening import Database, open_database, open_keyring
from gateway.person_keys import open_persons
from gateway.settings import Settings
from gateway.settings_file import read_settings
from kms.provider import KeyDestroyed
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.conftest import unwalled
from tests.drills.stack import Member
from tests.real.bao import ROOT, Bao
from tests.real.bao import bao as running_bao

pytestmark = pytest.mark.real
# One person a step where it can be: a code is good once, and the next one takes half a minute.
STAFF = {"lin": "sales", "ma": "administrator", "mo": "administrator", "sun": "dpo", "su": "dpo", "sha": "dpo"}
STAFF |= {"shi": "dpo", "mei": "administrator", "yu": "dpo", "fan": "dpo", "wen": "sales"}
TOML = """
state = "state"
[tenant.main]
upstream = "http://127.0.0.1:1"
[tenant.second]
upstream = "http://127.0.0.1:1"
public_url = "https://second.localhost:8443"
"""


@dataclass
class Place:
    """An installation of two CRMs with staff in the first."""

    folder: Path
    settings: Settings
    database: Database
    members: dict[str, Member] = field(default_factory=dict)

    def run(self, *words: str, typed: str = "") -> Result:
        done = CliRunner().invoke(command_line(), [*words, "--config", str(self.settings.file)], input=typed)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def person(self, *words: str, by: str, first: str = "") -> Result:
        """A step on keys of data subjects; first: what is typed before password and code."""
        member = self.members[by]
        typed = f"{first}{member.password}\n{member.code()}\n"
        return self.run("keys", "person", *words, "--login", by, "--tenant", "main", typed=typed)

    def step(self, *words: str, by: str, password: str = "", code: str = "") -> Result:
        """A step of a destruction; password and code are typed."""
        member = self.members[by]
        typed = f"{password or member.password}\n{code or member.code()}\n"
        return self.run("keys", "destroy", *words, "--login", by, "--tenant", "main", typed=typed)

    def be_due(self) -> None:
        """As if the wait was over."""
        with psycopg.connect(unwalled(self.database.dsn)) as connection:
            connection.execute(
                "UPDATE kms_destruction SET due_at = now() - interval '1 second' WHERE state = 'approved'"
            )

    def trail(self) -> list[tuple[str, str, str]]:
        """Reason, login and record of the entries about keys."""
        with psycopg.connect(unwalled(self.database.dsn)) as connection:
            rows = connection.execute(
                "SELECT reason, convert_from(body, 'UTF8')::json->>'actor_login', record FROM audit_entry"
                " WHERE operation = 'keys.destroy' ORDER BY index"
            ).fetchall()
        return [tuple(row) for row in rows]  # type: ignore[misc]

    def write(self, tenant: str, kind: str, clear: str) -> str:
        return asyncio.run(_write(self, tenant, kind, clear))

    def read(self, tenant: str, surrogate: str) -> str:
        """The clear value, or the surrogate itself when nothing opens it."""
        return asyncio.run(_read(self, tenant, surrogate))


async def _write(place: Place, tenant: str, kind: str, clear: str) -> str:
    pool = await open_pool(place.database.dsn, max_size=2)
    keyring = open_keyring(place.settings, pool)
    persons = open_persons(place.settings)
    vault = SurrogateVault(pool, keyring, persons=persons)
    try:
        (surrogate,) = await vault.tokenise(tenant, [NewValue(kind, clear, Origin("contact", kind, "1"))], "c")
        return surrogate
    finally:
        await keyring.close()
        await vault.close()
        await persons.close()
        await pool.close()


async def _read(place: Place, tenant: str, surrogate: str) -> str:
    pool = await open_pool(place.database.dsn, max_size=2)
    keyring = open_keyring(place.settings, pool)
    persons = open_persons(place.settings)
    vault = SurrogateVault(pool, keyring, persons=persons)
    try:
        found = await vault.resolve(tenant, [surrogate])
        return found[surrogate].clear if surrogate in found else surrogate
    finally:
        await keyring.close()
        await vault.close()
        await persons.close()
        await pool.close()


def installation(extra: str = "") -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="crmgate-keys-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    file = folder / "crmgate.toml"
    file.write_text(TOML + extra)
    settings = read_settings(file)
    ensure_secrets(settings)
    database = open_database(settings)
    place = Place(folder, settings, database)
    try:
        yield place
    finally:
        database.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _staff(place: Place) -> None:
    async with open_accounts(place.settings, "main", place.database.dsn) as accounts:
        for login, role in STAFF.items():
            member = Member(login, role, pyotp.random_base32())
            user = await accounts.users.create("main", login, Profile(login, (role,)))
            await accounts.users.provision(user, member.password, member.secret)
            place.members[login] = member


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    for made in installation():
        asyncio.run(_staff(made))
        yield made


def number_in(said: str) -> str:
    found = re.search(r"^(d-\S+):", said, re.MULTILINE)
    assert found is not None, said
    return found[1]


def test_a_person_is_erased_with_a_certificate(place: Place) -> None:
    name = place.write("main", "name", "Lin Yu")
    assert "1 in their store, epoch 1; 0 erased" in place.run("keys", "status", "--tenant", "main").output
    order = ("destroy", "contact/1", "--reason", "CASE-7")
    assert place.run("keys", "person", *order, "--login", "yu", "--tenant", "main", typed="n\n").exit_code == 1
    done = place.person(*order, by="wen", first="y\n")  # sales may not
    assert (done.exit_code, "does not have the right" in done.output) == (1, True)
    assert place.read("main", name) == "Lin Yu"

    done = place.person(*order, "--collect", by="yu", first="y\n")
    assert done.exit_code == 0, done.output
    assert "1 person keys destroyed; 1 values open nowhere any more" in done.output
    number = re.search(r"^(e-\S+):", done.output, re.MULTILINE)
    assert number is not None, done.output
    assert place.read("main", name) == name
    assert "not turned" in place.run("keys", "person", "status", "--tenant", "main").output
    assert place.run("keys", "person", "certificate", number[1], "--tenant", "main").exit_code == 1

    done = place.person("turn", by="fan")
    assert done.exit_code == 0, done.output
    assert f"{number[1]}: certified" in done.output
    done = place.run("keys", "person", "certificate", number[1], "--tenant", "main")
    assert done.exit_code == 0, done.output
    for part in ("records: contact/1", "reason CASE-7", "by yu (u-", "epoch closed: ", "(30 days)"):
        assert part in done.output
    assert "Lin Yu" not in done.output
    status = place.run("keys", "person", "status", "--tenant", "main").output
    assert "certified" in status
    assert "closed" in status
    assert place.read("main", place.write("main", "name", "Ma Li")) == "Ma Li"
    assert place.run("check").output.count("keys of data subjects can be opened") == 1
    with psycopg.connect(unwalled(place.database.dsn)) as connection:
        connection.execute("UPDATE kms_shredding SET certificate = replace(certificate, 'CASE-7', 'CASE-8')")
    done = place.run("keys", "person", "certificate", number[1], "--tenant", "main")
    assert (done.exit_code, "was changed" in done.output) == (1, True)
    assert place.run("audit", "verify", "--tenant", "main").exit_code == 0


def test_a_field_is_destroyed_by_two_people_after_the_wait(place: Place) -> None:
    phone, email = place.write("main", "phone", "13800138000"), place.write("main", "email", "li@example.org")
    theirs = place.write("second", "phone", "13900139000")

    assert place.step("request", "--field", "phone", by="lin").exit_code == 1  # sales may not
    done = place.step("request", "--field", "phone", by="ma")
    assert done.exit_code == 0, done.output
    number = number_in(done.output)
    done = place.step("approve", number, by="sun", password="wrong-password-of-sun", code="000000")
    assert (done.exit_code, "is not right" in done.output) == (1, True)
    done = place.step("approve", number, by="sun")
    assert done.exit_code == 0, done.output

    assert "Nothing is due" in place.run("keys", "destroy", "run", "--tenant", "main").output
    assert place.read("main", phone) == "13800138000"
    place.be_due()
    done = place.run("keys", "destroy", "run", "--tenant", "main")
    assert done.exit_code == 0, done.output
    assert place.read("main", phone) == phone
    assert place.read("main", email) == "li@example.org"
    assert place.read("second", theirs) == "13900139000"
    assert place.read("main", place.write("main", "phone", "13811138111")) == "13811138111"

    done = place.run("keys", "destroy", "record", number, "--tenant", "main")
    assert done.exit_code == 0, done.output
    for part in ("tenant: main", "scope: phone", f"destruction: {number}", " by ma (u-", " by sun (u-", "field keys: "):
        assert part in done.output
    assert read_signer(place.settings.checkpoint_key_path).verifier.vkey("crmgate-keys/main") in done.output
    steps = [(reason, login) for reason, login, _ in place.trail()]
    assert steps[:4] == [("refused", "lin"), ("requested", "ma"), ("refused", "sun"), ("approved", "sun")]
    assert [reason for reason, _ in steps[4:]] == ["executing", "destroyed"]
    assert place.run("audit", "verify", "--tenant", "main").exit_code == 0
    listed = place.run("keys", "destroy", "list", "--tenant", "main").output
    assert "destroyed" in listed
    status = place.run("keys", "status").output
    assert "destroyed" in status
    assert "main: provider local: can be used" in status
    assert "second: provider local: can be used" in status
    for secret in (place.members["sun"].password, place.members["sun"].secret):
        assert secret not in status + listed

    with psycopg.connect(unwalled(place.database.dsn)) as connection:
        connection.execute("UPDATE kms_destruction SET record = replace(record, 'by sun', 'by lin')")
    done = place.run("keys", "destroy", "record", number, "--tenant", "main")
    assert (done.exit_code, "was changed" in done.output) == (1, True)


def test_a_whole_crm_is_set_aside_then_destroyed_and_the_other_goes_on(place: Place) -> None:
    mine, theirs = place.write("main", "name", "Li Wei"), place.write("second", "phone", "13700137000")
    number = number_in(place.step("request", "--all", by="su").output)
    done = place.step("approve", number, by="mo")
    assert "is set aside now" in done.output
    assert place.run("keys", "status", "--tenant", "main").output.count("suspended") == 1

    # Second factors are under the key that is set aside: a wrong code leaves it aside, a right one takes all back.
    done = place.step("cancel", number, by="sha", code="000000")
    assert done.exit_code == 1
    assert place.run("keys", "status", "--tenant", "main").output.count("suspended") == 1
    done = place.step("cancel", number, by="sha")
    assert done.exit_code == 0, done.output
    assert place.read("main", mine) == "Li Wei"

    number = number_in(place.step("request", "--all", by="shi").output)
    place.step("approve", number, by="mei")
    place.be_due()
    assert place.run("keys", "destroy", "run", "--tenant", "main").exit_code == 0
    assert place.read("main", mine) == mine
    with pytest.raises(KeyDestroyed):
        place.write("main", "email", "x@example.org")
    assert place.read("second", theirs) == "13700137000"
    done = place.run("keys", "destroy", "record", number, "--tenant", "main")
    assert "all fields: the key of the tenant itself" in done.output


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with running_bao() as running:
        yield running


def test_a_customers_key_is_imported_and_then_used_and_shown(bao: Bao) -> None:
    token = Path(tempfile.mkdtemp(prefix="crmgate-token-")) / "token"
    token.write_text(ROOT)
    own = f'[tenant.main.keys]\nprovider = "openbao"\naddress = "{bao.address}"\ntoken_file = "{token}"\n'
    for place in installation(own):
        key = place.folder / "key"
        key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        key.chmod(0o644)
        done = place.run("keys", "import", "--file", str(key), "--tenant", "main")
        assert (done.exit_code, "chmod 600" in done.output) == (2, True)
        key.chmod(0o600)
        done = place.run("keys", "import", "--file", str(key), "--tenant", "second")
        assert (done.exit_code, 'provider = "openbao"' in done.output) == (1, True)
        done = place.run("keys", "import", "--file", str(key), "--tenant", "main", "--token-file", str(token))
        assert done.exit_code == 0, done.output
        assert "crmgate-main has version 1 now, imported" in done.output
        surrogate = place.write("main", "phone", "13800138000")
        assert place.read("main", surrogate) == "13800138000"
        status = place.run("keys", "status").output
        assert "main: provider openbao: can be used" in status
        assert "login by token-file; the token does not end" in status
        assert "key crmgate-main: live, version 1, imported" in status
        assert "second: provider local: can be used" in status
        key.write_bytes(b"too short")
        assert "64 hexadecimal digits" in place.run("keys", "import", "--file", str(key), "--tenant", "main").output
        bao.client.sys.seal()
        status = place.run("keys", "status")
        assert status.exit_code == 1
        assert "unseal it" in status.output
        assert "second: provider local: can be used" in status.output
    shutil.rmtree(token.parent)
