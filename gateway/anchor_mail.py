"""Checkpoints by mail to the auditor: what lies in his mailbox, nobody here can take back."""

from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from audit.anchor import AnchorFailed, Published
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused, Target

_TEXT = """\
Attached is the signed checkpoint of an audit trail: {size} entries. Keep this mail; with it a trail that was cut off,
rolled back or rewritten is found even when database and gateway are lost. Nobody's data is in it.

附件是审计日志的签名检查点：共 {size} 条记录。请保留此邮件；即使数据库和网关都已丢失，凭它也能发现日志被截断、
回滚或改写。邮件中不含任何个人数据。
"""


class MailAnchor:
    """One mail a checkpoint; accepted by the mail server is kept."""

    outside = True

    def __init__(
        self, target: Target, sender: str, address: str, *, every_s: float, now: Callable[[], datetime]
    ) -> None:
        self._target = target
        self._sender = sender
        self._address = address
        self._now = now
        self.every_s = every_s

    @property
    def name(self) -> str:
        """No address: the health page is read by more people than the auditor."""
        return "mail"

    async def keep(self, published: Published) -> None:
        """Send it."""
        try:
            async with self._target.open() as line:
                await line.send(self._sender, self._address, self._letter(published))
        except DeliveryFailed as fault:
            raise AnchorFailed(f"the mail was not taken ({fault.reason})") from None
        except DeliveryRefused as fault:
            raise AnchorFailed(f"the mail was refused ({fault.status})") from None

    def _letter(self, published: Published) -> bytes:
        size = published.checkpoint.size
        letter = EmailMessage(policy=SMTP)
        letter["From"], letter["To"] = self._sender, self._address
        letter["Subject"] = f"crmgate audit checkpoint: {published.tenant}, {size}"
        letter["Date"] = format_datetime(self._now())
        letter["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2])
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(_TEXT.format(size=size), cte="base64")
        letter.add_attachment(
            published.note.encode(), maintype="text", subtype="plain", filename=f"{published.tenant}-{size}.checkpoint"
        )
        return letter.as_bytes()
