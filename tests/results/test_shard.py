import pytest

from lightning_rs.results import Shard


def test_shards_are_disjoint_and_together_all():
    indices = list(range(0, 91, 4))
    shards = [Shard(number, 10).of(indices) for number in range(1, 11)]
    assert sorted(index for shard in shards for index in shard) == indices
    assert {len(shard) for shard in shards} == {2, 3}
    assert Shard(2, 3).of([7, 5, 3, 1, 0]) == (5, 0) and Shard(1, 1).of(indices) == tuple(indices)
    assert Shard(7, 10).of(range(5)) == ()


def test_they_are_said_as_they_are_parsed():
    shard = Shard.parse("3/10")
    assert (shard.number, shard.count, str(shard), shard.folder) == (3, 10, "3/10", "shard-3-of-10")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0"])
def test_numbers_out_of_range_are_refused(text):
    with pytest.raises(ValueError, match=f"shard i/N must have 1 <= i <= N, got {text}"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["3", "", "1/2/3", "-1/3", "a/b", "1.0/2", " 1/2", "1/9999999999", "١/٣"])
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match="shard must be i/N, as in 3/10, got "):
        Shard.parse(text)
