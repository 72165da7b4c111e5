"""The profile of Creme with the registration number of a company (SIRET) as digits that stay digits."""

from kms.surrogate import luhn_digit
from policies.enforcer import DEFAULT_POLICY

# Who sees own and who sees all, who may write; the shipped roles see numbers of this kind in full or not at all.
ROLES = """
p, registry, *, kind:*, masked, any
p, registry, *, kind:*, write, any
p, registry, *, kind:*, search, any
p, registry, *, op:*, *, any
p, owner, *, kind:name, clear, any
p, owner, *, field:organisation.*#id_card, clear, own
p, owner, *, kind:*, write, any
p, owner, *, op:*, *, any
p, reader, *, field:organisation.*#id_card, masked, any
p, reader, *, kind:name, clear, any
p, reader, *, op:*, *, any
"""


def siret(number: int) -> str:
    """A number of 14 digits with the right check digit; synthetic."""
    body = f"{number:013d}"
    return body + luhn_digit(body)


def numbered_policy() -> str:
    """The shipped policy and roles that see more or less of numbers."""
    return DEFAULT_POLICY.read_text(encoding="utf-8") + ROLES


def numbered_profile() -> str:
    """The shipped profile with that field as digits, and the places where pages show it."""
    text = (DEFAULT_POLICY.parent / "profiles" / "creme.yaml").read_text(encoding="utf-8")
    for old, new in (
        (
            "  organisation:\n    name: {kind: name, max: 200",
            """  organisation:
    siret: {kind: id_card, form: ff1, digits: [14], check: luhn, max: 100, labels: [SIRET code, SIRET, Code SIRET]}
    name: {kind: name, max: 200""",
        ),
        (
            "\nshown:\n",
            """
shown:
  - field: organisation.siret
    pages: [organisation.read, record.read]
    css: "[data-key=regular_field-siret] .brick-tile-value"
  - {field: organisation.siret, pages: ["organisation.*"], css: "input[name=siret]", attribute: value}
  - field: organisation.siret
    pages: [organisation.list, record.popup_list]
    row: {css: tr.lv-row, id: "input[name=entity_id]", attribute: value}
    css: "td[name=regular_field-siret] .lv-cell-value"
""",
        ),
        (
            '        "td[name=regular_field-name]": .name\n',
            '        "td[name=regular_field-name]": .name\n        "td[name=regular_field-siret]": .siret\n'
            '        "[data-key=regular_field-siret] .brick-tile-value": .siret\n',
        ),
        (
            "        name: .name\n        phone: .phone\n",
            "        name: .name\n        siret: .siret\n        phone: .phone\n",
        ),
        (
            "  organisation:\n    - {select: name, field: .name}\n",
            "  organisation:\n    - {select: name, field: .name}\n    - {select: siret, field: .siret}\n",
        ),
        (
            "  unknown_type:\n    - {select: name, field: organisation.name}\n",
            "  unknown_type:\n    - {select: name, field: organisation.name}\n"
            "    - {select: siret, field: organisation.siret}\n",
        ),
        (
            '    - {select: "name_[1m2]*", field: organisation.name}\n',
            '    - {select: "name_[1m2]*", field: organisation.name}\n'
            '    - {select: "siret_[1m2]*", field: organisation.siret}\n',
        ),
        (
            "    - {select: name_defval, field: organisation.name}\n",
            "    - {select: name_defval, field: organisation.name}\n"
            "    - {select: siret_defval, field: organisation.siret}\n",
        ),
        (
            "    - {where: query, select: search-regular_field-name, field: organisation.name, compare: contains,"
            " lookup: name}\n",
            "    - {where: query, select: search-regular_field-name, field: organisation.name, compare: contains,"
            " lookup: name}\n    - {where: query, select: search-regular_field-siret, field: organisation.siret}\n",
        ),
        (
            "    - {where: form, select: search-regular_field-name, field: organisation.name, compare: contains,"
            " lookup: name}\n",
            "    - {where: form, select: search-regular_field-name, field: organisation.name, compare: contains,"
            " lookup: name}\n    - {where: form, select: search-regular_field-siret, field: organisation.siret}\n",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
