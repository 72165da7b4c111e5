"""Passkeys as a second factor: which answers count, once, on which host, and which are refused."""

import asyncio
import json

import pytest

from gateway.access.passkeys import (
    PASSKEYS_LIMIT,
    PasskeyCounterBack,
    PasskeyRefused,
    PasskeyWrong,
    Site,
    site_of,
)
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.access.sign_in import Attempt, HalfOpenExpired
from tests.unit.gateway.access.authenticator import Authenticator, plain, text

HOME = "192.0.2.7"
CRM = Site("https://crm.example", "crm.example")
CONSOLE = Site("https://console.example", "console.example")


async def enrolled(access, person, site=CRM, **says) -> Authenticator:
    """A passkey of this person at a host."""
    key = Authenticator(**says)
    options = await access.passkeys.ask_new(person.user, "s-1", site)
    await add(access, person.user.id, "s-1", key.create(options, site.origin), "laptop", site)
    return key


async def add(access, *given) -> None:
    await access.passkeys.keep("t1", await access.passkeys.check_new("t1", *given))


async def half_open(access, person, audience=AUDIENCE_CRM) -> str:
    half = await access.sign_in.password_step("t1", person.user.login, person.password, HOME, audience=audience)
    return half.token


async def finish(access, token, answer, site=CRM, audience=AUDIENCE_CRM):
    def check(user):
        return access.passkeys.use(user, token, answer, site)

    return await access.sign_in.other_step("t1", token, check, HOME, audience=audience)


async def refused(access, token, answer, site=CRM) -> type[Exception]:
    with pytest.raises(Attempt) as caught:
        await finish(access, token, answer, site)
    return type(caught.value.outcome)


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("https://crm.example", "crm.example", "crm.example"),
        ("https://crm.example:8443/", "crm.example:8443", "crm.example"),
        ("https://CRM.example", "crm.EXAMPLE", "crm.example"),
        ("https://crm.example", "console.example", None),
        ("https://crm.example", "example", None),
        ("https://crm.example", "crm.example:8443", None),
        ("http://crm.example", "crm.example", None),
        ("https://192.0.2.1", "192.0.2.1", None),
        ("https://[2001:db8::1]", "[2001:db8::1]", None),
        ("", "", None),
    ],
)
def test_the_rp_id_is_the_very_host_of_the_public_address(url, host, name) -> None:
    site = site_of(url, host)
    assert (site.rp_id if site else None) == name


