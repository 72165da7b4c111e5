"""Whole-database encryption of a CRM on MariaDB or MySQL, told by the server itself.

Proved only when every table of the CRM lies in an encrypted tablespace, no page is still waiting for its key, and the
logs that repeat rows are encrypted too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.evidence import store
from gateway.evidence.probe import Evidence, Verdict
from gateway.evidence.store import Ask, Row, ServerSilent

OWN_SCHEMAS = ("information_schema", "mysql", "performance_schema", "sys")
CLAIM = "every table of the CRM's database is encrypted on disk, and so are its logs"
_FEW = 5  # names that are listed


@dataclass(frozen=True, slots=True)
class MysqlProbe:
    """One CRM's database. schema: its name; "" for every schema that is not the server's own."""

    about: str
    schema: str
    ask: Ask

    def look(self) -> Sequence[Evidence]:
        """What the server says of its tablespaces and logs."""
        try:
            version = next(iter(self.ask(store.VERSION)), {}).get("version", "")
            tables = self.ask(store.TABLES)
            mine = [row for row in tables if self._counts(row.get("db", ""))]
            if not mine:
                facts = (("server", version), ("tables", "none seen: wrong schema name, or no right to see them"))
                return [Evidence(self.about, CLAIM, Verdict.NOT_VISIBLE, facts)]
            settings = {row["Variable_name"]: row["Value"] for row in self.ask(store.VARIABLES)}
            look = _mariadb if "mariadb" in version.lower() else _mysql
            return [look(self.about, version, mine, settings, self.ask)]
        except (ServerSilent, KeyError) as fault:
            problem = fault.problem if isinstance(fault, ServerSilent) else "an answer of another shape"
            return [Evidence(self.about, CLAIM, Verdict.NOT_VISIBLE, (("reason", problem),))]

    def _counts(self, schema: str) -> bool:
        return schema == self.schema if self.schema else schema not in OWN_SCHEMAS


def _mariadb(about: str, version: str, tables: Sequence[Row], settings: Mapping[str, str], ask: Ask) -> Evidence:
    """INNODB_TABLESPACES_ENCRYPTION lists what has a key; what is not in it, or has pages of version 0, is clear."""
    spaces = ask(store.MARIADB_SPACES)
    plugins = ask(store.MARIADB_PLUGINS)
    good = {space["name"] for space in spaces if space["scheme"] == "1" and space["oldest"] not in ("", "0", "NULL")}
    # The names of partitions and of names with odd signs are written otherwise; all spaces of a table must be good.
    named: dict[str, list[str]] = {}
    for space in spaces:
        named.setdefault(space["name"].split("#")[0].lower(), []).append(space["name"])
    clear = []
    for table in tables:
        spaces_of = named.get(f"{_file_name(table['db'])}/{_file_name(table['name'])}".lower(), [])
        engine = table["engine"].lower()
        held = engine == "innodb" and bool(spaces_of) and all(space in good for space in spaces_of)
        if not (held or (engine == "aria" and _on(settings, "aria_encrypt_tables"))):
            clear.append(f"{table['db']}.{table['name']}")
    logs = [
        ("innodb_encrypt_log", _on(settings, "innodb_encrypt_log")),
        ("encrypt_binlog", _on(settings, "encrypt_binlog") or not _on(settings, "log_bin")),
        ("encrypt_tmp_files", _on(settings, "encrypt_tmp_files")),
        ("innodb_sys_tablespace", "innodb_system" in good),  # undo logs and the change buffer live there
    ]
    key_source = ", ".join(sorted(row["name"] for row in plugins)) or "none"
    return _evidence(about, version, tables, clear, logs, (("key management", key_source),))


def _mysql(about: str, version: str, tables: Sequence[Row], settings: Mapping[str, str], ask: Ask) -> Evidence:
    """INNODB_TABLESPACES says Y or N of every tablespace."""
    spaces = ask(store.MYSQL_SPACES)
    named: dict[str, list[str]] = {}
    for space in spaces:
        named.setdefault(space["name"].split("#")[0].lower(), []).append(space["encryption"])
    clear = []
    for table in tables:
        found = named.get(f"{_file_name(table['db'])}/{_file_name(table['name'])}".lower(), [])
        if table["engine"].lower() != "innodb" or not found or any(one != "Y" for one in found):
            clear.append(f"{table['db']}.{table['name']}")
    logs = [
        ("innodb_redo_log_encrypt", _on(settings, "innodb_redo_log_encrypt")),
        ("innodb_undo_log_encrypt", _on(settings, "innodb_undo_log_encrypt")),
        ("binlog_encryption", _on(settings, "binlog_encryption") or not _on(settings, "log_bin")),
    ]
    return _evidence(about, version, tables, clear, logs, ())


def _evidence(
    about: str,
    version: str,
    tables: Sequence[Row],
    clear: Sequence[str],
    logs: Sequence[tuple[str, bool]],
    more: tuple[tuple[str, str], ...],
) -> Evidence:
    open_logs = [name for name, good in logs if not good]
    facts = (
        ("server", version),
        ("tables", f"{len(tables) - len(clear)} of {len(tables)} encrypted"),
        *((("not encrypted", ", ".join(clear[:_FEW]) + (" …" if len(clear) > _FEW else "")),) if clear else ()),
        *((("logs not encrypted", ", ".join(open_logs)),) if open_logs else ()),
        *more,
    )
    return Evidence(about, CLAIM, Verdict.REFUTED if clear or open_logs else Verdict.PROVED, facts)


def _on(settings: Mapping[str, str], name: str) -> bool:
    return settings.get(name, "").upper() in ("ON", "1", "FORCE")


def _file_name(name: str) -> str:
    """A name as the server writes it in file names: signs other than letters and digits as @ and four hex digits."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"@{ord(c):04x}" for c in name)
