"""A known name in prose is always among the candidates, and the choice among hits never breaks a full name."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.people import make_organisations, make_people
from privacy.known import CANDIDATES_MAX, choose, full_names, known_candidates


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("昨天和张伟见面", "张伟"),
        ("昨天和欧阳娜娜见面", "欧阳娜娜"),
        ("张 伟来电", "张 伟"),
        ("和张 伟明谈", "张 伟明"),
        ("与阿卜杜拉·买买提签约", "阿卜杜拉·买买提"),
        ("我们和北京华夏科技有限公司签约", "北京华夏科技有限公司"),
        ("𠮷田貴来电", "𠮷田貴"),
        ("Met John Smith yesterday", "John Smith"),
        ("Met John Smith.", "Smith"),
        ("Dr. Jean-Pierre O'Neill called", "Jean-Pierre O'Neill"),
        ("by Ludwig van Beethoven and", "Ludwig van Beethoven"),
        ("the van Gogh family", "van Gogh"),
        ("Smith, John", "Smith, John"),
        ("请找John Smith谈", "John Smith"),
        ("Анна Иванова звонила", "Анна Иванова"),
        ("اتصل محمد علي اليوم", "محمد علي"),
        ("Lucía Núñez-Perelost", "Lucía Núñez-Perelost"),
        ("Zhang\nWei", "Zhang\nWei"),
        ('the "acme trading corp" order', "acme trading corp"),
        ("公司“小张的店铺和朋友”送货", "小张的店铺和朋友"),
        ("J. R. Smith wrote", "J. R. Smith"),
        ("发票寄北京市朝阳区江柏路492号8栋1756室。", "北京市朝阳区江柏路492号8栋1756室"),
        ("他住在建国路88号SOHO现代城A座", "建国路88号SOHO现代城A座"),
        ("send it to 327 rue Perperlan, 87645 Paris.", "327 rue Perperlan, 87645 Paris"),
        ("lives at Quinstraße 392, 74987 München now", "Quinstraße 392, 74987 München"),
        ("ul. Kelnorska 293/71, 39322 Łódź", "ul. Kelnorska 293/71, 39322 Łódź"),
        ("at Calle Findorlan 222, 76º, 35443 Sevilla,", "Calle Findorlan 222, 76º, 35443 Sevilla"),
        ("地址：中山路一号院东门\n电话", "中山路一号院东门"),
        ("Address: The Old Mill, Ashby\nPhone", "The Old Mill, Ashby"),
    ],
)
def test_a_name_in_prose_is_a_candidate_at_its_place(text: str, name: str) -> None:
    assert (text.index(name), text.index(name) + len(name), name) in known_candidates(text)


@pytest.mark.parametrize("text", ["", "a", "张", "A b c", "13800138000", "lower case words only", "，。！", "A. B"])
def test_single_characters_and_plain_words_are_no_candidates(text: str) -> None:
    assert all(len(name) >= 2 for _, _, name in known_candidates(text))
    assert "lower" not in [name for _, _, name in known_candidates(text)]


def test_every_synthetic_name_and_address_in_notes_is_a_candidate() -> None:
    for person in make_people(random.Random(9), 400):
        candidates = {name for _, _, name in known_candidates(person.notes)}
        for value in (person.full_name, person.address):
            assert value in candidates or value not in person.notes
    for organisation in make_organisations(random.Random(9), 100):
        assert organisation.name in [name for _, _, name in known_candidates(organisation.notes)]


@given(st.text(max_size=200))
def test_candidates_are_true_slices_without_repetition(text: str) -> None:
    candidates = known_candidates(text)
    assert all(text[start:end] == name and len(name) >= 2 for start, end, name in candidates)
    assert len({candidate[:2] for candidate in candidates}) == len(candidates)


def test_the_number_of_candidates_is_bounded_and_likely_names_go_first() -> None:
    assert len(known_candidates("的一是不了在人有我他这" * 3_000)) == CANDIDATES_MAX
    assert (32_000, 32_003, "张小明") in known_candidates("的一是不了在有我他这" * 3_200 + "张小明")
    assert len(known_candidates("John Smith " * 100, limit=10)) == 10


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=30))
def test_chosen_hits_are_ordered_and_apart_and_leave_no_gap(pairs: list[tuple[int, int]]) -> None:
    hits = [(start, start + length, "x" * length) for start, length in pairs]
    chosen = choose(hits)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(chosen))
    for hit in hits:
        assert any(hit[0] < other[1] and other[0] < hit[1] for other in chosen)


def test_the_longest_hit_wins_and_then_the_leftmost() -> None:
    assert choose([(0, 2, "张伟"), (0, 3, "张伟明"), (1, 3, "伟明")]) == [(0, 3, "张伟明")]
    assert choose([(0, 2, "ab"), (1, 3, "bc")]) == [(0, 2, "ab")]
    assert choose([(0, 2, "ab"), (1, 5, "bcde"), (5, 7, "fg")]) == [(1, 5, "bcde"), (5, 7, "fg")]
    assert choose([]) == []


def test_full_names_are_known_in_chinese_and_western_order() -> None:
    assert full_names("伟明", "张")[:2] == ("张伟明", "伟明 张")
