"""Masks of values that still stand clear in the CRM: posted back as they were shown, they become what stands there.

While a CRM is being migrated, people who may not see everything are shown masks of clear values, which belong to
nothing in the vault. The CRM itself is asked what it shows them at the address they write to (gateway.showing); a field
that was posted just as that answer would be shown now stays what it is in the CRM. Nothing of it enters the vault, so
no right, origin or surrogate comes of it. What is compared is the mask that the person sees in this very field of this
very record, so it tells nobody anything; a field that the CRM does not tell, tells twice, or that reads otherwise is
left to the rules for masks, which refuse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.body import media
from gateway.body.fault import BodyFault
from gateway.body.layer import Net
from gateway.placed import Placed
from gateway.reveal import PLACEHOLDER, net_of, replaced
from gateway.showing import ShownPage, text_at
from gateway.standing import note_held
from gateway.treatment import Target, Work
from gateway.unprotected import Unprotected
from kms.scanner import Scanner
from policies.operation import StorageForm
from policies.profile import Profile
from privacy import mask


class Covered:
    """Tells what is under the masks of a write; one per process. profile: the current one of a tenant."""

    def __init__(
        self,
        unprotected: Unprotected,
        placed: Placed,
        scanner: Callable[[str], Scanner],
        profile: Callable[[str], Profile],
    ) -> None:
        self._unprotected = unprotected
        self._placed = placed
        self._profile = profile
        self._scanner = scanner

    async def put_back(self, work: Work, targets: Sequence[Target]) -> Sequence[Target]:
        """Let what was posted as it is shown stay what the CRM holds; the other targets.

        Raises KeysUnavailable, StoreUnavailable.
        """
        showing = work.exchange.showing
        if showing is None or not self._unprotected.watches(work.exchange):
            return targets
        masks = [one for one in targets if one.path is not None and _is_mask(one.leaf.text)]
        page = await showing.page() if masks else None
        view = await self._seen(page, work.mask_char) if page is not None else None
        if page is None or view is None:
            return targets
        done: set[int] = set()
        for target in masks:
            assert target.path is not None
            held = text_at(page.content_type, page.body, target.path)
            if held is None or not self._clear(work.exchange.tenant, held):
                continue
            shown = view.text(target.path)
            if shown is not None and shown != held and _even(shown) == _even(target.leaf.text):
                self._stays(work, target, held)
                done.add(id(target))
        return [one for one in targets if id(one) not in done]

    @staticmethod
    def _stays(work: Work, target: Target, held: str) -> None:
        target.leaf.new = held
        if target.spec is not None and target.spec.form is StorageForm.SURROGATE:
            note_held(work.exchange, work.stands(target, target.spec), None, alone=target.alone)

    async def _seen(self, page: ShownPage, mask_char: str) -> "_View | None":
        """The answer as the person who asked would see it, in the steps of gateway.outward; None: nobody knows."""
        asked, kind = page.exchange, media.sniff(page.content_type, None, page.body)
        if asked.decision is None:
            return None
        profile, charset = self._profile(asked.tenant), media.charset_of(page.content_type, kind, page.body)
        try:
            self._unprotected.look(asked, profile, kind, page.body, charset)
            body = await self._placed.render(asked, profile, kind, charset, page.body)
        except BodyFault:
            return None
        net = net_of(asked, asked.decision.view, mask_char)
        return _View(page.content_type, body, net) if net is not None else None

    def _clear(self, tenant: str, held: str) -> bool:
        """Whether no surrogate stands in a text: what the vault knows of one decides."""
        return not self._scanner(tenant).find(held.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class _View:
    """An answer with its dates hidden, and what hides the rest."""

    content_type: str
    body: bytes = field(repr=False)
    net: Net = field(repr=False)

    def text(self, path: tuple[str, ...]) -> str | None:
        """What a field shows; None where it is not told."""
        text = text_at(self.content_type, self.body, path)
        return None if text is None else replaced(text, self.net(text))


def _is_mask(text: str) -> bool:
    return PLACEHOLDER in text or mask.looks_masked(text)


def _even(text: str) -> str:
    """A text as forms leave it: kinds of line breaks and white space around it do not count."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