async def test_a_passkey_finishes_a_sign_in_and_its_use_is_noted(access, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    assert await access.passkeys.offered("t1", token, AUDIENCE_CRM, CRM)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    asked = json.loads(options)
    assert asked["userVerification"] == "required"
    assert len(plain(asked["challenge"])) == 32
    done = await finish(access, token, key.get(options, CRM.origin))
    assert (await access.sessions.principal(done.token, access.clock())).id == li.user.id
    [held] = await access.passkeys.held("t1", li.user.id)
    assert (held.name, held.rp_id, held.last_used_at) == ("laptop", "crm.example", access.clock())


async def test_the_options_name_nobody_but_the_person_and_ask_for_verification(access, li) -> None:
    options = json.loads(await access.passkeys.ask_new(li.user, "s-1", CRM))
    assert plain(options["user"]["id"]).decode() == li.user.id
    assert options["rp"]["id"] == "crm.example"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"


async def test_an_answer_counts_once_also_in_parallel_on_two_nodes(access, other_node, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    answer = key.get(await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM), CRM.origin)
    tried = await asyncio.gather(
        *((access, other_node)[n % 2].passkeys.use(li.user, token, answer, CRM) for n in range(20)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in tried) == ["NoneType"] + ["PasskeyWrong"] * 19
    with pytest.raises(PasskeyWrong):
        await access.passkeys.use(li.user, token, answer, CRM)


async def test_the_challenge_of_one_half_open_sign_in_is_worth_nothing_in_another(access, li) -> None:
    key = await enrolled(access, li)
    first, second = await half_open(access, li), await half_open(access, li)
    answer = key.get(await access.passkeys.ask("t1", first, AUDIENCE_CRM, CRM), CRM.origin)
    await access.passkeys.ask("t1", second, AUDIENCE_CRM, CRM)
    assert await refused(access, second, answer) is PasskeyWrong


async def test_a_challenge_asked_for_again_or_too_old_is_gone(access, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    old = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    new = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    assert await refused(access, token, key.get(old, CRM.origin)) is PasskeyWrong
    # The wrong answer used the challenge up: the right one needs a new challenge, too.
    assert await refused(access, token, key.get(new, CRM.origin)) is PasskeyWrong
    late = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    access.clock.advance(minutes=6)
    with pytest.raises(PasskeyWrong):
        await access.passkeys.use(li.user, token, key.get(late, CRM.origin), CRM)


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("https://evil.example", {}),
        ("http://crm.example", {}),
        ("https://crm.example:8443", {}),
        ("https://console.example", {}),
        ("https://crm.example", {"verified": False}),
        ("https://crm.example", {"rp_id": "example"}),
        ("https://crm.example", {"rp_id": "console.example"}),
    ],
)
async def test_another_origin_another_rp_id_and_an_unverified_person_are_refused(access, li, origin, says) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    assert await refused(access, token, key.get(options, origin, **says)) is PasskeyWrong
    options = await access.passkeys.ask_new(li.user, "s-1", CRM)
    with pytest.raises(PasskeyRefused, match="passkey-invalid"):
        await add(access, li.user.id, "s-1", Authenticator().create(options, origin, **says), "other", CRM)
    assert len(await access.passkeys.held("t1", li.user.id)) == 1


async def test_a_passkey_of_the_crm_host_is_nothing_at_the_console(access, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li, AUDIENCE_CONSOLE)
    assert not await access.passkeys.offered("t1", token, AUDIENCE_CONSOLE, CONSOLE)
    assert await access.passkeys.ask("t1", token, AUDIENCE_CONSOLE, CONSOLE) is None
    # Neither when somebody has a passkey of each and answers with the wrong one.
    await enrolled(access, li, CONSOLE)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CONSOLE, CONSOLE)
    assert len(json.loads(options)["allowCredentials"]) == 1
    with pytest.raises(PasskeyWrong):
        await access.passkeys.use(li.user, token, key.get(options, CONSOLE.origin), CONSOLE)


async def test_a_half_open_sign_in_of_one_host_gets_no_challenge_of_the_other(access, li) -> None:
    await enrolled(access, li)
    token = await half_open(access, li, AUDIENCE_CRM)
    assert await access.passkeys.ask("t1", token, AUDIENCE_CONSOLE, CRM) is None
    assert await access.passkeys.ask("t2", token, AUDIENCE_CRM, CRM) is None
    assert await access.passkeys.ask("t1", "x" * 43, AUDIENCE_CRM, CRM) is None
    assert await access.passkeys.ask("t1", token, AUDIENCE_CRM, None) is None


async def test_somebody_elses_passkey_is_refused(access, li, enrol) -> None:
    other = await enrol("zhou.min")
    await enrolled(access, li)
    stranger = await enrolled(access, other)
    token = await half_open(access, li)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    assert await refused(access, token, stranger.get(options, CRM.origin)) is PasskeyWrong


async def test_a_signature_of_another_key_under_the_same_id_is_refused(access, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    forged = Authenticator(credential_id=key.credential_id, counter=7)
    assert await refused(access, token, forged.get(options, CRM.origin)) is PasskeyWrong


@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", "null", '{"id": 1}', "{" * 3000, "\x00", '{"id":"AA","rawId":"AA"}']
)
async def test_nonsense_is_refused(access, li, answer) -> None:
    await enrolled(access, li)
    token = await half_open(access, li)
    await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    assert await refused(access, token, answer) is PasskeyWrong
    await access.passkeys.ask_new(li.user, "s-2", CRM)
    with pytest.raises(PasskeyRefused):
        await add(access, li.user.id, "s-2", answer, "x", CRM)


@pytest.mark.parametrize(("before", "then"), [(9, 9), (9, 3), (9, 0)])
async def test_a_counter_that_does_not_grow_is_refused_though_the_signature_is_right(access, li, before, then) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    answer = key.get(await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM), CRM.origin, counter=before)
    await finish(access, token, answer)
    token = await half_open(access, li)
    answer = key.get(await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM), CRM.origin, counter=then)
    assert await refused(access, token, answer) is PasskeyCounterBack
    [held] = await access.passkeys.held("t1", li.user.id)
    assert held.sign_count == before


