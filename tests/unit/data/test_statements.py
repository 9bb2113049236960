"""Which entities a text or a set of types names."""

from __future__ import annotations

import pytest

from harness.data.statements import Statements, named_in_texts, named_in_types, words

NAMES = (
    "New York City",
    "New York",
    "Film",
    "Straße",
    "Mary O'Hara",
    "U2",
    "1984",
    "Crete (island)",
)


def _named(statements: Statements, entity: int) -> set[int]:
    return {
        int(key) % statements.n_entities
        for key in statements.keys
        if key // statements.n_entities == entity
    }


def _in_text(text: str, *, of: int = 2, names: tuple[str, ...] = NAMES) -> set[str]:
    texts = [text if entity == of else "" for entity in range(len(names))]
    return {names[other] for other in _named(named_in_texts(texts, names), of)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("born in NEW YORK, in winter", {"New York"}),
        ("the new york city subway", {"New York", "New York City"}),
        ("New-York", {"New York"}),
        ("\uff2e\uff45\uff57 York", {"New York"}),  # full width: NFKC makes it ASCII
        ("die STRASSE", {"Straße"}),
        ("by Mary O'Hara's sister", {"Mary O'Hara"}),
        ("new yorker", set()),
        ("york, new", set()),
        ("", set()),
    ],
)
def test_a_name_counts_as_a_whole_sequence_of_words(text: str, named: set[str]) -> None:
    assert _in_text(text) == named


def test_names_of_a_letter_or_two_and_of_digits_do_not_count() -> None:
    assert _in_text("U2 played in 1984") == set()
    statements = named_in_texts([""] * len(NAMES), NAMES)
    assert [n for n, able in zip(NAMES, statements.nameable, strict=True) if not able] == [
        "U2",
        "1984",
    ]


def test_a_qualifier_in_parentheses_may_be_missing() -> None:
    assert _in_text("the coast of Crete") == _in_text("Crete (island) again") == {"Crete (island)"}


def test_a_mention_inside_the_entitys_own_name_says_nothing_of_another() -> None:
    text = "New York City is a city"
    assert _in_text(text, of=0) == set()
    assert _in_text(f"{text} in New York state", of=0) == {"New York"}
    # A longer name that holds the entity's own is another one.
    assert _in_text(text, of=1) == {"New York City"}


def test_where_texts_are_names_proper_parts_of_them_count() -> None:
    statements = named_in_texts(NAMES, NAMES, of_names=True)
    assert _named(statements, 0) == {1}
    assert _named(statements, 1) == set()


def test_entities_of_one_name_do_not_name_each_other() -> None:
    names = ("Victoria", "Victoria", "Victoria (lake)")
    assert not len(named_in_texts(names, names, of_names=True).keys)
    assert not len(named_in_texts(["Victoria is a town"] * 3, names).keys)


def test_chinese_names_are_found_without_blanks_around_them() -> None:
    names = ("厦门大学", "厦门", "大学生", "学")
    statements = named_in_texts(["位于厦门的学校", "", "厦门大学的学生", ""], names)
    assert _named(statements, 0) == {1}
    assert _named(statements, 2) == {0, 1}  # one character does not count
    assert words("厦门 Xiamen") == ("厦", "门", "xiamen")


def test_an_entity_without_text_is_told_from_one_that_names_nobody() -> None:
    statements = named_in_texts(["something", " ", ""], ("aaa", "bbb", "ccc"))
    assert statements.speakers.tolist() == [True, False, False]


WIKIDATA = "http://www.wikidata.org/entity/"


def test_types_are_compared_with_names_word_by_word() -> None:
    names = ("Thing", "Music genre", "Film", "Q")
    types = [{"dbo:MusicGenre", "joie:film", "Films"}, set(), {"dbo:Film"}, set()]
    statements = named_in_types(types, names)
    assert _named(statements, 0) == {1, 2}
    assert _named(statements, 2) == set()  # itself
    assert statements.speakers.tolist() == [True, False, True, False]


def test_identifiers_decide_where_the_graph_has_them_and_labels_elsewhere() -> None:
    names = ("My Darling Clementine", "film", "Film (band)")
    identifiers = tuple(WIKIDATA + q for q in ("Q1", "Q11424", "Q99"))
    types = [{"wd:Q11424:film"}, set(), set()]
    assert _named(named_in_types(types, names, identifiers), 0) == {1}
    assert _named(named_in_types(types, names, ("a", "b", "c")), 0) == {1, 2}


def test_a_text_per_entity_is_needed() -> None:
    with pytest.raises(ValueError, match="2 texts for 3 entities"):
        named_in_texts(["", ""], ("a", "b", "c"))
