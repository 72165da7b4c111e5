"""`crmgate profile`: plain words about profiles, single requests and recorded ones; exit codes."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gateway.cli import command_line
from policies.profile import load_profile
from policies.profile_source import PROFILES, read_source

RUNNER = CliRunner()
NAMES = ("creme", "djangocrm", "tryton", "generic")


def run(*arguments: str, given: str | None = None) -> tuple[int, str]:
    done = RUNNER.invoke(command_line(["profile"]), ["profile", *arguments], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRMGATE_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def test_explain_tells_fields_and_refuses_what_is_no_profile() -> None:
    code, said = run("explain", "creme")
    assert code == 0
    assert "contact" in said
    assert run("explain", "nonsense")[0] == 2


@pytest.mark.parametrize("name", NAMES)
def test_explain_tells_every_limit_whole(name: str) -> None:
    _, said = run("explain", name)
    told = " ".join(said.translate(str.maketrans("│├└─", "    ")).split())
    for limit in load_profile(name).known_limits:
        assert " ".join(limit.split()) in told


def test_explain_of_a_request_tells_what_is_done_with_its_body(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("user=3&last_name=X&description=Y&csrfmiddlewaretoken=Z")
    code, said = run("explain", "creme", "POST /persons/contact/edit/15", "--body", str(body), "--role", "sales")
    assert code == 0
    assert "contact.update: update of contact" in said
    assert "record 15" in said
    assert "would be forwarded" in said
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.strip()}
    assert rows["last_name"] == "replaced, all of it contact.last_name name"
    assert rows["description"] == "its personal parts are replaced contact.description"
    assert "csrfmiddlewaretoken" not in rows


def test_explain_says_which_roles_are_refused_and_why() -> None:
    asked = "POST /creme_core/entity/delete/15"
    assert "would be refused: not-allowed" in run("explain", "creme", asked, "--role", "sales")[1]
    assert "would be refused: not-allowed" in run("explain", "creme", asked, "--role", "nobody-has-this-role")[1]
    assert "would be forwarded" in run("explain", "creme", asked, "--role", "manager")[1]
    assert "depends on the roles" in run("explain", "creme", asked)[1]
    assert "write-not-granted" in run("explain", "creme", "POST /nobody/described/this")[1]


def test_explain_takes_json_from_standard_input_and_tells_searches() -> None:
    call = '{"id": 1, "method": "model.party.party.search", "params": [[["name", "=", "X"]], 0, 10, null, {}]}'
    code, said = run("explain", "tryton", "POST /crm/rpc/", "--body", "-", given=call)
    assert code == 0
    assert "party.search" in said
    assert "searched for" in said
    assert "params.0.0.2" in said


def test_explain_knows_record_types_it_is_told() -> None:
    asked = "POST /creme_core/quickforms/98/add"
    assert "contact.quick_create" in run("explain", "creme", asked, "--type", "98=contact")[1]
    code, said = run("explain", "creme", asked, "--type", "98=spaceship")
    assert code == 2
    assert "contact, organisation" in said


@pytest.mark.parametrize("asked", ["/persons/contact/add", "GET persons", "FETCH /x", "GET"])
def test_explain_says_how_a_request_is_written(asked: str) -> None:
    code, said = run("explain", "creme", asked)
    assert code == 2
    assert "POST /persons/contact/add" in said


def test_explain_of_a_body_that_is_not_there() -> None:
    code, said = run("explain", "creme", "POST /persons/contact/add", "--body", "nowhere")
    assert code == 2
    assert "nowhere cannot be read" in said


@pytest.mark.parametrize("name", ["creme", "djangocrm", "tryton"])
def test_lint_finds_nothing_in_what_is_shipped(name: str) -> None:
    code, said = run("lint", name)
    assert code == 0, said
    assert "fine" in said


def _own(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(read_source("creme") | changes, allow_unicode=True))
    return path


def test_lint_tells_what_is_doubtful(tmp_path: Path) -> None:
    code, said = run("lint", str(_own(tmp_path, known_limits=[])))
    assert code == 1
    assert "doubtful  known_limits is empty" in said


def test_lint_tells_everything_that_is_wrong_a_line_each(tmp_path: Path) -> None:
    code, said = run("lint", str(_own(tmp_path, protocol="telepathy", opaque="maybe")))
    assert code == 1
    assert len([line for line in said.splitlines() if line.startswith("wrong")]) == 2


def test_lint_of_no_profile() -> None:
    assert run("lint", "nonsense")[0] == 2


@pytest.mark.parametrize("name", ["creme", "djangocrm", "tryton"])
def test_shipped_cases_are_understood(name: str) -> None:
    code, said = run("test", name)
    assert code == 0, said
    count = len(yaml.safe_load((PROFILES / f"{name}.cases.yaml").read_text(encoding="utf-8"))["cases"])
    assert f"{count} of {count} requests" in said


def test_a_case_that_differs_is_told_with_what_was_found(tmp_path: Path) -> None:
    own = _own(tmp_path)
    (tmp_path / "own.cases.yaml").write_text("""
cases:
  - {name: page of a person, request: {method: GET, path: /persons/contact/5}, expect: {id: contact.list}}
  - {name: list of people, request: {method: GET, path: /persons/contacts}, expect: {id: contact.list}}
""")
    code, said = run("test", str(own))
    assert code == 1
    assert "differs  page of a person" in said
    assert "instead of 'contact.list'" in said
    assert "1 of 2 requests" in said


def test_a_profile_without_cases_and_a_file_that_is_none(tmp_path: Path) -> None:
    assert run("test", "generic")[0] == 2
    broken = tmp_path / "broken.yaml"
    broken.write_text("cases: 3")
    code, said = run("test", "creme", "--cases", str(broken))
    assert code == 1
    assert "cases" in said
