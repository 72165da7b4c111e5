"""What MariaDB and MySQL say of their tablespaces, in answers of the shape that real servers give."""

import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.evidence.mysql import MysqlProbe
from gateway.evidence.probe import Evidence, Verdict
from gateway.evidence.store import MysqlClient, Row, ServerSilent, rows_of

MARIADB = "11.8.3-MariaDB-0+deb13u1 from Debian"
ON = ("innodb_encrypt_log", "encrypt_binlog", "encrypt_tmp_files", "log_bin", "aria_encrypt_tables")
ON_MYSQL = ("innodb_redo_log_encrypt", "innodb_undo_log_encrypt", "binlog_encryption", "log_bin")


def table(name: str, engine: str = "InnoDB", db: str = "crm") -> Row:
    return {"db": db, "name": name, "engine": engine}


def space(name: str, scheme: str = "1", oldest: str = "1") -> Row:
    return {"name": name, "scheme": scheme, "oldest": oldest, "busy": "0"}


class Server:
    """Answers by what is asked for."""

    def __init__(self, version: str, tables: Sequence[Row], spaces: Sequence[Row], on: Sequence[str] = ON) -> None:
        self.version, self.tables, self.spaces, self.on = version, tables, spaces, on

    def __call__(self, statement: str) -> Sequence[Row]:
        assert statement.startswith(("SELECT", "SHOW")), "a probe only reads"
        if "VERSION()" in statement:
            return [{"version": self.version}]
        if "information_schema.TABLES" in statement:
            return [*self.tables, table("user", "Aria", "mysql")]
        if "VARIABLES" in statement:
            names = {*ON, *ON_MYSQL}
            return [{"Variable_name": one, "Value": "ON" if one in self.on else "OFF"} for one in names]
        if "PLUGINS" in statement:
            return [{"name": "file_key_management"}]
        return self.spaces


def seen(server: Server, schema: str = "crm") -> Evidence:
    (found,) = MysqlProbe("CRM", schema, server).look()
    return found


SPACES = [space("innodb_system"), space("crm/contact"), space("crm/contact_2dnote"), space("crm/part#P#p0")]


def test_everything_encrypted_is_proved() -> None:
    found = seen(Server(MARIADB, [table("contact"), table("part")], SPACES))
    assert found.verdict is Verdict.PROVED
    assert ("tables", "2 of 2 encrypted") in found.facts
    assert ("key management", "file_key_management") in found.facts


@pytest.mark.parametrize(
    "spaces",
    [
        [space("innodb_system")],  # not listed at all
        [space("innodb_system"), space("crm/contact", scheme="0")],
        [space("innodb_system"), space("crm/contact", oldest="0")],  # pages still wait for their key
        [space("innodb_system"), space("crm/contact#P#p0"), space("crm/contact#P#p1", oldest="0")],
    ],
)
def test_one_table_in_clear_refutes(spaces: list[Row]) -> None:
    found = seen(Server(MARIADB, [table("contact")], spaces))
    assert found.verdict is Verdict.REFUTED
    assert ("not encrypted", "crm.contact") in found.facts


@pytest.mark.parametrize("off", ["innodb_encrypt_log", "encrypt_binlog", "encrypt_tmp_files"])
def test_logs_in_clear_refute(off: str) -> None:
    found = seen(Server(MARIADB, [table("contact")], SPACES, [one for one in ON if one != off]))
    assert (found.verdict, dict(found.facts)["logs not encrypted"]) == (Verdict.REFUTED, off)


def test_the_system_tablespace_counts() -> None:
    found = seen(Server(MARIADB, [table("contact")], [space("crm/contact")]))
    assert dict(found.facts)["logs not encrypted"] == "innodb_sys_tablespace"


def test_a_binary_log_that_is_not_written_need_not_be_encrypted() -> None:
    on = [one for one in ON if one not in ("encrypt_binlog", "log_bin")]
    assert seen(Server(MARIADB, [table("contact")], SPACES, on)).verdict is Verdict.PROVED


def test_other_engines_count_as_clear_and_aria_by_its_setting() -> None:
    assert seen(Server(MARIADB, [table("contact", "MyISAM")], SPACES)).verdict is Verdict.REFUTED
    assert seen(Server(MARIADB, [table("contact", "Aria")], SPACES)).verdict is Verdict.PROVED


def test_names_are_compared_as_the_server_writes_them_in_files() -> None:
    spaces = [space("innodb_system"), space("crm/my@002dtable"), space("crm/@5ba2@6237")]
    assert seen(Server(MARIADB, [table("my-table"), table("客户")], spaces)).verdict is Verdict.PROVED


def test_mysql_says_y_or_n() -> None:
    spaces = [{"name": "crm/contact", "encryption": "Y"}, {"name": "crm/note", "encryption": "N"}]
    one = Server("8.4.3", [table("contact")], spaces, ON_MYSQL)
    assert seen(one).verdict is Verdict.PROVED
    two = Server("8.4.3", [table("contact"), table("note")], spaces, ON_MYSQL)
    assert dict(seen(two).facts)["not encrypted"] == "crm.note"
    assert seen(Server("8.4.3", [table("contact")], spaces, (*ON_MYSQL[:2], "log_bin"))).verdict is Verdict.REFUTED


def test_what_cannot_be_seen_is_never_proof() -> None:
    def silent(_: str) -> Sequence[Row]:
        raise ServerSilent("no answer in time")

    (found,) = MysqlProbe("CRM", "crm", silent).look()
    assert (found.verdict, found.facts) == (Verdict.NOT_VISIBLE, (("reason", "no answer in time"),))
    assert seen(Server(MARIADB, [table("contact")], SPACES), "another").verdict is Verdict.NOT_VISIBLE
    (odd,) = MysqlProbe("CRM", "crm", lambda _: [{"x": "y"}]).look()
    assert odd.verdict is Verdict.NOT_VISIBLE


def test_batch_output_is_read_by_its_head() -> None:
    assert rows_of("name\tscheme\ncrm/a\t1\ncrm/b\t0\n") == [
        {"name": "crm/a", "scheme": "1"},
        {"name": "crm/b", "scheme": "0"},
    ]
    assert rows_of("") == []


def program(folder: Path, text: str) -> None:
    file = folder / "mariadb"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_client_gets_its_secrets_from_a_file_and_a_fault_names_no_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    client = MysqlClient(tmp_path / "my.cnf", timeout_s=10)
    with pytest.raises(ServerSilent, match="no client program"):
        client("SELECT 1")
    program(tmp_path, "import sys\nprint('args')\nprint(' '.join(sys.argv[1:3]))\n")
    assert client("SELECT 1") == [{"args": f"--defaults-file={tmp_path}/my.cnf --batch"}]
    program(tmp_path, "import sys\nsys.exit(\"ERROR 1045 (28000): Access denied for user 'probe'@'10.1.1.1'\")\n")
    with pytest.raises(ServerSilent) as fault:
        client("SELECT 1")
    assert fault.value.problem == "error 1045"
    program(tmp_path, "import time\ntime.sleep(60)\n")
    with pytest.raises(ServerSilent, match="in time"):
        MysqlClient(tmp_path / "my.cnf", timeout_s=0.2)("SELECT 1")
