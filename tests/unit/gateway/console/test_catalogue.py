"""Sentences: every one is translated, with the same placeholders, and the catalogue is up to date."""

import re
from string import Formatter

import pytest
from babel.messages.pofile import read_po

from gateway import refusal
from gateway.access.pages import REASONS as SIGN_IN_REASONS
from gateway.console import words
from gateway.console.catalogue import sentences, updated
from gateway.console.language import LOCALE_FOLDER, choose, read_languages

CATALOGUES = sorted(LOCALE_FOLDER.glob("*/LC_MESSAGES/crmgate.po"))
PLACEHOLDER = re.compile(r"%\([a-z]+\)s")


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_every_sentence_is_translated_with_the_same_placeholders(path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parent.parent.name)
    assert not catalogue.fuzzy
    for message in catalogue:
        if not message.id:
            continue
        source = message.id if isinstance(message.id, str) else message.id[-1]
        translated = [message.string] if isinstance(message.string, str) else list(message.string)
        assert not message.fuzzy, source
        for text in translated:
            assert text.strip(), source
            assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(source)), source


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_collecting_the_sentences_again_changes_nothing(path) -> None:
    assert updated(path) == path.read_bytes()


def test_the_languages_are_english_and_simplified_chinese() -> None:
    assert list(read_languages()) == ["en", "zh_Hans"]


def test_every_reason_has_words_and_all_words_are_in_the_catalogue() -> None:
    known = {message.id if isinstance(message.id, str) else message.id[0] for message in sentences() if message.id}
    for reason in [each.id for each in refusal.ALL] + list(SIGN_IN_REASONS.values()):
        assert reason in words.REASONS, reason
    for text in [*words.REASONS.values(), *words.KINDS.values(), *words.FORMS.values(), *words.DATA_KINDS.values()]:
        assert text in known, text


def test_an_id_nobody_has_words_for_is_shown_as_it_is() -> None:
    for shown in (words.reason_words, words.kind_words, words.role_words, words.data_kind_words, words.form_words):
        assert shown("something-new", str) == "something-new"
    assert words.role_purpose("their-own-role", str) == ""


@pytest.mark.parametrize(
    ("wishes", "chosen"),
    [
        ({}, "en"),
        ({"accept": "zh-CN,zh;q=0.9,en;q=0.8"}, "zh_Hans"),
        ({"accept": "en;q=0.2, zh-Hans;q=0.9"}, "zh_Hans"),
        ({"accept": "zh;q=0, en"}, "en"),
        ({"accept": "de-DE,de"}, "en"),
        ({"accept": "zh;q=x,,;;q=1,*"}, "en"),
        ({"accept": "x" * 100_000}, "en"),
        ({"accept": "zh", "person": "en"}, "en"),
        ({"person": "en", "cookie": "zh_Hans"}, "zh_Hans"),
        ({"cookie": "zh_Hans", "query": "en"}, "en"),
        ({"query": "../../etc", "cookie": "xx", "person": ""}, "en"),
    ],
)
def test_the_nearest_wish_wins(wishes, chosen) -> None:
    assert choose(read_languages(), **wishes).id == chosen


def test_no_template_joins_parts_of_sentences_by_formatting() -> None:
    for message in sentences():
        if isinstance(message.id, str):
            assert not [part for part in Formatter().parse(message.id.replace("%(", "")) if part[1]], message.id