async def test_an_authenticator_without_a_counter_works_again_and_again(access, li) -> None:
    key = await enrolled(access, li)
    for _ in range(2):
        token = await half_open(access, li)
        options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
        await finish(access, token, key.get(options, CRM.origin, counter=0))


async def test_enrolment_needs_its_own_challenge_of_this_session_and_takes_it_once(access, li, enrol) -> None:
    other = await enrol("zhou.min")
    options = await access.passkeys.ask_new(li.user, "s-1", CRM)
    answer = Authenticator().create(options, CRM.origin)
    with pytest.raises(PasskeyRefused, match="passkey-invalid"):
        await add(access, li.user.id, "s-2", answer, "x", CRM)
    with pytest.raises(PasskeyRefused, match="passkey-invalid"):
        await add(access, other.user.id, "s-1", answer, "x", CRM)
    with pytest.raises(PasskeyRefused, match="passkey-invalid"):
        await add(access, li.user.id, "s-1", answer, "x", CRM)  # the attempt above used it up
    assert await access.passkeys.held("t1", li.user.id) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb", "\u202eabc"])
async def test_a_name_that_cannot_be_shown_is_refused(access, li, name) -> None:
    options = await access.passkeys.ask_new(li.user, "s-1", CRM)
    answer = Authenticator().create(options, CRM.origin)
    with pytest.raises(PasskeyRefused, match="passkey-name"):
        await add(access, li.user.id, "s-1", answer, name, CRM)


async def test_one_authenticator_is_enrolled_once_and_an_account_has_so_many(access, li) -> None:
    key = await enrolled(access, li)
    options = await access.passkeys.ask_new(li.user, "s-1", CRM)
    assert [one["id"] for one in json.loads(options)["excludeCredentials"]] == [text(key.credential_id)]
    with pytest.raises(PasskeyRefused, match="passkey-not-added"):
        await add(access, li.user.id, "s-1", key.create(options, CRM.origin), "again", CRM)
    for _ in range(PASSKEYS_LIMIT - 1):
        await enrolled(access, li)
    with pytest.raises(PasskeyRefused, match="passkey-not-added"):
        await enrolled(access, li)


async def test_a_removed_passkey_is_refused_and_the_last_factor_stays(access, li, pool) -> None:
    key = await enrolled(access, li)
    [first] = await access.passkeys.held("t1", li.user.id)
    await enrolled(access, li)
    token = await half_open(access, li)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    assert await access.passkeys.remove("t1", li.user.id, first.id)
    assert not await access.passkeys.remove("t1", li.user.id, first.id)
    with pytest.raises(PasskeyWrong):
        await access.passkeys.use(li.user, token, key.get(options, CRM.origin), CRM)
    # An account without an app (none is made so today) keeps its last passkey, also against two removals at once.
    await enrolled(access, li)
    async with pool.connection() as db:
        await db.execute("UPDATE app_user SET totp_secret = NULL WHERE id = %s", (li.user.id,))
    ids = [one.id for one in await access.passkeys.held("t1", li.user.id)]
    gone = await asyncio.gather(*(access.passkeys.remove("t1", li.user.id, one) for one in ids))
    assert sorted(gone) == [False, True]


async def test_nobody_removes_somebody_elses_passkey(access, li, enrol) -> None:
    other = await enrol("zhou.min")
    await enrolled(access, li)
    [held] = await access.passkeys.held("t1", li.user.id)
    assert not await access.passkeys.remove("t1", other.user.id, held.id)
    assert not await access.passkeys.remove("t2", li.user.id, held.id)


async def test_a_reset_takes_passkeys_and_open_challenges_away(access, li) -> None:
    key = await enrolled(access, li)
    token = await half_open(access, li)
    options = await access.passkeys.ask("t1", token, AUDIENCE_CRM, CRM)
    await access.users.reset(li.user, "u-admin")
    assert await access.passkeys.held("t1", li.user.id) == []
    with pytest.raises(HalfOpenExpired):
        await finish(access, token, key.get(options, CRM.origin))


async def test_challenges_are_swept(access, li, pool) -> None:
    from gateway.access.factor_store import FactorStore

    await access.passkeys.ask_new(li.user, "s-1", CRM)
    await FactorStore(pool).sweep(access.clock.advance(minutes=6))
    async with pool.connection() as db:
        assert await (await db.execute("SELECT count(*) FROM app_passkey_challenge")).fetchone() == (0,)
