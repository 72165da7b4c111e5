"""Nothing of crmgate reads the database without saying for which tenant; who says "for every one" is listed here."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid
from kms.connections import EVERY, NOBODY

ROOT = Path(__file__).resolve().parents[2]
SWEEP = "deletes by age"
SESSION = "the token or the id of the session is what says the tenant; both are random and looked up by index"
JOB = "a job is asked for by its random id; its row says the tenant"
ALL_AT_ONCE = "one look for all tenants of this process, handed out by tenant"
EVERYBODY = {
    "gateway/access/device_store.py:bind": SESSION,
    "gateway/access/emergency_store.py:due": ALL_AT_ONCE,
    "gateway/access/factor_store.py:sweep": SWEEP,
    "gateway/access/session_store.py:by_ids": SESSION,
    "gateway/access/session_store.py:by_previous": SESSION,
    "gateway/access/session_store.py:by_token": SESSION,
    "gateway/access/session_store.py:claim_crm_token": SESSION,
    "gateway/access/session_store.py:end": SESSION,
    "gateway/access/session_store.py:end_crm_tokens": SESSION,
    "gateway/access/session_store.py:live_crm_tokens": SESSION,
    "gateway/access/session_store.py:lock": SESSION,
    "gateway/access/session_store.py:note_crm_identity": SESSION,
    "gateway/access/session_store.py:renew": SESSION,
    "gateway/access/session_store.py:sweep": SWEEP,
    "gateway/access/session_store.py:touch": SESSION,
    "gateway/access/session_store.py:use_device_proof": SESSION,
    "gateway/access/store.py:sweep": SWEEP,
    "gateway/access/throttle_store.py:sweep": SWEEP,
    "gateway/bundles/store.py:marks": ALL_AT_ONCE,
    "gateway/disclosure/store.py:sweep": SWEEP,
    "gateway/egress/store.py:sweep": SWEEP,
    "gateway/federation/store.py:sweep": SWEEP,
    "gateway/guess_store.py:add": ALL_AT_ONCE,
    "gateway/guess_store.py:sweep": SWEEP,
    "gateway/identity/oidc_store.py:sweep": SWEEP,
    "gateway/job_store.py:_rows": JOB,
    "gateway/learn/store.py:watching": ALL_AT_ONCE,
    "gateway/protect/store.py:proofs": ALL_AT_ONCE,
    "kms/destruction_store.py:keys_of_others": "whether a key about to be destroyed still wraps another tenant's",
    "audit/anchor.py:round": ALL_AT_ONCE,
    "audit/watch.py:round": ALL_AT_ONCE,
    "audit/tile_site.py:round": "which logs there are; the tiles of each are written for its own tenant",
    "audit/checkpoint.py:_round": "which logs there are; each is read and signed for its own tenant",
    "audit/verify.py:verify_all": "verifies every log, on the command line",
}
# Connections that do not come from `Pool.of`: they touch no table with a tenant, or name it themselves.
OWN = {
    "audit/store.py",  # of one tenant, which it names
    "audit/siem/forwarder.py",  # of one tenant, which it names
    "audit/verify.py",
    "audit/writer.py",
    "gateway/access/sessions.py",  # LISTEN
    "gateway/bundles/live.py",  # LISTEN
    "gateway/check.py",
    "gateway/cli_trail_status.py",  # of one tenant, which it names
    "gateway/check_shared.py",
    "gateway/database.py",
    "gateway/demo/peek.py",  # the CRM's
    "gateway/evidence/store.py",
    "gateway/migrations/runner.py",
    "gateway/process_store.py",  # advisory locks
    "gateway/supervisor.py",  # asks nothing
    "gateway/workflows.py",  # schema dbos
    "kms/notice_store.py",  # LISTEN
    "kms/person_calls.py",  # another database
}


@cache
def sources() -> list[tuple[str, ast.Module]]:
    return [
        (str(file.relative_to(ROOT)), ast.parse(file.read_text()))
        for package in ("gateway", "kms", "audit", "privacy", "policies", "rules")
        for file in sorted((ROOT / package).rglob("*.py"))
    ]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def test_who_works_for_every_tenant_is_known() -> None:
    found = {
        f"{file}:{function.name}"
        for file, tree in sources()
        # one has a constant of its own, the other refuses the mark
        if file not in ("gateway/orphans.py", "gateway/settings_file.py")
        for function in functions(tree)
        for one in ast.walk(function)
        if (isinstance(one, ast.Name) and one.id == "EVERY") or (isinstance(one, ast.Attribute) and one.attr == "EVERY")
    }
    assert found == set(EVERYBODY)


def test_every_connection_of_the_pool_says_for_whom() -> None:
    silent = [
        f"{file}:{call.lineno}"
        for file, tree in sources()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and (
            (call.func.attr == "connection" and not call.args and "super()" not in ast.unparse(call.func))
            or call.func.attr in ("getconn", "putconn")
        )
    ]
    assert silent == []


def test_connections_of_their_own_are_known() -> None:
    found = {
        file
        for file, tree in sources()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "connect"
        and ast.unparse(call.func.value).split(".")[-1] in ("psycopg", "AsyncConnection", "Connection")
    }
    assert found == OWN


@pytest.mark.parametrize("name", [EVERY, NOBODY, ""])
def test_no_tenant_is_called_like_the_marks_for_all_and_for_none(name: str) -> None:
    raw = {"tenant": {name: {"upstream": "http://127.0.0.1:1", "public_url": "https://crm.example"}}}
    with pytest.raises(SettingInvalid, match="cannot be the name of a CRM"):
        build_settings(raw, ROOT)
