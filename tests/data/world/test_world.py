import numpy as np
import pytest

from metatoken.data import DEMO_SIZE, Interactions, audit, generate_world, leave_last_out
from metatoken.errors import ArgumentError


def hit_rates(world, split):
    """HR@10 on test, seen items removed: popularity, counts of transitions in train, and the true probabilities."""
    log, history, train = split.log, split.history("test"), split.train.sequences()
    known = world.item_ids.rows(log.items.raw)
    popularity = np.bincount(train.items, minlength=log.n_items).astype(float)
    counts = np.zeros((log.n_items, log.n_items))
    for items in train:
        np.add.at(counts, (items[:-1], items[1:]), 1)
    last = np.array([history[user][-1] for user in split.test.users])
    users = world.user_ids.rows([log.users.raw[user] for user in split.test.users])
    scores = {
        "popularity": np.tile(popularity, (len(last), 1)),
        "transition": counts[last] + 1e-6 * popularity,
        "truth": world.transitions(users, known[last])[:, known],
    }
    rates = {}
    for name, score in scores.items():
        for row, user in enumerate(split.test.users):
            score[row, history[user]] = -1
        best = np.argsort(-score, axis=1, kind="stable")[:, :10]
        rates[name] = float((best == split.test.items[:, None]).any(axis=1).mean())
    return rates


@pytest.mark.parametrize(("size", "factor"), [({}, 3), (DEMO_SIZE, 8)], ids=["small", "demo"])
def test_order_beats_popularity_by_far(size, factor):
    world = generate_world(**size, seed=3)
    rates = hit_rates(world, leave_last_out(world.interactions()))
    print(rates)
    assert rates["transition"] > factor * rates["popularity"]
    assert rates["truth"] > rates["transition"]


def test_same_seed_same_bytes(tmp_path):
    def written(name, seed):
        return [path.read_bytes() for path in generate_world(seed=seed).write(tmp_path / name)]

    first, again, other = written("a", 5), written("b", 5), written("c", 6)
    assert first == again
    assert first[0] != other[0]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["interactions.csv", "items.csv"]


def test_files_hold_the_same_log(tmp_path):
    world = generate_world(n_users=30, n_items=40, n_groups=4)
    log, items = world.write(tmp_path)
    read = Interactions.read(
        log,
        user="user_id",
        item="item_id",
        time="timestamp",
        rating="rating",
        review="review",
        summary="summary",
        explanation="explanation",
        items=items,
    )
    assert read.checksum() == world.interactions().checksum()
    assert log.read_text().startswith("user_id,item_id,timestamp,rating,review,summary,explanation\n")
    assert items.read_text().startswith("item_id,title,categories\n")


def test_the_truth_is_the_truth():
    world = generate_world(n_users=50, n_items=40, n_groups=4, min_length=5, max_length=20, seed=1)
    log = world.interactions()
    for group in range(4):
        assert world.popularity[world.item_group == group].sum() == pytest.approx(1)
    assert world.taste.sum(axis=1) == pytest.approx(1)
    assert (world.item_group[world.successors] == world.item_group[:, None]).all()
    known = world.item_ids.rows(log.items.raw)
    for user, items in enumerate(log.sequences()):
        assert len(set(items.tolist())) == len(items)
        assert 5 <= len(items) <= 20
        assert world.item_group[known[items]].tolist() == world.user_groups[user].tolist()
    every = np.arange(40, dtype=np.int32)
    assert world.transitions(every, every).sum(axis=1) == pytest.approx(1)
    assert set(log.frame["rating"].to_list()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert log.frame["rating"].n_unique() >= 4


def test_the_first_step_follows_the_stated_probabilities():
    """Observed second items agree with the formula of the module, within five standard errors."""
    world = generate_world(n_users=4000, n_items=12, n_groups=3, min_length=3, max_length=3, seed=2)
    sequences = world.interactions().sequences()
    first, second = np.array([(items[0], items[1]) for items in sequences]).T
    expected = world.transitions(np.arange(4000, dtype=np.int32), first.astype(np.int32))
    expected[np.arange(4000), first] = 0
    expected /= expected.sum(axis=1, keepdims=True)
    observed = np.bincount(second, minlength=12)
    error = np.sqrt((expected * (1 - expected)).sum(axis=0))
    assert (np.abs(observed - expected.sum(axis=0)) < 5 * error).all()
    hits = expected[np.arange(4000), second].sum()
    spread = np.sqrt(((expected**3).sum(axis=1) - (expected**2).sum(axis=1) ** 2).sum())
    assert abs(hits - (expected**2).sum()) < 5 * spread


def test_texts_tell_the_group():
    world = generate_world(seed=4)
    titles, categories = world.item_frame["title"], world.item_frame["categories"]
    assert titles.n_unique() == len(titles)
    themes = {}
    for group, names in zip(world.item_group, categories, strict=True):
        themes.setdefault(int(group), set()).add(names[0])
    assert all(len(names) == 1 for names in themes.values())
    assert len(themes) == 5
    assert all(world.frame[name].str.len_chars().min() > 0 for name in ("review", "summary", "explanation"))
    popular = np.sort(np.bincount(world.interactions().frame["item"].to_numpy()))[::-1]
    assert popular[:10].sum() > 1.5 * popular.sum() / 10
    assert audit(world.interactions()).warnings == []


@pytest.mark.parametrize(
    ("size", "argument"),
    [
        ({"n_users": 0}, "n_users"),
        ({"n_groups": 11}, "n_groups"),
        ({"n_groups": 0}, "n_groups"),
        ({"n_items": 19}, "n_items"),
        ({"min_length": 2}, "min_length"),
        ({"max_length": 51}, "max_length"),
    ],
)
def test_sizes(size, argument):
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        generate_world(**size)
