"""Features of items on disk, found by raw id."""

import numpy as np
import pytest

from metatoken.errors import ArgumentError, ArtifactError, UnknownIdError
from metatoken.tokens.features import ItemFeatures, texts_checksum

IDS, TITLES = ["b", "a", "c", "d"], ["B", "A", "", "D"]
VECTORS = np.array([[1, 0], [1, 1], [0, 0], [-1, 0.5]], dtype=np.float32)


@pytest.fixture
def features():
    return ItemFeatures(IDS, VECTORS, TITLES, {"made": "by hand"})


def test_they_come_back_as_they_were_saved(features, tmp_path):
    features.save(tmp_path / "f")
    again = ItemFeatures.load(tmp_path / "f")
    assert (again.ids, again.titles, again.source) == (IDS, TITLES, {"made": "by hand"})
    assert np.array_equal(again.vectors, VECTORS)
    assert {p.name for p in (tmp_path / "f").iterdir()} == {"manifest.json", "items.parquet", "vectors.safetensors"}


def test_no_items_are_no_error(tmp_path):
    ItemFeatures([], np.zeros((0, 3))).save(tmp_path / "f")
    assert ItemFeatures.load(tmp_path / "f").vectors.shape == (0, 3)


def test_an_altered_file_is_noticed(features, tmp_path):
    features.save(tmp_path / "f")
    data = bytearray((tmp_path / "f" / "vectors.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "f" / "vectors.safetensors").write_bytes(data)
    with pytest.raises(ArtifactError, match="altered"):
        ItemFeatures.load(tmp_path / "f")


def test_rows_follow_the_ids_asked_for(features):
    assert features.rows(["d", "zzz", "a"]).tolist() == [[-1, 0.5], [0, 0], [1, 1]]
    assert features.rows([]).shape == (0, 2)
    with pytest.raises(ArtifactError, match="another catalogue"):
        features.rows(["x", "y"])


def test_neighbours_have_vectors_and_are_not_the_item_itself(features):
    assert [(name, title) for name, title, _ in features.nearest("b", 9)] == [("a", "A"), ("d", "D")]
    assert features.nearest("b", 1)[0][2] == pytest.approx(np.sqrt(0.5))
    with pytest.raises(UnknownIdError, match="zzz"):
        features.nearest("zzz")
    with pytest.raises(ArgumentError, match="no vector"):
        features.nearest("c")
    with pytest.raises(ArgumentError, match="k: expected at least 1"):
        features.nearest("b", 0)


@pytest.mark.parametrize(
    ("ids", "vectors", "titles", "message"),
    [
        (["a", "a"], np.zeros((2, 1)), [], "each id once"),
        (["a"], np.zeros((2, 1)), [], "one row"),
        (["a"], np.zeros(1), [], "one row"),
        (["a"], np.zeros((1, 1)), ["x", "y"], "one title"),
        (["a"], np.full((1, 1), np.nan), [], "finite"),
    ],
)
def test_what_is_no_table_of_vectors_is_refused(ids, vectors, titles, message):
    with pytest.raises(ArgumentError, match=message):
        ItemFeatures(ids, vectors, titles)


def test_the_checksum_tells_texts_apart():
    assert texts_checksum(["a", "b"], ["x", "y"]) == texts_checksum(["a", "b"], ["x", "y"])
    assert texts_checksum(["a"], ["bc"]) != texts_checksum(["ab"], ["c"])
