"""Which statements may run, and what is said about the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlglot import exp, parse_one

from audit.sql import grammar
from audit.sql.refused import REASONS, Place, StatementRefused
from audit.sql.spelling import DEPTH_LIMIT, LENGTH_LIMIT_CHARS
from audit.sql.statement import Checked, check
from tests.unit.audit.sql.conftest import NOW


def checked(text: str) -> Checked:
    return check(text, NOW, rows=100, most_rows=1_000)


def refused(text: str) -> StatementRefused:
    with pytest.raises(StatementRefused) as fault:
        checked(text)
    return fault.value


# statement → why it is refused, and what word of it is named
HOSTILE: Mapping[str, tuple[str, str]] = {
    # nothing, or no query
    "": ("empty", ""),
    " ;; ": ("empty", ""),
    "-- nothing": ("empty", ""),
    "DROP TABLE event": ("no-query", "DROP"),
    "DELETE FROM event": ("no-query", "DELETE"),
    "UPDATE event SET actor = ''": ("no-query", "UPDATE"),
    "INSERT INTO event SELECT * FROM event": ("no-query", "INSERT"),
    "MERGE INTO event USING sight ON true WHEN MATCHED THEN DELETE": ("no-query", "MERGE"),
    "TRUNCATE event": ("no-query", "TRUNCATE"),
    "CREATE TABLE x AS SELECT * FROM event": ("no-query", "CREATE"),
    "CREATE MACRO f(a) AS a": ("no-query", "CREATE"),
    "CREATE SECRET s (TYPE s3)": ("no-query", "CREATE"),
    "ALTER TABLE event ADD COLUMN x INT": ("no-query", "ALTER"),
    "PRAGMA database_list": ("no-query", "PRAGMA"),
    "SET threads = 64": ("no-query", "SET"),
    "RESET threads": ("no-query", "RESET"),
    "ATTACH 'x.db'": ("no-query", "ATTACH"),
    "DETACH trail": ("no-query", "DETACH"),
    "USE trail": ("no-query", "USE"),
    "COPY event TO 'x.csv'": ("no-query", "COPY"),
    "COPY (SELECT * FROM event) TO 'x'": ("no-query", "COPY"),
    "EXPORT DATABASE 'x'": ("no-query", "EXPORT"),
    "IMPORT DATABASE 'x'": ("no-query", "IMPORT"),
    "INSTALL httpfs": ("no-query", "INSTALL"),
    "LOAD httpfs": ("no-query", "LOAD"),
    "CALL pragma_version()": ("no-query", "CALL"),
    "EXPLAIN SELECT * FROM event": ("no-query", "EXPLAIN"),
    "DESCRIBE event": ("no-query", "DESCRIBE"),
    "SUMMARIZE event": ("no-query", "SUMMARIZE"),
    "SHOW TABLES": ("no-query", "SHOW"),
    "CHECKPOINT": ("no-query", "CHECKPOINT"),
    "BEGIN": ("no-query", "BEGIN"),
    "PREPARE p AS SELECT 1": ("no-query", "PREPARE"),
    "EXECUTE p": ("no-query", "EXECUTE"),
    "VALUES (1)": ("no-query", "VALUES"),
    "PIVOT event ON actor": ("no-query", "PIVOT"),
    "UNPIVOT event ON actor": ("no-query", "UNPIVOT"),
    "'SELECT 1'": ("no-query", "SELECT 1"),
    '"select" 1': ("no-query", "select"),
    # several
    "SELECT 1; DROP TABLE event": ("several-statements", ";"),
    "SELECT * FROM event; SELECT 1": ("several-statements", ";"),
    "SELECT actor FROM event /* */ ; -- x\n COPY event TO 'x'": ("several-statements", ";"),
    # files and table functions
    "SELECT * FROM 'trail.parquet'": ("unknown-table", "trail.parquet"),
    "SELECT * FROM '/etc/passwd'": ("unknown-table", "/etc/passwd"),
    'SELECT * FROM "s3://bucket/x.parquet"': ("unknown-table", "s3://bucket/x.parquet"),
    "FROM 'x.csv'": ("unknown-table", "x.csv"),
    "SELECT * FROM read_parquet('x')": ("unknown-function", "read_parquet"),
    "SELECT * FROM read_csv('x')": ("unknown-function", "read_csv"),
    "SELECT * FROM read_csv_auto('x')": ("unknown-function", "read_csv_auto"),
    "SELECT * FROM read_json('x')": ("unknown-function", "read_json"),
    "SELECT * FROM read_text('/etc/passwd')": ("unknown-function", "read_text"),
    "SELECT * FROM read_blob('/etc/passwd')": ("unknown-function", "read_blob"),
    "SELECT * FROM parquet_scan('x')": ("unknown-function", "parquet_scan"),
    "SELECT * FROM parquet_metadata('x')": ("unknown-function", "parquet_metadata"),
    "SELECT * FROM sniff_csv('x')": ("unknown-function", "sniff_csv"),
    "SELECT * FROM glob('*')": ("unknown-function", "glob"),
    "SELECT * FROM ReAd_TeXt('/etc/passwd')": ("unknown-function", "ReAd_TeXt"),
    "SELECT * FROM \"read_text\"('/etc/passwd')": ("unknown-function", "read_text"),
    "SELECT * FROM read_text/**/('/etc/passwd')": ("unknown-function", "read_text"),
    "SELECT * FROM event, read_text('x')": ("unknown-function", "read_text"),
    "SELECT (SELECT content FROM read_text('x'))": ("unknown-function", "read_text"),
    "WITH x AS (FROM read_text('x')) SELECT * FROM x": ("unknown-function", "read_text"),
    "SELECT * FROM event JOIN read_csv('x') ON true": ("unknown-function", "read_csv"),
    "SELECT * FROM range(1000000000000)": ("unknown-function", "range"),
    "SELECT * FROM generate_series(1, 9)": ("unknown-function", "generate_series"),
    "SELECT * FROM repeat_row(1, num_rows = 9999999)": ("unknown-function", "repeat_row"),
    "SELECT * FROM duckdb_settings()": ("unknown-function", "duckdb_settings"),
    "SELECT * FROM duckdb_secrets()": ("unknown-function", "duckdb_secrets"),
    "SELECT * FROM pragma_table_info('event')": ("unknown-function", "pragma_table_info"),
    "SELECT * FROM query('SELECT 1')": ("unknown-function", "query"),
    "SELECT * FROM query_table('event')": ("unknown-function", "query_table"),
    "SELECT * FROM postgres_scan('x', 'y', 'z')": ("unknown-function", "postgres_scan"),
    "SELECT * FROM trim('x')": ("no-table", "trim"),
    "SELECT * FROM unnest([1])": ("unknown-function", "unnest"),
    "SELECT * FROM (VALUES (1)) v(actor)": ("syntax", "VALUES"),
    "SELECT * FROM LATERAL (SELECT 1)": ("syntax", "LATERAL"),
    # other relations
    "SELECT * FROM audit_entry": ("unknown-table", "audit_entry"),
    "SELECT * FROM hot_event": ("unknown-table", "hot_event"),
    "SELECT * FROM trail.event": ("unknown-table", "trail.event"),
    "SELECT * FROM memory.trail.event": ("unknown-table", "memory.trail.event"),
    'SELECT * FROM "trail.event"': ("unknown-table", "trail.event"),
    "SELECT * FROM information_schema.tables": ("unknown-table", "information_schema.tables"),
    "SELECT * FROM pg_catalog.pg_class": ("unknown-table", "pg_catalog.pg_class"),
    "SELECT * FROM sqlite_master": ("unknown-table", "sqlite_master"),
    "SELECT * FROM duckdb_tables": ("unknown-table", "duckdb_tables"),
    "SELECT * FROM given_x": ("unknown-table", "given_x"),
    "WITH event AS (SELECT 1) SELECT * FROM event": ("name-taken", "event"),
    "WITH SIGHT AS (SELECT 1) SELECT * FROM sight": ("name-taken", "SIGHT"),
    "SELECT other.actor FROM event": ("unknown-table", "other"),
    # functions
    "SELECT getenv('HOME')": ("unknown-function", "getenv"),
    "SELECT current_setting('threads')": ("unknown-function", "current_setting"),
    "SELECT getvariable('x')": ("unknown-function", "getvariable"),
    "SELECT version()": ("unknown-function", "version"),
    "SELECT current_schema()": ("unknown-function", "current_schema"),
    "SELECT txid_current()": ("unknown-function", "txid_current"),
    "SELECT nextval('s')": ("unknown-function", "nextval"),
    "SELECT random()": ("unknown-function", "random"),
    "SELECT gen_random_uuid()": ("unknown-function", "gen_random_uuid"),
    "SELECT repeat(actor, 1000000000) FROM event": ("unknown-function", "repeat"),
    "SELECT lpad(actor, 1000000000, 'x') FROM event": ("unknown-function", "lpad"),
    "SELECT rpad(actor, 1000000000, 'x') FROM event": ("unknown-function", "rpad"),
    "SELECT range(1000000000)": ("unknown-function", "range"),
    "SELECT unnest([1, 2])": ("unknown-function", "unnest"),
    "SELECT list_transform([1], x -> x)": ("unknown-function", "list_transform"),
    "SELECT json_execute_serialized_sql('x')": ("unknown-function", "json_execute_serialized_sql"),
    "SELECT printf('%99999999d', 1)": ("unknown-function", "printf"),
    "SELECT format('{:>99999999}', actor) FROM event": ("unknown-function", "format"),
    "SELECT error('x')": ("unknown-function", "error"),
    "SELECT write_log('x')": ("unknown-function", "write_log"),
    "SELECT main.getenv('HOME')": ("unknown-function", "getenv"),
    "SELECT system.main.getenv('HOME')": ("unknown-function", "getenv"),
    "SELECT 'HOME'.getenv()": ("unknown-function", "getenv"),
    "SELECT actor.upper().getenv() FROM event": ("unknown-function", "getenv"),
    "SELECT COLUMNS('.*') FROM event": ("unknown-function", "COLUMNS"),
    "SELECT COLUMNS(c -> true) FROM event": ("unknown-function", "COLUMNS"),
    "SELECT struct_pack(a := 1)": ("unknown-function", "struct_pack"),
    "SELECT count(*) FROM event WHERE sleep(100)": ("unknown-function", "sleep"),
    "SELECT current_user": ("unknown-function", "current_user"),
    "SELECT session_user": ("unknown-function", "session_user"),
    "SELECT actor COLLATE NOCASE FROM event": ("unknown-function", "collate"),
    # syntax
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x": ("recursive", "RECURSIVE"),
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x LIMIT 5": (
        "recursive",
        "RECURSIVE",
    ),
    "SELECT * FROM event TABLESAMPLE 10%": ("syntax", "TABLESAMPLE"),
    "SELECT * FROM event USING SAMPLE 10": ("syntax", "SAMPLE"),
    "SELECT * FROM event ASOF JOIN sight USING (index)": ("syntax", "ASOF"),
    "SELECT * FROM event POSITIONAL JOIN sight": ("syntax", "POSITIONAL"),
    "SELECT * FROM event PIVOT (count(*) FOR kind IN ('a'))": ("unknown-function", "PIVOT"),
    "SELECT * FROM event e(a, b)": ("unknown-function", "e"),
    "SELECT * FROM event AS e(record, actor)": ("syntax", "e"),
    "SELECT * REPLACE ('x' AS actor) FROM event": ("syntax", "REPLACE"),
    "SELECT * FROM event FOR UPDATE": ("syntax", "FOR"),
    "SELECT actor INTO x FROM event": ("syntax", "INTO"),
    "SELECT ? FROM event": ("syntax", "?"),
    "SELECT $1 FROM event": ("syntax", "1"),
    "SELECT $name FROM event": ("syntax", "NAME"),
    "SELECT [1, 2]": ("unknown-function", "array"),
    "SELECT {'a': 1}": ("unknown-function", "struct"),
    "SELECT MAP {'a': 1}": ("unknown-function", "to_map"),
    "SELECT actor[1:2] FROM event": ("syntax", "BRACKET"),
    "SELECT CAST(actor AS REGCLASS) FROM event": ("unknown-type", "REGCLASS"),
    "SELECT CAST(actor AS BLOB[]) FROM event": ("unknown-type", "BLOB[]"),
    "SELECT actor::STRUCT(a INT) FROM event": ("unknown-function", "STRUCT"),
    "SELECT actor FROM event WHERE actor SIMILAR TO 'x'": ("syntax", "SIMILAR"),
    # columns
    "SELECT rowid FROM event": ("unknown-column", "rowid"),
    "SELECT filename FROM event": ("unknown-column", "filename"),
    "SELECT file_row_number FROM event": ("unknown-column", "file_row_number"),
    "SELECT tenant FROM event": ("unknown-column", "tenant"),
    "SELECT event FROM event": ("unknown-column", "event"),
    "SELECT event.body.x FROM event": ("unknown-column", "event.body.x"),
    "SELECT * FROM event JOIN sight USING (tenant)": ("unknown-column", "tenant"),
    "SELECT passwd FROM event WHERE actor = 'x'": ("unknown-column", "passwd"),
    "SELECT * EXCLUDE (secret) FROM event": ("unknown-column", "secret"),
    # limits
    "SELECT * FROM event LIMIT 1001": ("limit-too-large", "1001"),
    "SELECT * FROM event LIMIT 99999999999999999999999": ("limit-too-large", "99999999999999999999999"),
    "SELECT * FROM event LIMIT 10%": ("syntax", "LIMIT"),
    "SELECT * FROM event LIMIT (SELECT 1000000)": ("limit-no-number", "LIMIT"),
    "SELECT * FROM event LIMIT NULL": ("limit-no-number", "LIMIT"),
    "SELECT * FROM event LIMIT ALL": ("limit-no-number", "LIMIT"),
    "SELECT * FROM event LIMIT -1": ("limit-no-number", "LIMIT"),
    # not readable
    "SELECT": ("unreadable", "SELECT"),
    "SELECT actor FROM": ("unreadable", "FROM"),
    "SELECT actor FROM event WHERE": ("unreadable", "WHERE"),
    "SELECT actor FROM event WHERE (": ("unreadable", "("),
    "SELECT actor FROM event WHERE actor = 'x": ("unreadable", ""),
    "SELECT actor FROM event WHERE actor == == 1": ("unreadable", "=="),
    "SELECT \x00 FROM event": ("unreadable", "NUL"),
}
BOMBS: Mapping[str, str] = {
    "SELECT " + "(" * 500 + "1" + ")" * 500: "too-deep",
    "SELECT " + "(" * (DEPTH_LIMIT + 1) + "1" + ")" * (DEPTH_LIMIT + 1): "too-deep",
    "SELECT " + "CASE WHEN 1 = 1 THEN " * 200 + "1" + " END" * 200: "too-deep",
    "SELECT * FROM " + "(SELECT * FROM " * 100 + "event" + ")" * 100: "too-deep",
    "SELECT " + "NOT " * 900 + "true": "too-deep",
    "SELECT " + "- " * 900 + "1": "too-deep",
    "SELECT " + "1 + " * 900 + "1": "too-deep",
    "SELECT 1 " + "UNION ALL SELECT 1 " * 500: "too-deep",
    "SELECT 1 FROM event WHERE " + "actor = 'x' OR " * 800 + "true": "too-deep",
    "SELECT " + "1, " * 3_000 + "1": "too-long",
    "SELECT '" + "x" * LENGTH_LIMIT_CHARS + "'": "too-long",
    "SELECT " + "[" * 200 + "]" * 200: "too-deep",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_plain_question_is_refused_and_the_word_is_named(text: str) -> None:
    fault = refused(text)
    assert (fault.reason, fault.word) == HOSTILE[text]


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: f"{text[:20]}-{len(text)}")
def test_statements_made_to_exhaust_the_parser_are_refused(text: str) -> None:
    assert refused(text).reason == BOMBS[text]


def test_every_reason_is_one_that_is_used() -> None:
    used = {reason for reason, _ in HOSTILE.values()} | set(BOMBS.values()) | {reason for _, reason, _ in STRANGERS}
    assert used | {"person-kind"} == REASONS  # that one is said by who knows the kinds


def test_the_place_is_where_the_word_begins() -> None:
    fault = refused("SELECT actor,\n       getenv('x')\nFROM event")
    assert fault.place == Place(2, 8)
    assert refused("SELECT actr FROM event").hint == ("actor", "at")
    assert refused("SELECT * FROM events").hint == ("event",)
    assert refused("SELECT * FROM people").hint == ("event", "sight")


def test_the_refusal_itself_does_not_hold_the_text() -> None:
    assert "Zhang" not in str(refused('SELECT * FROM "Zhang San"'))


def test_what_runs_is_written_anew_without_comments_and_bound_to_the_trail() -> None:
    made = checked("select /*+ hint */ actor -- who\nfrom EVENT where actor <> 'it''s -- no comment'")
    assert made.sql == (
        'SELECT "actor" FROM "trail"."event" AS "EVENT" WHERE "actor" <> \'it\'\'s -- no comment\' LIMIT 101'
    )


def test_names_of_with_cannot_reach_the_catalogue_of_the_engine() -> None:
    made = checked(
        "SELECT * FROM (WITH sqlite_master AS (SELECT 1 AS actor) SELECT * FROM sqlite_master) x, sqlite_master"
    )
    names = {table.name for table in parse_one(made.sql, read="duckdb").find_all(exp.Table)}
    assert names == {"given_sqlite_master"}


# condition → why it is refused, and what word of it is named
STRANGERS = (
    ("record = person('contact/18')", "unknown-person", "contact/18"),
    ("record = person('17')", "person-unreadable", "17"),
    ("record = person('contact/')", "person-unreadable", "contact/"),
    ("record = person('contact', '17')", "person-unreadable", "person"),
    ("record = person(actor)", "person-unreadable", "person"),
    ("lower(record) = person('contact/17')", "person-place", "person"),
    ("record > person('contact/17')", "person-place", "person"),
    ("record LIKE person('contact/17')", "person-place", "person"),
    ("record IN (SELECT person('contact/17'))", "person-place", "person"),
    ("contains(person('contact/17'), actor)", "person-place", "person"),
    ("record IN (" + ", ".join(f"person('a/{one}')" for one in range(51)) + ")", "too-many-persons", "person"),
)
NAMES = {"contact/17": ["ds_a", "ds_b"], "lead/2": ["ds_c"]}


def named(condition: str) -> Checked:
    return check(f"SELECT actor FROM event WHERE {condition}", NOW, rows=100, most_rows=1_000, persons=lambda _: NAMES)


@pytest.mark.parametrize(
    ("condition", "same"),
    [
        ("record = person('contact/17')", "(record IN ('ds_a', 'ds_b'))"),
        ("PERSON('lead/2') = event.record", "(event.record IN ('ds_c'))"),
        ("record <> person('contact/17') AND status = 200", "(NOT record IN ('ds_a', 'ds_b')) AND status = 200"),
        ("record IN (person('lead/2'), 'x', person('contact/17'))", "record IN ('ds_c', 'x', 'ds_a', 'ds_b')"),
        ("NOT record IN (person('lead/2'))", "NOT record IN ('ds_c')"),
    ],
)
def test_a_person_is_a_list_of_all_names_and_the_number_runs_nowhere(condition: str, same: str) -> None:
    made, plain = named(condition), named(same)
    assert (made.sql, made.narrowing) == (plain.sql, plain.narrowing)
    assert "contact/17" not in made.sql + " ".join(made.shape)
    assert "person ( ? )" in " ".join(made.shape)


@pytest.mark.parametrize(("condition", "reason", "word"), STRANGERS)
def test_what_is_no_person_beside_a_column_is_refused_at_its_place(condition: str, reason: str, word: str) -> None:
    with pytest.raises(StatementRefused) as fault:
        named(condition)
    assert (fault.value.reason, fault.value.word) == (reason, word)
    assert fault.value.place.line == 1


def test_nobody_is_asked_for_while_something_else_is_wrong() -> None:
    def asked(_persons: Sequence[str]) -> Mapping[str, Sequence[str]]:
        pytest.fail("asked")

    with pytest.raises(StatementRefused, match="unknown-column"):
        check("SELECT x FROM event WHERE record = person('lead/2')", NOW, rows=1, most_rows=1, persons=asked)
    check("SELECT actor FROM event", NOW, rows=1, most_rows=1, persons=asked)


def test_now_is_one_instant_for_the_whole_statement() -> None:
    made = checked("SELECT now(), current_timestamp, current_date FROM event")
    assert made.sql.count(NOW.isoformat()) == 2
    assert "CAST('2026-11-27' AS DATE)" in made.sql


def test_only_columns_that_are_read_are_loaded() -> None:
    assert checked("SELECT actor FROM event WHERE status > 1").columns == {"actor", "status"}
    assert checked("SELECT count(*) FROM event").columns == set()
    assert checked("SELECT * EXCLUDE (body, leaf) FROM event").columns == grammar.COLUMNS - {"body", "leaf"}
    assert checked("SELECT * FROM event NATURAL JOIN sight").columns == grammar.COLUMNS


@pytest.mark.parametrize("name", sorted(grammar.FUNCTIONS - {"current_date", "current_timestamp", grammar.PERSON}))
def test_every_listed_function_can_be_called(name: str) -> None:
    tried = CALLS.get(name, ("actor", "", "actor, 'x'", "actor, 1", "'day', at", "actor, 1, 1"))
    made = [one for arguments in tried if (one := _made(f"SELECT {name}({arguments}) FROM event"))]
    assert made
    assert all("trail" in one.sql for one in made)


def _made(text: str) -> Checked | None:
    try:
        return checked(text)
    except StatementRefused as fault:
        return None if fault.reason in ("unreadable", "syntax") else pytest.fail(fault.reason)


CALLS: Mapping[str, tuple[str, ...]] = {
    "extract": ("year FROM at",),
    "row_number": ("",),
    "if": ("true, 1, 2",),
    "time_bucket": ("INTERVAL 1 HOUR, at",),
    "date_add": ("at, INTERVAL 1 DAY",),
    "make_date": ("2026, 1, 1",),
}


def test_the_lists_are_written_down_where_auditors_can_read_them() -> None:
    told = (Path(grammar.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in told for name in sorted(grammar.FUNCTIONS))
