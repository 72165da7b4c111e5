"""People and programs of several CRMs behind one gateway, for the tests of identity and of what tenants share."""

import asyncio
from dataclasses import dataclass, field

import pyotp
from typer.testing import CliRunner

from gateway.cli import command_line
from gateway.demo.browser import Browser
from gateway.demo.filling import API_SIGN_IN
from tests.drills.stack import Member, Stack, fresh_id, provision

ACCOUNT_CRM = "/.crmgate/account/crm"


@dataclass(slots=True)
class Door:
    """One tenant of a running gateway, as its people reach it. base: its public address."""

    stack: Stack
    tenant: str
    base: str
    opened: list[Browser] = field(default_factory=list)

    def join(self, role: str, crm_key: str = "", *, login: str = "") -> Member:
        """A new account at this tenant with both factors; crm_key: the CRM's own key of the person."""
        member = Member(login or f"{role}.{fresh_id()}", role, pyotp.random_base32())
        ids = {member.login: crm_key} if crm_key else {}
        asyncio.run(provision(self.stack.settings, [member], ids, self.tenant))
        return member

    def browser(self) -> Browser:
        """A browser at this tenant's address that nobody has signed in with."""
        made = Browser(self.base, self.stack.home.authority)
        self.opened.append(made)
        return made

    def sign_in(self, member: Member) -> Browser:
        """A browser in which this member has passed both factors at the gateway."""
        browser = self.browser()
        given = {"login": member.login, "password": member.password, "code": member.code()}
        browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base}).expect(200)
        return browser

    def command(self, *words: str, typed: str = "", code: int = 0) -> str:
        """Run a command of crmgate for this tenant with what somebody types; what it prints."""
        told = ["--tenant", self.tenant, "--config", str(self.stack.home.settings_file)]
        done = CliRunner().invoke(command_line(), [*words, *told], input=typed)
        assert done.exit_code == code, done.output
        return done.output

    def close(self) -> None:
        """Close every browser."""
        while self.opened:
            self.opened.pop().close()
