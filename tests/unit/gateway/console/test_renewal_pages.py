"""The page between the second factor and the session, for a password that is too old, as a browser meets it."""

from datetime import timedelta

from gateway.access.password_rules import PasswordRules

MLPS = PasswordRules(least=14, classes=3, lifetime=timedelta(days=90), kept=2)
PAGE = "/.crmgate/sign-in/password"
CHOSEN = "Maple-Orchard-77-Tin"


async def test_a_person_with_an_expired_password_chooses_another_before_anything_opens(stage, monkeypatch) -> None:
    monkeypatch.setattr(stage.access.users, "rules", MLPS)
    monkeypatch.setattr(stage.access.sign_in, "_rules", MLPS)
    li, browser = await stage.enrol("li.wei", "sales"), stage.browser()
    stage.clock.advance(days=91)
    await browser.post("/.crmgate/sign-in", {"login": "li.wei", "password": li.password, "next": "/wanted"})
    answer = await browser.post("/.crmgate/sign-in/code", {"code": stage.access.code(li.secret)})
    assert (answer.status, answer.header("location")) == (303, PAGE)
    assert "__Host-crmgate" not in browser.jar
    assert "too old" in (await browser.get(PAGE)).text
    assert "超过有效期" in (await browser.get(f"{PAGE}?lang=zh_Hans")).text
    for new, again, words in (
        (CHOSEN, "x", "不一致"),
        (li.password, li.password, "以前用过"),
        ("quiet lantern river", "quiet lantern river", "三类字符"),
    ):
        refused = await browser.post(PAGE, {"new": new, "again": again})
        assert refused.status == 422
        assert words in refused.text
    assert "__Host-crmgate" not in browser.jar
    done = await browser.post(PAGE, {"new": CHOSEN, "again": CHOSEN})
    assert (done.status, done.header("location")) == (303, "/wanted")
    assert (await browser.get("/.crmgate/account")).status == 200
    told = [reason for who, reason, _ in await stage.reasons() if who == "li.wei"]
    assert told == ["password-accepted", "password-expired", "password-changed", "signed-in"]
