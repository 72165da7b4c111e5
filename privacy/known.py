"""Substrings of running text that may be a name or an address that the vault already knows.

Names and addresses have no shape, so nothing is recognised here: candidates are cut out in linear time and the caller
looks each one up by its keyed term, exact case. Bounded, the likely ones first; single characters are never candidates.
What nobody declared stays unfound.
"""

import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from itertools import islice

CANDIDATES_MAX = 20_000
HAN_GRAMS = (4, 3, 2)  # full names in Chinese; two to four characters cover nearly all
HAN_RUN_MAX = 12  # longer whole runs: organisations, transliterated names
WORDS_MAX = 4
QUOTED_MAX = 60  # characters of a quoted phrase

PLACE_MAX = 120  # characters of an address
PLACE_TOKENS = (2, 14)

Candidate = tuple[int, int, str]

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN_RUN = re.compile(rf"[{_HAN}\u3007](?:[{_HAN}\u3007\u00b7\u30fb\u2022])*[{_HAN}\u3007]")
# A word of an alphabetic script; apostrophes, hyphens and middle dots only inside, a full stop after an initial.
_LETTER = rf"(?:(?![{_HAN}\u3007])[^\W\d_])[\u0300-\u036f\u064b-\u065f]*"
_WORD = re.compile(rf"{_LETTER}(?:['\u2019\u02bc\u00b7\u2010-](?={_LETTER})|{_LETTER})*\.?")
_GAP = re.compile(r"[ \t\u00a0]{1,2}|, ?|\r?\n[ \t]?")
_PARTICLES = frozenset(
    (
        *("da", "de", "del", "della", "den", "der", "di", "do", "dos", "du", "el", "al", "bin", "ibn", "bint", "la"),
        *("le", "ten", "ter", "van", "von", "zu", "zur", "y", "e", "d", "s", "st", "af", "av", "and", "of"),
    )
)
# The usual surnames and the first halves of compound ones: their candidates go first when a text has too many.
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹"
    "熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文施洪辛柯庄葛温牛樊俞安季鲁倪毕焦左裴聂章岳齐梅凌童耿华项盛"
    "欧司上诸东皇尉公慕令宇长轩夏端百呼南独赫澹申闻鲜拓西濮淳单張劉陳楊黃趙吳孫馬羅鄭謝許韓馮鄧蕭葉蘇呂盧鍾譚陸賈鄒龍賀顧龔萬錢戴嚴湯溫魯"
    "祝蓝闵麻强舒路娄危颜梁柳殷邢翁祁关宁房米甘解管迟阮宫兰翟游费纪阎卓苗尤涂詹滕池桂齐"
)
_ORGANISATION_END = re.compile(
    "公司|集团|集團|工厂|银行|銀行|医院|醫院|学校|大学|中学|小学|中心|事务所|工作室|研究所|研究院|酒店|饭店|商行|合作社|基金会|协会"
)
_ORGANISATION_MAX = 24
_DOTTED_MAX = 8
_DOTS = "\u00b7\u30fb\u2022"
_SPACED = re.compile(rf"([{_HAN}]{{1,2}})[ \u3000](?=([{_HAN}]{{1,3}}))")
_QUOTED = re.compile(
    rf"\"([^\"\n]{{2,{QUOTED_MAX}}})\"|\u201c([^\u201d\n]{{2,{QUOTED_MAX}}})\u201d|\u300a([^\u300b\n]{{2,{QUOTED_MAX}}})\u300b"
    rf"|\u300c([^\u300d\n]{{2,{QUOTED_MAX}}})\u300d|\u00ab\s?([^\u00bb\n]{{2,{QUOTED_MAX}}}?)\s?\u00bb"
)


