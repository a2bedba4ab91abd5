"""The real datasets, read by every format, against their published counts."""

import numpy as np
import pytest

from metatoken.data import Interactions, audit, leave_last_out

pytestmark = pytest.mark.shared_data

COUNTS = [
    ("beauty/user_sequence.txt", {"format": "sequences"}, (22363, 12101, 198502)),
    ("sports/user_sequence.txt", {"format": "sequences"}, (35598, 18357, 296337)),
    ("lastfm/user_sequence.txt", {"format": "sequences"}, (1090, 3646, 52551)),
    ("videogames/user_item_pairs.txt", {"format": "pairs"}, (31013, 23715, 287107)),
    ("gowalla/train.txt", {"format": "sequences"}, (29858, 40981, 810128)),
    ("diginetica/test_sessions.txt", {"format": "sessions"}, (15963, 21131, 76821)),
    (
        "movielens_small/ratings.csv",
        {"user": "userId", "item": "movieId", "time": "timestamp", "rating": "rating"},
        (610, 9724, 100836),
    ),
    (
        "musical_instruments/reviews.jsonl.gz",
        {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "rating": "overall", "review": "reviewText"},
        (1429, 900, 10261),
    ),
    ("google_explanations/interactions_train.csv.gz", {}, (22582, 16557, 329472)),
    (
        "google_explanations/explanations.jsonl.gz",
        {"user": "uid", "item": "iid", "explanation": "explanation"},
        (2479, 2531, 3000),
    ),
]


@pytest.mark.parametrize(("name", "arguments", "counts"), COUNTS, ids=[name for name, *_ in COUNTS])
def test_counts(shared_data, name, arguments, counts):
    log = Interactions.read(shared_data / name, **arguments)
    assert (log.n_users, log.n_items, len(log)) == counts
    split = leave_last_out(log)
    assert len(split.test) + split.train_only_users == log.n_users
    assert len(split.train) == len(log) - 2 * len(split.test)


def test_diginetica_sessions(shared_data):
    folder = shared_data / "diginetica"
    train, test = (Interactions.read(folder / f"{part}_sessions.txt", "sessions") for part in ("train", "test"))
    assert (train.n_users, test.n_users) == (186670, 15963)
    assert len(train) + len(test) == 982961
    assert len(set(train.items.raw) | set(test.items.raw)) == 43097
    assert leave_last_out(train).repeated_targets("test") > 30000


def test_beauty_order_titles_and_audit(shared_data):
    path, titles = shared_data / "beauty" / "user_sequence.txt", shared_data / "beauty" / "item_titles.tsv"
    log = Interactions.read(path, "sequences", items=titles, item_id="asin")
    with path.open() as lines:
        for line in lines:
            user, *items = line.split()
            assert [log.items.raw[row] for row in log.sequences()[log.users.row(user)]] == items
    names = log.titles()
    assert names is not None
    assert sum(not name for name in names) == 7
    assert not any("&amp;" in name for name in names)
    report = audit(log)
    assert report.ascending_neighbours == pytest.approx(0.69, abs=0.01)
    assert "part of the order" in report.warnings[0]
    assert not any("sorted by item id, not by time" in warning for warning in report.warnings)


def test_sports_sorted_by_product_id_is_flagged(shared_data, tmp_path):
    copy = tmp_path / "sorted.txt"
    with (shared_data / "sports" / "user_sequence.txt").open() as lines, copy.open("w") as out:
        for line in lines:
            user, *items = line.split()
            out.write(" ".join([user, *sorted(items)]) + "\n")
    assert "sorted by item id, not by time" in audit(Interactions.read(copy, "sequences")).warnings[0]


def test_movielens_titles_and_ties(shared_data):
    folder = shared_data / "movielens_small"
    log = Interactions.read(
        folder / "ratings.csv",
        user="userId",
        item="movieId",
        time="timestamp",
        rating="rating",
        items=folder / "movies.csv",
        categories="genres",
    )
    titles = log.titles()
    assert titles is not None
    assert all(titles)
    row = log.items.row("11")
    assert titles[row] == "American President, The (1995)"
    assert log.item_table.row(row)[2] == ["Comedy", "Drama", "Romance"]
    assert audit(log).tied_neighbours == pytest.approx(0.157, abs=0.002)
    assert (np.diff(log.frame["timestamp"].to_numpy())[np.diff(log.frame["user"].to_numpy()) == 0] >= 0).all()
