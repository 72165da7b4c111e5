"""The check of passwords against a real OpenLDAP server, under both kinds of TLS."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.directory.config import DirectorySettings
from gateway.directory.directory import Directory
from gateway.directory.outcome import DirectoryRefused, DirectoryUnavailable
from tests.real.slapd import BASE, FILTER, IDS, OWN_DN, OWN_SECRET, PASSWORDS, WRONG_BEFORE_LOCK, Slapd, slapd

LOGIN = "zhao.sales"


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    with slapd() as running:
        yield running


@pytest.fixture(params=["tls_url", "start_tls_url"])
def settings(server: Slapd, request: pytest.FixtureRequest) -> DirectorySettings:
    return settings_for(server, getattr(server, request.param))


def settings_for(server: Slapd, url: str) -> DirectorySettings:
    return DirectorySettings(
        name="corp",
        urls=(url,),
        bind_dn=OWN_DN,
        bind_secret_file=server.secret_file,
        base=BASE,
        filter=FILTER,
        ca=server.ca,
        timeout_s=30.0,
        connect_timeout_s=30.0,
    )


async def _refused(settings: DirectorySettings, login: str, linked: str, password: str) -> str:
    with pytest.raises(DirectoryRefused) as refused:
        await Directory(settings).check(login, linked, password)
    return refused.value.reason


async def _unavailable(settings: DirectorySettings) -> str:
    with pytest.raises(DirectoryUnavailable) as refused:
        await Directory(settings).check(LOGIN, IDS[LOGIN], PASSWORDS[LOGIN])
    return refused.value.reason


async def test_the_right_password_is_right(settings: DirectorySettings) -> None:
    await Directory(settings).check(LOGIN, IDS[LOGIN], PASSWORDS[LOGIN])


async def test_a_wrong_and_an_empty_password_are_wrong(settings: DirectorySettings) -> None:
    assert await _refused(settings, LOGIN, IDS[LOGIN], PASSWORDS[LOGIN] + "x") == "directory-wrong"
    assert await _refused(settings, LOGIN, IDS[LOGIN], "") == "directory-wrong"


@pytest.mark.parametrize(
    "login", ["*", "*)(uid=*", "zhao*", "zhao.sales)(uid=*", "\\2a", "", "nobody", "\x00", "\ud800"]
)
async def test_filters_typed_as_logins_find_nobody(settings: DirectorySettings, login: str) -> None:
    assert await _refused(settings, login, IDS[LOGIN], PASSWORDS[LOGIN]) == "directory-unknown"


async def test_a_login_that_two_entries_have_is_nobodys(settings: DirectorySettings) -> None:
    assert await _refused(settings, "twin", IDS[LOGIN], "Twin-directory-4-tests") == "directory-ambiguous"


async def test_an_entry_that_is_not_the_linked_one_is_nobodys(server: Slapd, settings: DirectorySettings) -> None:
    assert await _refused(settings, "qian.sales", IDS[LOGIN], PASSWORDS["qian.sales"]) == "directory-other-person"


async def test_an_entry_without_a_password_lets_nobody_in(settings: DirectorySettings) -> None:
    assert await _refused(settings, "no.password", IDS["no.password"], "anything") == "directory-wrong"


async def test_an_id_is_looked_up_by_login(settings: DirectorySettings) -> None:
    assert await Directory(settings).look_up(LOGIN) == IDS[LOGIN]
    for login, reason in (("twin", "directory-ambiguous"), ("*", "directory-unknown")):
        with pytest.raises(DirectoryRefused) as refused:
            await Directory(settings).look_up(login)
        assert refused.value.reason == reason


async def test_an_untrusted_authority_is_refused(server: Slapd, settings: DirectorySettings) -> None:
    assert await _unavailable(replace(settings, ca=server.other_ca)) == "tls"
    assert await _unavailable(replace(settings, ca=None)) == "tls"


async def test_a_certificate_for_another_host_is_refused(server: Slapd) -> None:
    assert await _unavailable(settings_for(server, f"ldaps://127.0.0.2:{server.tls_port}")) == "tls"


async def test_tls_to_a_port_without_it_is_refused(server: Slapd) -> None:
    assert await _unavailable(settings_for(server, f"ldaps://127.0.0.1:{server.port}")) in ("tls", "unreachable")


async def test_a_wrong_base_is_no_verdict_on_a_person(settings: DirectorySettings) -> None:
    assert await _unavailable(replace(settings, base="dc=nowhere")) == "search"


async def test_a_locked_entry_is_refused_with_the_right_password(server: Slapd) -> None:
    settings = settings_for(server, server.tls_url)
    for _ in range(WRONG_BEFORE_LOCK):
        await _refused(settings, "sun.sales", IDS["sun.sales"], "wrong")
    assert await _refused(settings, "sun.sales", IDS["sun.sales"], PASSWORDS["sun.sales"]) == "directory-wrong"


async def test_keeping_time_leaves_no_failed_bind_in_the_directory(server: Slapd) -> None:
    before = server.log.count("RESULT tag=97 err=49")
    settings = settings_for(server, server.tls_url)
    await Directory(settings).pass_time()
    await _refused(settings, "nobody", IDS[LOGIN], "a-password-of-nobody")
    assert server.log.count("RESULT tag=97 err=49") == before
    assert OWN_SECRET not in server.log


async def test_a_directory_that_is_down_and_comes_back() -> None:
    with slapd() as own:
        settings = settings_for(own, own.tls_url)
        own.stop()
        assert await _unavailable(settings) == "unreachable"
        own.start()
        await Directory(settings).check(LOGIN, IDS[LOGIN], PASSWORDS[LOGIN])