# Chinese addresses end with what the number before it counts; letters and digits may stand inside.
_HAN_PLACE_RUN = re.compile(rf"[{_HAN}0-9A-Za-z\uff10-\uff19#()\uff08\uff09\-\u2014]{{4,}}")
_HAN_PLACE_END = re.compile(
    r"[号號室栋棟幢座楼樓层層房弄村组組院街路道巷区區县縣市镇鎮乡鄉]|(?<=[0-9A-Za-z])(?![0-9A-Za-z])"
)
_HAN_PLACE_MAX = 60
# Elsewhere: words and numbers in a row, one of them a number.
_TOKEN = re.compile(rf"(?:(?![{_HAN}])[^\W_])(?:(?![{_HAN}])[\w\u0300-\u036f'\u2019])*[.\u00ba\u00aa]?")
_TOKEN_GAP = re.compile(r"[ ,/#\-\u2013\u00a0]{1,3}|,?\r?\n")
_LINE = re.compile(r"[^\r\n]+")
_LABEL_END = re.compile(r"[:\uff1a] ?")


def known_candidates(text: str, limit: int = CANDIDATES_MAX) -> list[Candidate]:
    """Candidate (start, end, text) spans, at most `limit`, likely names first; they overlap freely.

    CJK runs give every 2 to 4 characters, whole runs up to 12 and what ends like an organisation; alphabetic scripts
    give runs of 1 to 4 words that begin with a capital (any word where the script has no case); quoted phrases are
    given whole. Addresses: lines, what follows a label, and words around numbers.
    """
    return list(islice(_unique(_all(text)), limit))


def choose(hits: Iterable[Candidate]) -> list[Candidate]:
    """Non-overlapping hits in order of place: the longest wins, of equally long ones the leftmost.

    So a full name is never broken by a shorter known name inside it or across its edge.
    """
    chosen: list[Candidate] = []
    for hit in sorted(hits, key=lambda hit: (hit[0] - hit[1], hit[0])):
        place = bisect(chosen, hit[0], key=lambda other: other[0])
        if place and chosen[place - 1][1] > hit[0]:
            continue
        if place < len(chosen) and chosen[place][0] < hit[1]:
            continue
        chosen.insert(place, hit)
    return chosen


def _all(text: str) -> Iterator[Candidate]:
    for match in _QUOTED.finditer(text):
        group = match.lastindex or 0
        yield match.start(group), match.end(group), match[group]
    yield from _word_runs(text)
    runs = [] if text.isascii() else [(match.start(), match[0]) for match in _HAN_RUN.finditer(text)]
    yield from _long_han(runs)
    for match in _SPACED.finditer(text):
        for start in range(match.start(1), match.end(1)):
            for end in range(match.start(2) + 1, match.end(2) + 1):
                yield start, end, text[start:end]
    yield from _han_grams(runs, True)
    yield from _lines(text)
    yield from _places(text)
    yield from _han_places(text)
    yield from _han_grams(runs, False)


