"""People of the end-to-end tests: accounts of their own, so that no test waits for the next code of another's.

Browsers stay open until `close_all`, which the fixtures call when the installations end.
"""

import asyncio
from dataclasses import dataclass

import pyotp

from gateway.demo.browser import Browser
from gateway.demo.driver import Driver, make_driver
from gateway.demo.filling import API_SIGN_IN
from tests.drills.stack import Member, Stack, fresh_id, provision
from tests.real.plain import Plain

_OPEN: list[Browser] = []


@dataclass(frozen=True, slots=True)
class PlainStack:
    """crmgate in front of a plain upstream."""

    stack: Stack
    upstream: Plain


def join(stack: Stack, role: str, crm_login: str = "") -> Member:
    """A new account at the gateway, with both factors set; crm_login: whose records in the CRM are its own."""
    member = Member(f"{role}.{fresh_id()}", role, pyotp.random_base32())
    ids = {member.login: stack.crm.user_ids[crm_login]} if crm_login else {}
    asyncio.run(provision(stack.settings, [member], ids))
    return member


def visitor(stack: Stack, *, console: bool = False, language: str = "en") -> Browser:
    """A browser at the CRM's or the console's public address that nobody has signed in with."""
    base = stack.home.console_url if console else stack.home.crm_url
    browser = Browser(base, stack.home.authority, language=language)
    _OPEN.append(browser)
    return browser


def sign_in(stack: Stack, member: Member, *, console: bool = False) -> Browser:
    """A browser in which this member has passed both factors."""
    browser = visitor(stack, console=console)
    given = {"login": member.login, "password": member.password, "code": member.code()}
    browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base}).expect(200)
    return browser


def newcomer(stack: Stack, role: str, *, console: bool = False) -> Browser:
    """A browser of a new account with this role, signed in at the gateway."""
    return sign_in(stack, join(stack, role), console=console)


def at_work(stack: Stack, role: str, crm_login: str) -> Driver:
    """A new account with this role, signed in at the gateway and as `crm_login` in the CRM behind it."""
    driver = make_driver(stack.crm.crm.name, sign_in(stack, join(stack, role, crm_login)))
    driver.log_in(crm_login, stack.crm.passwords[crm_login])
    return driver


def close_all() -> None:
    """Close every browser."""
    while _OPEN:
        _OPEN.pop().close()
