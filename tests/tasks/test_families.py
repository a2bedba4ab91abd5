import pytest

from metatoken.errors import ArgumentError
from metatoken.tasks.families import families, family_from

GOOD = {
    "answer": "text",
    "column": "summary",
    "questions": [
        {"id": "a", "seen": False, "text": "Late {item}:"},
        {"id": "b", "seen": True, "text": "[{title}, ]{user} on {item}:"},
    ],
}


def test_every_family_has_seen_and_unseen_questions_and_distinct_ids() -> None:
    known = families()
    assert {"rating", "explanation", "review_summary", "review_rating", "review_text"} <= set(known)
    ids = [question.id for family in known.values() for question in family.questions]
    assert len(ids) == len(set(ids))
    for family in known.values():
        assert family.questions[0].seen
        assert not family.questions[-1].seen
        assert family.find(family.questions[0].id) is family.questions[0]


def test_pieces_keep_the_order_and_leave_empty_fields_out() -> None:
    question = family_from("t", GOOD).questions[0]
    assert question.pieces(frozenset({"user", "item", "title"})) == (
        ("slot", "title"), ("words", ", "), ("slot", "user"), ("words", " on "), ("slot", "item"), ("words", ":"),
    )  # fmt: skip
    assert question.pieces(frozenset({"user", "item"}))[0] == ("slot", "user")
    with pytest.raises(ArgumentError, match="cannot do without user"):
        question.pieces(frozenset({"item"}))


def test_columns_are_those_that_every_question_needs() -> None:
    assert families()["review_summary"].columns == {"review", "summary"}
    assert families()["explanation"].columns == {"explanation"}
    assert families()["rating"].columns == {"rating"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "song"}, "answer is rating or text"),
        ({"column": "colour"}, "column one of"),
        ({"size": 3}, "expected the keys"),
        ({"questions": [{"id": "a", "seen": False, "text": "x"}]}, "a seen question"),
        ({"questions": [{"id": "a", "seen": True, "text": "x"}] * 2}, "distinct ids"),
        ({"questions": [{"id": "a", "seen": True, "text": "{price}"}]}, "slots are"),
        ({"questions": [{"id": "a", "seen": True, "text": "so: {summary}"}]}, "tells the answer"),
    ],
)
def test_broken_descriptions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        family_from("t", GOOD | change)


def test_an_unknown_question_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no question"):
        families()["rating"].find("rating-99")
