import json
import math

import pytest

from lightning_rs.attack.directory import AttackDirectory
from lightning_rs.attack.outcome import Attacked, Outcome

ABOUT = {"run": "a" * 64, "mechanisms": ("cohen",), "steps": 20}
OUTCOMES = [
    Outcome(3, 1, {"cohen": Attacked(1, 0.1 + 0.2, 0.7)}, 60, "gradient", 0.25),
    Outcome(1, 0, {}, 0, "gradient", 0.0),
    Outcome(2, 7, {"cohen": Attacked(5, 0.5, math.inf)}, 60, "black_box", 1.5),
]


def write(path, outcomes=OUTCOMES, **changes):
    directory = AttackDirectory(path, ABOUT | changes)
    with directory.locked(), directory.appender() as file:
        for outcome in outcomes:
            file.append(outcome)
    return directory


def test_what_is_read_is_what_was_written_to_the_bit(tmp_path):
    directory = write(tmp_path / "out", OUTCOMES[:2])
    assert AttackDirectory(tmp_path / "out", ABOUT).read() == OUTCOMES[:2]
    write(tmp_path / "out", OUTCOMES[2:])
    assert directory.read() == OUTCOMES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["attack.json", "attacks.jsonl"]
    assert json.loads((tmp_path / "out" / "attack.json").read_text())["steps"] == 20


def test_another_attack_is_refused_with_the_difference_and_nothing_changes(tmp_path):
    write(tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    message = r"out holds another attack; it differs in run \(\"a+\.\.\. there, \"b\" now\), steps \(20 there, 10 now\)"
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", run="b", steps=10)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_the_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the directory of an attack: it holds run.json and no attack.json"):
        AttackDirectory(tmp_path, ABOUT).check()


def test_one_writer_at_a_time(tmp_path):
    first, second = (AttackDirectory(tmp_path / "out", ABOUT) for _ in range(2))
    message = "another attack is writing to .*out: let it end"
    with first.locked(), pytest.raises(ValueError, match=message), second.locked():
        pass


def test_an_attack_that_fails_at_its_first_image_leaves_nothing(tmp_path):
    directory = AttackDirectory(tmp_path / "out", ABOUT)
    with pytest.raises(ValueError, match="no copy"), directory.locked(), directory.appender():
        assert (tmp_path / "out" / "attack.json").exists()
        raise ValueError("the base classifier has no copy")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace(b'"label":1', b'"label":2'), "line 1: its check sum does not fit: "),
        (lambda line: line.split(b',"check"')[0] + b"}", "line 1: it has no check sum: the line was changed"),
    ],
)
def test_a_changed_line_is_named(tmp_path, change, message):
    directory = write(tmp_path / "out")
    path = tmp_path / "out" / "attacks.jsonl"
    first, *others = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([change(first), *others]))
    with pytest.raises(ValueError, match=message):
        directory.read()


def test_the_same_image_twice_and_what_is_no_outcome_are_refused(tmp_path):
    with pytest.raises(ValueError, match="line 4: image 3 stands there twice"):
        write(tmp_path / "twice", [*OUTCOMES, OUTCOMES[0]]).read()
    negative = Outcome(3, 1, {"cohen": Attacked(1, -0.5, 0.7)}, 60, "gradient", 0.25)
    with pytest.raises(ValueError, match="line 1: not an outcome"):
        write(tmp_path / "negative", [negative]).read()


def test_a_torn_line_is_attacked_again(tmp_path):
    directory = write(tmp_path / "out")
    path = tmp_path / "out" / "attacks.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert directory.read() == OUTCOMES[:2]
    write(tmp_path / "out", OUTCOMES[2:])
    assert path.read_bytes() == whole
