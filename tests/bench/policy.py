"""`python -m tests.bench.policy`: ten thousand rules: rebuild, and a compiled decision beside Casbin's enforce()."""

import sys
import timeit

from policies.enforcer import Bundle, Enforcer
from policies.operation import Action, FieldSpec, Operation
from policies.taxonomy import Kind

RULES = 10_000
FLOOR_US, GOAL_US = 10.0, 1.0
CALLS, ASKED = 100_000, 3
ROLES, TENANT = ("reader",), "main"
READ = Operation("contact.read", "contact", Action.READ)
FIELDS = (FieldSpec("contact", "phone", Kind.PHONE, 50), FieldSpec("contact", "name", Kind.NAME, 50))


def rows() -> str:
    """Ten thousand rows that all are the reader's: operations, fields, denials, one inherited role."""
    lines = ["g, reader, clerk, *", "p, clerk, *, op:contact.read, read, any", "p, clerk, *, kind:phone, masked, own"]
    for number in range(RULES - len(lines)):
        effect = ", deny" if number % 10 == 0 else ""
        lines.append(f"p, reader, *, op:thing{number}.read, read, any{effect}")
    return "\n".join(lines)


def _criteria() -> None:
    """What asking about one record costs with rows that hold for some records, and without them."""
    plain = "p, reader, *, field:contact.*, masked, any\n"
    limited = plain + "".join(
        f"p, reader, *, field:contact.*, clear, any, where=contact.region:r{number}\n" for number in range(20)
    )
    facts = {"contact.region": ("r7",)}
    for name, text in (("without criteria", plain), ("with 20 of them ", limited)):
        bundle = Enforcer(FIELDS, (READ.id,)).load(text)
        view = bundle.view(TENANT, ROLES)
        first_ms = timeit.timeit(lambda view=view: view.of(facts), number=1) * 1e3  # type: ignore[misc]
        each_us = min(timeit.repeat(lambda view=view: view.of(facts), number=10_000, repeat=5)) / 10_000 * 1e6  # type: ignore[misc]
        print(f"a record {name} {each_us:.3f} µs, the first of its like {first_ms:.2f} ms")


def main() -> int:
    """Print the figures; 1 when a decision costs more than the floor or the two do not agree."""
    text = rows()
    enforcer = Enforcer(FIELDS, (READ.id,))
    built: list[Bundle] = []

    def rebuild() -> None:
        bundle = enforcer.load(text, eager={TENANT: [ROLES]})
        built.append(bundle)

    rebuild_s = min(timeit.repeat(rebuild, number=1, repeat=3))
    bundle = built[-1]
    decided = bundle.decide(TENANT, ROLES, READ).allowed
    asked = bundle.enforce(TENANT, ROLES, f"op:{READ.id}", READ.action.value, "any")
    compiled_us = min(timeit.repeat(lambda: bundle.decide(TENANT, ROLES, READ), number=CALLS, repeat=5)) / CALLS * 1e6
    casbin_us = (
        min(
            timeit.repeat(
                lambda: bundle.enforce(TENANT, ROLES, "op:contact.read", "read", "any"), number=ASKED, repeat=3
            )
        )
        / ASKED
        * 1e6
    )
    print(f"rules                    {RULES}")
    print(f"rebuild (load + compile) {rebuild_s:.2f} s, off the request path")
    print(f"compiled decision        {compiled_us:.3f} µs (floor {FLOOR_US:g}, goal {GOAL_US:g})")
    print(f"pycasbin enforce()       {casbin_us:.0f} µs, {casbin_us / compiled_us:.0f} times as much")
    if decided is not asked or not decided:
        print("the two do not agree")
        return 1
    if compiled_us > FLOOR_US:
        print("below the floor")
        return 1
    _criteria()
    print("goal met" if compiled_us <= GOAL_US else "floor met, goal missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
