"""A directory that says no, nonsense, or nothing: nobody gets in, and the password goes nowhere it should not."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sansldap import LDAPResultCode

from gateway.directory.config import DirectorySettings, IdAttribute
from gateway.directory.directory import Directory
from gateway.directory.outcome import SUB_CODES, DirectoryRefused, DirectoryUnavailable
from tests.real.bent_directory import (
    GUID,
    OWN_DN,
    OWN_SECRET,
    PASSWORD,
    PERSON_DN,
    RAW,
    BentDirectory,
    bent_directory,
)

LINKED = str(GUID)
OWN = (OWN_DN, OWN_SECRET)


@pytest.fixture
def bent() -> Iterator[BentDirectory]:
    with bent_directory() as server:
        yield server


@pytest.fixture
def settings(bent: BentDirectory, tmp_path: Path) -> DirectorySettings:
    secret = tmp_path / "secret"
    secret.write_text(OWN_SECRET + "\n")
    return DirectorySettings(
        name="ad",
        urls=(bent.url,),
        bind_dn=OWN_DN,
        bind_secret_file=secret,
        base="DC=ad,DC=example",
        filter="(&(objectClass=user)(sAMAccountName={login}))",
        id_attribute=IdAttribute.OBJECT_GUID,
        timeout_s=30.0,
        connect_timeout_s=30.0,
        clear_text_on_loopback=True,
    )


async def _refused(settings: DirectorySettings, password: str = PASSWORD, linked: str = LINKED) -> str:
    with pytest.raises(DirectoryRefused) as refused:
        await Directory(settings).check("li.si", linked, password)
    return refused.value.reason


async def _unavailable(settings: DirectorySettings) -> str:
    directory = Directory(settings)
    with pytest.raises(DirectoryUnavailable) as refused:
        await directory.check("li.si", LINKED, PASSWORD)
    assert directory.faults == {refused.value.reason: 1}
    return refused.value.reason


async def test_the_right_password_of_the_linked_entry_is_right(
    bent: BentDirectory, settings: DirectorySettings
) -> None:
    bent.mode = "right"
    await Directory(settings).check("li.si", LINKED, PASSWORD)
    assert bent.binds == [OWN, (PERSON_DN, PASSWORD)]


async def test_an_object_guid_is_written_as_active_directory_writes_it(settings: DirectorySettings) -> None:
    assert await Directory(settings).look_up("li.si") == LINKED


@pytest.mark.parametrize(("code", "reason"), SUB_CODES.items())
async def test_a_sub_code_becomes_a_reason(
    bent: BentDirectory, settings: DirectorySettings, code: int, reason: str
) -> None:
    bent.data = f"{code:x}"
    assert await _refused(settings) == reason


@pytest.mark.parametrize("data", ["9999", "zz", ""])
async def test_an_unknown_sub_code_is_a_refusal_all_the_same(
    bent: BentDirectory, settings: DirectorySettings, data: str
) -> None:
    bent.data = data
    assert await _refused(settings) in ("directory-refused", "directory-wrong")


@pytest.mark.parametrize(
    "code",
    [
        LDAPResultCode.REFERRAL,
        LDAPResultCode.BUSY,
        LDAPResultCode.UNAVAILABLE,
        LDAPResultCode.SASL_BIND_IN_PROGRESS,
        LDAPResultCode.STRONG_AUTH_REQUIRED,
        LDAPResultCode.OTHER,
        LDAPResultCode(4096),
    ],
)
async def test_what_is_no_verdict_on_the_person_is_no_sign_in(
    bent: BentDirectory, settings: DirectorySettings, code: LDAPResultCode
) -> None:
    bent.code = code
    await _unavailable(settings)


@pytest.mark.parametrize("password", ["", "x" * 257, "lone \ud800"])
async def test_a_password_that_cannot_be_one_is_never_sent(
    bent: BentDirectory, settings: DirectorySettings, password: str
) -> None:
    """An empty one would succeed and prove nothing (RFC 4513, 5.1.2)."""
    bent.mode = "right"
    assert await _refused(settings, password) == "directory-wrong"
    assert bent.binds == [OWN, OWN]


@pytest.mark.parametrize(("entries", "reason"), [(0, "directory-unknown"), (2, "directory-ambiguous")])
async def test_nobody_and_several_cost_as_many_steps_and_send_no_password(
    bent: BentDirectory, settings: DirectorySettings, entries: int, reason: str
) -> None:
    bent.mode, bent.entries = "right", entries
    assert await _refused(settings) == reason
    assert bent.binds == [OWN, OWN]


async def test_another_persons_entry_gets_no_password(bent: BentDirectory, settings: DirectorySettings) -> None:
    bent.mode = "right"
    assert await _refused(settings, linked="6f2d1e0c-0000-4000-8000-0000000000bb") == "directory-other-person"
    assert bent.binds == [OWN, OWN]


async def test_an_entry_without_a_name_would_be_an_anonymous_bind(
    bent: BentDirectory, settings: DirectorySettings
) -> None:
    bent.mode, bent.dn = "right", ""
    assert await _refused(settings) == "directory-no-id"
    assert bent.binds == [OWN, OWN]


@pytest.mark.parametrize("mode", RAW)
async def test_bytes_that_are_no_answer_let_nobody_in(
    bent: BentDirectory, settings: DirectorySettings, mode: str
) -> None:
    bent.mode = mode
    assert await _unavailable(settings) == "nonsense"


@pytest.mark.parametrize("mode", ["hang", "drip", "hang-at-password"])
async def test_a_directory_that_hangs_is_left_at_the_deadline(
    bent: BentDirectory, settings: DirectorySettings, mode: str
) -> None:
    bent.mode = mode
    assert await _unavailable(replace(settings, timeout_s=0.3)) == "slow"


async def test_references_without_end_are_left(bent: BentDirectory, settings: DirectorySettings) -> None:
    bent.mode = "endless"
    assert await _unavailable(settings) == "nonsense"


async def test_waiting_for_room_counts_against_the_deadline(bent: BentDirectory, settings: DirectorySettings) -> None:
    bent.mode = "hang"
    directory = Directory(replace(settings, timeout_s=0.3, at_a_time=1))

    answers = await asyncio.gather(
        *(directory.check("li.si", LINKED, PASSWORD) for _ in range(4)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [DirectoryUnavailable] * 4


async def test_nothing_listens(settings: DirectorySettings) -> None:
    with bent_directory() as gone:
        pass
    assert await _unavailable(replace(settings, urls=(gone.url,))) == "unreachable"


async def test_the_next_server_is_asked_when_one_is_gone(bent: BentDirectory, settings: DirectorySettings) -> None:
    bent.mode = "right"
    with bent_directory() as gone:
        pass
    await Directory(replace(settings, urls=(gone.url, bent.url))).check("li.si", LINKED, PASSWORD)


async def test_a_password_is_tried_at_one_server_only(bent: BentDirectory, settings: DirectorySettings) -> None:
    """Else one guess would count twice in the directory."""
    bent.mode = "cut-at-password"
    with bent_directory("right") as second:
        assert await _unavailable(replace(settings, urls=(bent.url, second.url))) == "unreachable"
        assert second.binds == []


@pytest.mark.parametrize("secret", [None, "", "\n", "not-the-secret"])
async def test_without_the_own_secret_nobody_is_asked_for(
    bent: BentDirectory, settings: DirectorySettings, tmp_path: Path, secret: str | None
) -> None:
    bent.mode = "right"
    file = tmp_path / "other"
    if secret is not None:
        file.write_text(secret)
    reason = await _unavailable(replace(settings, bind_secret_file=file))
    assert reason == ("own-account" if secret == "not-the-secret" else "secret")
    assert (PERSON_DN, PASSWORD) not in bent.binds


@pytest.mark.parametrize("mode", ["", "inject"])
async def test_a_server_that_strips_start_tls_sees_no_secret(
    bent: BentDirectory, settings: DirectorySettings, mode: str
) -> None:
    bent.mode = mode
    reason = await _unavailable(replace(settings, clear_text_on_loopback=False, connect_timeout_s=0.5))
    assert reason in ("tls", "slow")
    sent = repr(bent.binds)
    assert OWN_SECRET not in sent
    assert OWN_SECRET.encode().hex() not in sent


async def test_keeping_time_costs_the_same_binds_and_sends_only_the_own_secret(
    bent: BentDirectory, settings: DirectorySettings
) -> None:
    await Directory(settings).pass_time()
    assert bent.binds == [OWN, OWN]


async def test_what_goes_wrong_names_nobody(bent: BentDirectory, settings: DirectorySettings) -> None:
    for mode, code in (("", LDAPResultCode.INVALID_CREDENTIALS), ("", LDAPResultCode.OTHER), ("garbage", None)):
        bent.mode, bent.code = mode, code or bent.code
        with pytest.raises((DirectoryRefused, DirectoryUnavailable)) as told:
            await Directory(settings).check("li.si", LINKED, PASSWORD)
        for word in (PASSWORD, "li.si", "Li Si", OWN_SECRET, "DC=ad"):
            assert word not in repr(told.value)
            assert told.value.__cause__ is None
            assert word not in repr(told.value.__context__ if not told.value.__suppress_context__ else "")
