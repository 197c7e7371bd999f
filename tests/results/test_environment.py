import dataclasses

import pytest

from lightning_rs.results import Environment
from lightning_rs.results.environment import change_of, is_environment, note_of, tell_apart

GPU = Environment(device="NVIDIA H200", driver="570.1", batch_size=512, versions={"torch": "2.9"}, commit="c" * 40)
CPU = Environment(device="cpu", batch_size=100, versions={"torch": "2.9"}, commit="c" * 40)


def test_it_reads_back_from_its_line():
    for made in (GPU, CPU, Environment()):
        line = made.to_json().encode()
        assert is_environment(line) and Environment.from_json(line) == made
    assert not is_environment(b'{"index":3}')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"environment":{"device":1}}', "Expected `str | null`, got `int`"),
        (b'{"environment":{"colour":"red"}}', "unknown field `colour`"),
        (b'{"environment":{"batch_size":0}}', "Expected `int` >= 1"),
        (b'{"environment":{}', "truncated"),
    ],
)
def test_what_is_none_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        Environment.from_json(line)


def test_values_that_would_not_be_read_again_are_refused():
    with pytest.raises(ValueError, match="device"):
        Environment(device="a\nb")
    with pytest.raises(ValueError, match="versions"):
        Environment(versions={"torch": 2})


def test_equal_ones_are_one_key():
    same = dataclasses.replace(GPU, versions=dict(GPU.versions))
    assert {GPU: 1} | {same: 2} == {GPU: 2}
    assert len({GPU, dataclasses.replace(GPU, versions={"torch": "2.8"})}) == 2


def test_they_are_told_apart_by_what_differs():
    other = dataclasses.replace(CPU, versions={"torch": "2.8", "onnxruntime": "1"})
    assert tell_apart([GPU, CPU]) == {
        GPU: "device NVIDIA H200, driver 570.1, batch_size 512",
        CPU: "device cpu, driver not said, batch_size 100",
    }
    assert tell_apart([CPU, other]) == {
        CPU: "torch 2.9, onnxruntime not said",
        other: "torch 2.8, onnxruntime 1",
    }
    commits = tell_apart([CPU, dataclasses.replace(CPU, commit=None)])
    assert list(commits.values()) == ["commit cccccccccccc...", "commit not said"]


def test_what_may_have_moved_votes_is_noted():
    assert note_of({GPU: 10}) is None and note_of({}) is None
    assert note_of({GPU: 1200, CPU: 3}) == (
        "made in 2 environments, which may move votes: 1,200 images with device NVIDIA "
        "H200, driver 570.1, batch_size 512; 3 images with device cpu, driver not said, batch_size 100"
    )


def test_what_changes_is_said():
    assert change_of({GPU: 10}, GPU) is None and change_of({}, GPU) is None
    smaller = dataclasses.replace(CPU, batch_size=50)
    assert change_of({smaller: 120, CPU: 3}, CPU) == (
        "goes on with batch_size 100; 120 records were made with batch_size 50"
    )
