"""Words for reviews: what may be decided, and why a step was not done."""

from collections.abc import Mapping

from gateway.console.words import N_

DECISIONS: Mapping[str, str] = {"keep": N_("Keep"), "remove": N_("Remove")}

PROBLEMS: Mapping[str, str] = {
    "review-open": N_("A round is open already. Close it first."),
    "review-state": N_("The round was closed, or this was done already. Look at it again."),
    "own-item": N_("Nobody decides about a role of their own. Ask a colleague to do it."),
    "policy-text": N_("The draft would be too long."),
}
