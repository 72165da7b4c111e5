"""The way out for numbers that stay digits in the CRM (form `ff1`): found by place, shown by rights over its record.

Where a place shows no record, only rights over the kind in the whole tenant open. Digits that we did not make stand in
clear, whatever their check digit says, and are shown as far as the person may see them. Elsewhere sealed digits are
digits without meaning.
"""

from collections.abc import Iterable

from gateway.digits import digit_field
from gateway.exchange import Exchange
from gateway.places import Spot
from gateway.sight import Sight
from gateway.verdict import PLACEHOLDER
from kms.digits import Digits
from policies.decision import Form
from policies.operation import FieldSpec, StorageForm
from privacy import mask


class DigitSight:
    """Says what stands at places of such fields; one per process."""

    def __init__(self, digits: Digits, sight: Sight) -> None:
        self._digits = digits
        self._sight = sight

    async def load(self, exchange: Exchange, spots: Iterable[Spot]) -> None:
        """Open what stands at these places, with one question a field; raises KeysUnavailable, StoreUnavailable."""
        wanted: dict[FieldSpec, set[str]] = {}
        for spot in spots:
            if spot.spec.form is StorageForm.FF1:
                wanted.setdefault(spot.spec, set()).add(spot.text.strip())
        for spec, texts in wanted.items():
            opened = await self._digits.open(exchange.tenant, digit_field(spec), texts)
            if exchange.numbers is None:
                exchange.numbers = {}
            exchange.numbers |= {(spec.entity, spec.name, text): clear for text, clear in opened.items()}

    async def shown(self, exchange: Exchange, spot: Spot, mask_char: str) -> str | None:
        """What a place shows instead; None: what stands there. Raises StoreUnavailable."""
        spec, text = spot.spec, spot.text.strip()
        if not text:
            return None
        typed = exchange.retyped.get((spec.entity, spec.name))
        if typed is not None and spot.posted:
            return typed  # what this person typed in this very request comes back in the form
        forms = [await self._sight.form_at(exchange, spec, one) for one in spot.records or (None,)]
        form = min(forms)
        counted = (spec.entity, spec.name, spot.records[0] if len(spot.records) == 1 else "", form.name)
        exchange.shown[counted] = exchange.shown.get(counted, 0) + 1
        number = (exchange.numbers or {}).get((spec.entity, spec.name, text))
        if form is Form.CLEAR:
            return number
        if number is not None and spot.posted:
            return None
        return mask.mask(str(spec.kind), number or text, char=mask_char) if form is Form.MASKED else PLACEHOLDER
