import pytest

from metatoken.errors import ArgumentError
from metatoken.tasks.task import Task, find_task, find_template, known_tasks, task_from, tasks_of

GOOD = {
    "kind": "write",
    "column": "summary",
    "templates": [
        {"id": "a", "seen": False, "text": "Late {item}:"},
        {"id": "b", "seen": True, "text": "[{title}, ]{user} on {item}:"},
    ],
}


def test_every_family_has_seen_and_unseen_questions_and_distinct_ids() -> None:
    known = known_tasks()
    assert {"rating", "explanation", "review_summary", "review_rating", "review_text"} <= set(known)
    ids = [template.id for task in known.values() for template in task.templates]
    assert len(ids) == len(set(ids))
    for task in known.values():
        assert task.templates[0].seen
        assert not task.templates[-1].seen
        assert task.find(task.templates[0].id) is task.templates[0]


def test_pieces_keep_the_order_and_leave_empty_fields_out() -> None:
    question = task_from("t", GOOD).templates[0]
    assert question.pieces(frozenset({"user", "item", "title"})) == (
        ("slot", "title"), ("words", ", "), ("slot", "user"), ("words", " on "), ("slot", "item"), ("words", ":"),
    )  # fmt: skip
    assert question.pieces(frozenset({"user", "item"}))[0] == ("slot", "user")
    with pytest.raises(ArgumentError, match="cannot do without user"):
        question.pieces(frozenset({"item"}))


def test_columns_are_those_that_every_question_needs() -> None:
    assert known_tasks()["review_summary"].columns == {"review", "summary"}
    assert known_tasks()["explanation"].columns == {"explanation"}
    assert known_tasks()["rating"].columns == {"rating"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "song"}, "kind is one of rank, rate, write"),
        ({"column": "colour"}, "column is one of"),
        ({"size": 3}, "expected the keys"),
        ({"templates": [{"id": "a", "seen": False, "text": "x"}]}, "a seen template"),
        ({"templates": [{"id": "a", "seen": True, "text": "x"}] * 2}, "distinct ids"),
        ({"templates": [{"id": "a", "seen": True, "text": "{price}"}]}, "slots are"),
        ({"templates": [{"id": "a", "seen": True, "text": "so: {summary}"}]}, "tells the answer"),
    ],
)
def test_broken_descriptions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        task_from("t", GOOD | change)


def test_an_unknown_question_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no template"):
        known_tasks()["rating"].find("rating-99")


@pytest.mark.parametrize("name", ["sequential", "direct"])
def test_ten_seen_and_one_unseen_template_of_a_task_that_ranks(name: str) -> None:
    task = find_task(name)
    assert task.kind == "rank"
    assert len(task.seen) == 10
    assert [template.seen for template in task.templates] == [True] * 10 + [False]
    assert task.scored == (task.templates[0], task.templates[-1])
    assert len({template.text for template in task.templates}) == 11


def test_the_optional_part_of_a_ranking_template_stands_only_with_a_user() -> None:
    template = find_template("seq-1")
    assert template.pieces(frozenset()) == (("words", "Purchases, oldest first; name the next item:"),)
    (_, before), (_, slot), (_, after) = template.pieces(frozenset({"user"}))
    assert before.endswith(" of ")
    assert slot == "user"
    assert after.startswith(", oldest")
    with pytest.raises(ArgumentError, match="cannot do without user"):
        find_template("direct-1").pieces(frozenset())


def test_tasks_are_chosen_by_kind_in_their_order() -> None:
    names = ["explanation", "direct", "rating", "sequential"]
    assert [task.name for task in tasks_of(names, "rank")] == ["direct", "sequential"]
    assert [task.name for task in tasks_of(names, "rate", "write")] == ["explanation", "rating"]
    with pytest.raises(ArgumentError, match="expected one of direct, sequential"):
        tasks_of(["nothing"], "rank")
    with pytest.raises(ArgumentError, match="template"):
        find_template("nothing")


def test_a_task_that_ranks_has_no_column() -> None:
    described = {"kind": "rank", "templates": [{"id": "a", "seen": True, "text": "For {user}:"}]}
    assert task_from("t", described) == Task("t", "rank", task_from("t", described).templates)
    with pytest.raises(ArgumentError, match="or none where it ranks"):
        task_from("t", described | {"column": "rating"})
    with pytest.raises(ArgumentError, match="slots are user"):
        task_from("t", {"kind": "rank", "templates": [{"id": "a", "seen": True, "text": "{item}"}]})
