"""What happens to the CRM behind the gateway between two rounds of the twin drill: protected, then rotated, by halves.

Every step is the real command on the running installation. Where it has to stand still in the middle, a trigger in the
database holds it there (no record more is finished, or a job is paused, past half of its work), so that half is half
on every machine.
"""

import subprocess
import sys
import time
from collections.abc import Callable

from tests.drills.protect_command import Commands
from tests.drills.stack import Stack
from tests.e2e.database import sql

WAIT_S = 900.0
_HOLD_RECORDS = """
CREATE FUNCTION drill_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.state = 'done' AND OLD.state <> 'done' AND (SELECT 2 * count(*) FILTER (WHERE state = 'done') >= count(*)
        FROM protect_record WHERE run = NEW.run) THEN RAISE 'held by the drill'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER drill_hold BEFORE UPDATE ON protect_record FOR EACH ROW EXECUTE FUNCTION drill_hold()
"""
_HOLD_JOBS = """
CREATE FUNCTION drill_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.kind = 'rotate' AND NEW.done > 0 AND 2 * NEW.done >= NEW.total THEN NEW.wanted := 'pause'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER drill_hold BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION drill_hold()
"""
_RELEASE = "DROP FUNCTION drill_hold CASCADE"


def keep_credential(house: Stack) -> None:
    """Store the CRM's service credential, as IT does before protecting."""
    secret = house.settings.file.with_name("crm-password")
    secret.touch(mode=0o600)
    secret.write_text(house.crm.passwords[house.crm.crm.admin_login] + "\n")
    extra = ["--db", "crm"] if house.crm.crm.name == "tryton" else []
    login = house.crm.crm.admin_login
    Commands(settings=house.settings).protect("credential", "--login", login, "--password-file", str(secret), *extra)
    secret.unlink()


def half_protected(house: Stack) -> str:
    """`crmgate protect run`, killed when half of the records are done; says how many."""
    sql(house.settings, _HOLD_RECORDS)
    try:
        # At one write a second records go one by one; a batch that the trigger stops would be undone as a whole.
        child = _started(house, "protect", "run", "--rate", "1")
        try:
            _until(lambda: _is_held(house), child)
        finally:
            child.kill()
            child.wait()
    finally:
        sql(house.settings, _RELEASE)
    done, total = _records(house)
    assert 0 < done < total, f"{done} of {total} records are protected"
    return f"{done} of {total} records"


def protected(house: Stack) -> str:
    """`crmgate protect run` to its end."""
    Commands(settings=house.settings).protect("run", "--rate", "0", code=None)
    done, total = _records(house)
    (open_,) = sql(house.settings, "SELECT count(*) FROM protect_run WHERE state <> 'done'")[0]
    assert open_ == 0, "the run did not come to its end"
    return f"{done} of {total} records"


def half_rotated(house: Stack) -> str:
    """`crmgate keys rotate` of every key, each paused past half of its values."""
    sql(house.settings, _HOLD_JOBS)
    try:
        (most,) = sql(house.settings, "SELECT max(n) FROM (SELECT count(*) AS n FROM vault GROUP BY kind) AS each")[0]
        _finished(house, "keys", "rotate", "--rate", str(max(1, most // 2)))
    finally:
        sql(house.settings, _RELEASE)
    states = dict(sql(house.settings, "SELECT state, count(*) FROM job WHERE kind = 'rotate' GROUP BY state"))
    assert states.get("paused", 0) > 5, f"jobs: {states}"
    (under,) = sql(house.settings, "SELECT count(*) FROM kms_key WHERE state = 'live'")[0]
    assert under >= states["paused"], "an old key is no longer live before its rotation ended"
    return f"{states['paused']} rotations paused, {states.get('done', 0)} done"


def rotated(house: Stack) -> str:
    """The rotations to their end: nothing is left under an old key."""
    _finished(house, "keys", "rotation", "resume", "--rate", "100000")
    states = dict(sql(house.settings, "SELECT state, count(*) FROM job WHERE kind = 'rotate' GROUP BY state"))
    assert set(states) == {"done"}, f"jobs: {states}"
    (live,) = sql(house.settings, "SELECT count(*) FROM kms_key WHERE state = 'live'")[0]
    assert live == 0, f"{live} old keys are live still"
    (left,) = sql(
        house.settings,
        "SELECT (SELECT count(*) FROM vault JOIN kms_key k ON k.id IN (seal_key, equal_key) AND k.state = 'retired')"
        " + (SELECT count(*) FROM vault_index i JOIN kms_key k ON k.id = i.key AND k.state = 'retired')",
    )[0]
    assert left == 0, f"{left} rows are under a retired key"
    return f"{states['done']} rotations done"


def _records(house: Stack) -> tuple[int, int]:
    """Records done and all records of the run; what the gateway's own look at new records noted is not of it."""
    rows = sql(
        house.settings,
        "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FROM protect_record WHERE run <> 'arrivals'",
    )
    return int(rows[0][0]), int(rows[0][1])


def _is_held(house: Stack) -> bool:
    """Whether half is done and the next record waits for its note."""
    done, total = _records(house)
    (problems,) = sql(house.settings, "SELECT count(*) FROM job WHERE starts_with(kind, 'protect') AND problem <> ''")[
        0
    ]
    return total > 0 and 2 * done >= total and problems > 0


def _until(held: Callable[[], bool], child: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + WAIT_S
    while not held():
        assert child.poll() is None, f"the command ended with {child.returncode} before it was stopped"
        assert time.monotonic() < until, "the command does not reach half of its work"
        time.sleep(0.1)


def _started(house: Stack, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "gateway.cli", *words, "--config", str(house.settings.file)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _finished(house: Stack, *words: str) -> None:
    command = [sys.executable, "-m", "gateway.cli", *words, "--config", str(house.settings.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