def _unique(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    seen: set[tuple[int, int]] = set()
    for candidate in candidates:
        if candidate[1] - candidate[0] >= 2 and candidate[:2] not in seen:
            seen.add(candidate[:2])
            yield candidate


def _lines(text: str) -> Iterator[Candidate]:
    """Each line, and each line behind its label, trimmed; an address is often pasted on a line of its own."""
    for line in _LINE.finditer(text):
        starts = [line.start()]
        if label := _LABEL_END.search(text, line.start(), line.end()):
            starts.append(label.end())
        for start in starts:
            value = text[start : line.end()]
            trimmed = value.strip(" \t\u3000.;,\u3002\uff1b\uff0c")
            if trimmed and len(trimmed) <= PLACE_MAX:
                begin = start + value.index(trimmed)
                yield begin, begin + len(trimmed), trimmed


def _places(text: str) -> Iterator[Candidate]:
    """Rows of words and numbers with a number among the first five or the last: `12 rue X, 75001 Paris`."""
    row: list[tuple[int, int, bool]] = []
    for match in _TOKEN.finditer(text):
        if row and not _TOKEN_GAP.fullmatch(text, row[-1][1], match.start()):
            yield from _places_of(row, text)
            row = []
        row.append((match.start(), match.end(), any(map(str.isdecimal, match[0]))))
    yield from _places_of(row, text)


def _places_of(row: list[tuple[int, int, bool]], text: str) -> Iterator[Candidate]:
    fewest, most = PLACE_TOKENS
    for first, (start, _, _) in enumerate(row):
        window = row[first : first + most]
        if not any(number for _, _, number in window[:5]):
            continue
        numbers = 0
        for size, (_, end, number) in enumerate(window, 1):
            numbers += number
            if end - start > PLACE_MAX:
                break
            if numbers and size >= fewest and not text[end - 1].isspace():
                yield start, end, text[start:end]
                if text[end - 1] == ".":
                    yield start, end - 1, text[start : end - 1]


def _han_places(text: str) -> Iterator[Candidate]:
    """Chinese addresses: up to 60 characters in front of a counted unit, from any character on."""
    for match in _HAN_PLACE_RUN.finditer(text):
        run, offset = match[0], match.start()
        if not any(map(str.isdecimal, run)):
            continue
        for unit in _HAN_PLACE_END.finditer(run):
            end = unit.end()
            for start in range(max(0, end - _HAN_PLACE_MAX), end - 3):
                if not run[start].isascii():
                    yield offset + start, offset + end, run[start:end]


def _long_han(runs: list[tuple[int, str]]) -> Iterator[Candidate]:
    """Whole runs, what ends like an organisation, and transliterated names around a middle dot."""
    for offset, run in runs:
        if HAN_GRAMS[0] < len(run) <= HAN_RUN_MAX:
            yield offset, offset + len(run), run
        for match in _ORGANISATION_END.finditer(run):
            for start in range(max(0, match.end() - _ORGANISATION_MAX), match.start()):
                yield offset + start, offset + match.end(), run[start : match.end()]
        for dot in (index for index, char in enumerate(run) if char in _DOTS):
            for start in range(max(0, dot - _DOTTED_MAX), dot):
                for end in range(dot + 2, min(len(run), dot + _DOTTED_MAX + 1) + 1):
                    yield offset + start, offset + end, run[start:end]


def _han_grams(runs: list[tuple[int, str]], likely: bool) -> Iterator[Candidate]:
    for offset, run in runs:
        for start in range(len(run) - 1):
            if (run[start] in _SURNAMES) is likely:
                for size in HAN_GRAMS:
                    gram = run[start : start + size]
                    if len(gram) == size and gram[0] not in _DOTS and gram[-1] not in _DOTS:
                        yield offset + start, offset + start + size, gram


def _word_runs(text: str) -> Iterator[Candidate]:
    """Runs of neighbouring words; a run begins and ends with a name-like word, particles may stand inside."""
    line: list[tuple[int, int, bool]] = []
    end = -1
    for match in _WORD.finditer(text):
        if line and not _GAP.fullmatch(text, end, match.start()):
            yield from _runs_of(line, text)
            line = []
        word = match[0]
        named = not word.islower()  # d'Arcy and scripts without case too
        if named or (line and word in _PARTICLES):
            line.append((match.start(), match.end(), named))
        elif word in _PARTICLES:  # "van Gogh": a surname may begin with one
            line = [(match.start(), match.end(), True)]
        else:
            yield from _runs_of(line, text)
            line = []
        end = match.end()
    yield from _runs_of(line, text)


def _runs_of(line: list[tuple[int, int, bool]], text: str) -> Iterator[Candidate]:
    for first, (start, _, named) in enumerate(line):
        if not named:
            if first + 1 < len(line):
                yield start, line[first + 1][1], text[start : line[first + 1][1]]
            continue
        for _, end, last_named in line[first : first + WORDS_MAX]:
            if not last_named:
                continue
            yield start, end, text[start:end]
            if text[end - 1] == ".":  # the end of a sentence, or an initial
                yield start, end - 1, text[start : end - 1]


def full_names(first: str, last: str) -> tuple[str, ...]:
    """Ways a person's name is written in prose from its two parts, Chinese order without a space first."""
    return (f"{last}{first}", f"{first} {last}", f"{last} {first}", f"{last}, {first}")
