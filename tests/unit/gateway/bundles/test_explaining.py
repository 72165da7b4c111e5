"""What explain asks: every right, of records about which something is known."""

from gateway.bundles.explaining import questions
from policies.enforcer import Enforcer
from policies.operation import FieldSpec
from policies.reasons import ruling
from policies.taxonomy import Kind

FIELDS = {("contact", "phone"): FieldSpec("contact", "phone", Kind.PHONE, 50)}
ROWS = """p, a, *, field:contact.phone, clear, other, where=contact.region:north
p, a, *, field:contact.phone, export, any, deny
p, a, *, field:contact.phone, reveal, own
"""


def test_exports_revealing_and_facts_are_asked_and_explained() -> None:
    bundle = Enforcer(FIELDS).load(ROWS)
    told = {}
    for one in questions("contact.phone", "read", FIELDS, (), {"contact.region": ("north",)}):
        found = ruling(bundle, ROWS, "t", ["a"], one.obj, one.right, one.situation)
        told[str(one)] = (found.allowed, [reason.line for reason in found.reasons])
    phone = "field:contact.phone#phone"
    assert told == {
        f"{phone} clear own contact.region=north": (False, []),
        f"{phone} masked own contact.region=north": (False, []),
        f"{phone} export own contact.region=north": (False, [2]),
        f"{phone} reveal own contact.region=north": (True, [3]),
        f"{phone} clear other contact.region=north": (True, [1]),
        f"{phone} masked other contact.region=north": (True, [1]),
        f"{phone} export other contact.region=north": (False, [2]),
        f"{phone} reveal other contact.region=north": (False, []),
        f"{phone} write contact.region=north": (False, []),
        f"{phone} search contact.region=north": (False, []),
    }
