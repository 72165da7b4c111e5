"""Masks of values that still stand clear in the CRM: posted back as they were shown, they become what stands there.

While a CRM is being migrated, people who may not see everything are shown masks of clear values, which belong to
nothing in the vault. The CRM itself is asked what it shows them at the address they write to (gateway.showing); a field
that was posted just as that answer would be shown now stays what it is in the CRM. Nothing of it enters the vault, so
no right, origin or surrogate comes of it. What is compared is the mask that the person sees in this very field of this
very record, so it tells nobody anything; a field that the CRM does not tell, tells twice, or that reads otherwise is
left to the rules for masks, which refuse.
"""

from collections.abc import Callable, Sequence

from gateway.body import media
from gateway.body.fault import BodyFault
from gateway.body.layer import Net
from gateway.exchange import Exchange
from gateway.reveal import PLACEHOLDER, net_of, replaced
from gateway.showing import ShownPage
from gateway.standing import note_held
from gateway.treatment import Target, Work
from gateway.unchanged import shown_text
from gateway.unprotected import Unprotected
from kms.scanner import Scanner
from policies.profile import Profile
from privacy import mask


class Covered:
    """Tells what is under the masks of a write; one per process. profile: the current one of a tenant."""

    def __init__(
        self, unprotected: Unprotected, scanner: Callable[[str], Scanner], profile: Callable[[str], Profile]
    ) -> None:
        self._unprotected = unprotected
        self._profile = profile
        self._scanner = scanner

    async def put_back(self, work: Work, targets: Sequence[Target]) -> Sequence[Target]:
        """Let what was posted as it is shown stay what the CRM holds; the other targets."""
        covered = await self._covered(work.exchange, targets, work.mask_char)
        for target, held in covered:
            target.leaf.new = held
            if target.spec is not None:
                note_held(work.exchange, work.stands(target, target.spec), None, alone=target.alone)
        done = {id(target) for target, _ in covered}
        return [one for one in targets if id(one) not in done] if done else targets

    async def _covered(self, exchange: Exchange, targets: Sequence[Target], mask_char: str) -> list[tuple[Target, str]]:
        showing = exchange.showing
        if showing is None or not self._unprotected.watches(exchange):
            return []
        masks = [one for one in targets if one.path is not None and _is_mask(one.leaf.text)]
        page = await showing.page() if masks else None
        net = self._net(page, mask_char) if page is not None else None
        found: list[tuple[Target, str]] = []
        for target in masks if net is not None else ():
            held = await shown_text(exchange, target.path)
            if net is not None and held is not None and self._reads(exchange.tenant, net, held, target.leaf.text):
                found.append((target, held))
        return found

    def _net(self, page: ShownPage, mask_char: str) -> Net | None:
        """What hides clear values in an answer from the person who asked; None: nothing is hidden, or nobody knows."""
        asked, kind = page.exchange, media.sniff(page.content_type, None, page.body)
        if asked.decision is None:
            return None
        try:
            charset = media.charset_of(page.content_type, kind, page.body)
            self._unprotected.look(asked, self._profile(asked.tenant), kind, page.body, charset)
        except BodyFault:
            return None
        return net_of(asked, asked.decision.view, mask_char)

    def _reads(self, tenant: str, net: Net, held: str, posted: str) -> bool:
        """Whether a clear text of the CRM is shown just like this, with something of it hidden."""
        if self._scanner(tenant).find(held.encode("utf-8", "surrogatepass")):
            return False  # what the vault knows of it decides
        shown = replaced(held, net(held))
        return shown != held and _even(shown) == _even(posted)


def _is_mask(text: str) -> bool:
    return PLACEHOLDER in text or mask.looks_masked(text)


def _even(text: str) -> str:
    """A text as forms leave it: kinds of line breaks and white space around it do not count."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
