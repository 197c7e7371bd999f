import json
from dataclasses import replace

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from run_cases import DESCRIPTION, RECORDS, possible, write_run
from test_records import RUN, record

from lightning_rs.results import Environment, ExampleCertificate, RunDirectory
from lightning_rs.results.check_sums import FILE, LINE
from lightning_rs.results.sources import load_run


def test_directory_keeps_what_every_process_appends(tmp_path):
    directory = RunDirectory(tmp_path / "a" / "b")
    directory.check(RUN)
    assert not directory.path.exists()
    directory.create(RUN)
    assert directory.run() == RUN
    for process, indices in ((0, (2, 0)), (1, (1,))):
        with directory.appender(process) as file:
            for index in indices:
                file.append(record(index))
    assert directory.read() == [record(0), record(1), record(2)]
    directory.check(RUN)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_dropped_and_appending_goes_on(tmp_path, cut):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    with directory.appender(0) as file:
        file.append(record(0))
        file.append(record(1))
    path = tmp_path / "records-0.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert [r.index for r in directory.read()] == [0]
    with directory.appender(0) as file:
        file.append(record(1))
    assert path.read_bytes() == content


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    with pytest.raises(ValueError, match=r"holds another run; it differs in n \(100 there, 200 now\)"):
        directory.check(replace(RUN, n=200))
    with pytest.raises(ValueError, match=r"differs in seed \(null there, 1 now\), sigma \(0.25 there, 0.5 now\)"):
        directory.check(replace(RUN, sigma=0.5, seed=1))
    with pytest.raises(ValueError, match=r"differs in attempts \(1 there, 3 now\)"):
        directory.check(replace(RUN, attempts=3))


def test_the_description_is_written_once(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    # No difference, see `RunDescription.differences`.
    directory.create(replace(RUN, sampling_error=1e-9, input_shape=(1, 8, 8)))
    assert directory.run() == RUN


def test_directories_of_something_else_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    with pytest.raises(ValueError, match="is not the directory of a certification: it holds metrics.csv and no run"):
        RunDirectory(tmp_path).check(RUN)
    with pytest.raises(ValueError, match="is not a directory"):
        RunDirectory(tmp_path / "metrics.csv").check(RUN)
    (tmp_path / "records-0.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds records but no run.json that says what they are of"):
        RunDirectory(tmp_path).read()


def test_what_a_killed_start_leaves_is_gone_on_with(tmp_path):
    RunDirectory(tmp_path).check(RUN)  # Nothing in it.
    (tmp_path / ".run.17.part.json").write_text('{"data"')
    RunDirectory(tmp_path).check(RUN)
    RunDirectory(tmp_path).create(RUN)
    (tmp_path / ".records-0.17.part.jsonl").write_text('{"index"')
    RunDirectory(tmp_path).check(RUN)
    assert RunDirectory(tmp_path).read() == []


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_records_of_version_1_are_written_as_they_were_but_for_the_check_sum(tmp_path, name):
    golden = RunDirectory(ROOT / "tests" / "golden" / name)
    again = RunDirectory(tmp_path)
    again.create(golden.run())
    records = {r.index: r for r in golden.read()}
    lines = (golden.path / "records-0.jsonl").read_bytes().splitlines()
    with again.appender(0) as file:
        for line in lines:  # In the order in which they finished.
            file.append(records[json.loads(line)["index"]])
    assert again.run() == golden.run()
    written = (again.path / "records-0.jsonl").read_bytes().splitlines()
    assert [LINE.take(line, again.run().number) for line in written] == [(line, True) for line in lines]
    silent = [note for note in load_run(golden.path).notes if "check sum" in note]
    assert silent == ["no check sum in 8 of 8 records and run.json, as older versions wrote them"]
    assert not [note for note in load_run(again.path).notes if "check sum" in note]


def test_records_beside_another_description_are_found(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", commit="1234")
    (tmp_path / "b" / "records-0.jsonl").write_bytes((tmp_path / "a" / "records-0.jsonl").read_bytes())
    with pytest.raises(ValueError) as error:
        RunDirectory(tmp_path / "b").read()
    told = "its check sum does not fit: the line was changed, or is of another run than run.json says"
    assert str(error.value) == f"{tmp_path}/b/records-0.jsonl, line 1: {told}"


def test_a_line_that_lost_its_check_sum_is_found_beside_a_description_that_has_one(tmp_path):
    """Without its statistics nothing else tells that another class is written there."""
    folder = write_run(tmp_path / "a")
    path, number = folder / "records-0.jsonl", RunDirectory(folder).run().number
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + LINE.take(rest[0][:-1], number)[0] + b"\n" + b"".join(rest[1:]))
    with pytest.raises(ValueError, match="line 2: it has no check sum, and run.json has one: the line was changed"):
        RunDirectory(folder).read()


def unsealed(folder, **changes):
    """The run as an older version would have written it, with changes of run.json; its lines."""
    run = RunDirectory(folder).run()
    path = folder / "records-0.jsonl"
    lines = [LINE.take(line, run.number)[0] for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    values = json.loads(FILE.take((folder / "run.json").read_bytes())[0])
    (folder / "run.json").write_text(json.dumps(values | changes))
    return lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 100}, "10 votes, of n = 100 draws"),
        ({"n0": 99}, "100 votes that select the class, of n0 = 99 draws"),
        ({"num_classes": 2}, "votes of class 2, of 2 classes"),
        ({"indices": [0, 2, 3]}, "image 1 is none of those that run.json names"),
        ({"mechanisms": ["li"]}, "certificates of cohen, and the run's mechanisms are li"),
        ({"sigma": 0.5}, "cohen of image 0 is class 1 with radius 0.083"),
        ({"alpha": 0.001}, "cohen of image 0 is class 1 with radius 0.083"),
    ],
)
def test_another_run_beside_old_records_is_found_from_what_they_hold(tmp_path, changes, message):
    folder = write_run(tmp_path / "a")
    unsealed(folder, **changes)
    with pytest.raises(ValueError) as error:
        RunDirectory(folder).read()
    line = {"num_classes": 3, "indices": 2}.get(next(iter(changes)), 1)
    assert str(error.value).startswith(f"{folder}/records-0.jsonl, line {line}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "not a record (Input data was truncated)"),
        (b"{}", "not a record (Object missing required field `index`)"),
        (b"[]", "not a record (Expected `object`, got `array`)"),
        (b"null", "not a record (Expected `object`, got `null`)"),
        (b"\xff", "not a record ("),
        (b"[" * 100_000, "not a record ("),
        (b'{"a":' * 100_000, "not a record ("),
        ((b'"index":3', b'"index":3,"index":2'), "not a record (the key 'index' stands there twice)"),
        ((b'"index":3', b'"index":3,"colour":2'), "not a record (Object contains unknown field `colour`)"),
        ((b'"index":3', b'"index":1'), "another record of image 1 than "),
        ((b'"label":2', b'"label":-1'), "not a record (Expected `int` >= 0 - at `$.label`)"),
        ((b'"seconds":1.0', b'"seconds":1e400'), "not a record (Number out of range"),
        ((b'"seconds":1.0', b'"seconds":NaN'), "not a record (JSON is malformed"),
        ((b'"radius":0.0', b'"radius":-1.0'), "not a record (Expected `float` >= 0.0 - at "),
        ((b'"radius":0.0', b'"radius":"0.1"'), "not a record (Expected `float`, got `str`"),
        ((b'"radius":0.0', b'"radius":Infinity'), "not a record (JSON is malformed"),
        ((b'"radius":0.0', b'"radius":0.1'), "not a record (it abstains with a radius)"),
        ((b'"counts":{"2":8,"1":2}', b'"counts":{}'), "not a record (it holds no votes)"),
        ((b'"counts":{"2":8,"1":2}', b'"counts":{"1":20,"2":80}'), "100 votes, of n = 10 draws"),
        ((b'"counts":{"2":8,"1":2}', b'"counts":{"1":-2,"2":12}'), "not a record (Expected `int` >= 1"),
        ((b'"counts":{"2":8,"1":2}', b'"counts":{"1":1,"2":9}'), "cohen of image 3 is none, l2, p_lower "),
        ((b'"counts":{"2":8,"1":2}', b'"counts":{"1":2,"10":8}'), "the records hold votes for class 10, of 10 classes"),
        ((b'"statistics":{}', b'"statistics":{"uniform":0.5}'), "it holds other statistics than the first record"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_named_with_its_line(tmp_path, line, message):
    folder = write_run(tmp_path / "a")
    lines = unsealed(folder)
    lines[3] = lines[3].replace(*line) if isinstance(line, tuple) else line
    (folder / "records-0.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(ValueError) as error:
        RunDirectory(folder).read()
    assert str(error.value).startswith(f"{folder}/records-0.jsonl, line 4: {message}")
    assert "\n" not in str(error.value)


def test_the_same_line_twice_counts_once(tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "records-1.jsonl").write_bytes((folder / "records-0.jsonl").read_bytes())
    assert [r.index for r in RunDirectory(folder).read()] == [0, 1, 2, 3]


def test_a_directory_in_the_place_of_a_file(tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / "records-1.jsonl").mkdir()
    with pytest.raises(OSError, match=r"Is a directory: .*records-1.jsonl"):
        RunDirectory(folder).read()
    (tmp_path / "b" / "run.json").mkdir(parents=True)
    with pytest.raises(OSError, match=r"Is a directory: .*run.json"):
        RunDirectory(tmp_path / "b").run()


@settings(max_examples=300)
@given(data=st.data())
def test_no_flipped_byte_is_believed(tmp_path_factory, data):
    """In run.json or a record: refused, but where it tears the last line."""
    folder = tmp_path_factory.mktemp("run") / "a"
    write_run(folder)
    path = folder / data.draw(st.sampled_from(["run.json", "records-0.jsonl"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    original = possible(RECORDS, DESCRIPTION)
    if path.name != "run.json" and place == len(content) - 1:
        assert RunDirectory(folder).read() == original[:3]
        return
    with pytest.raises(ValueError) as error:
        RunDirectory(folder).read()
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_what_would_not_be_read_again_is_not_written(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    with directory.appender(0) as file:
        for change, message in (
            ({"label": -1}, "image 1 has no record that can be kept: Expected `int` >= 0 - at `$.label`"),
            ({"counts": {1: 5}}, "image 1 has no record that can be kept: 5 votes, of n = 100 draws"),
            ({"certificates": {"mine": ExampleCertificate(1, float("nan"))}}, "Out of range float values"),
        ):
            with pytest.raises(ValueError, match=message.replace("$", r"\$")):
                file.append(replace(record(1), **change))
        file.append(record(0))
    assert directory.read() == [record(0)]


def test_two_programs_do_not_write_to_one_file(tmp_path):
    directory = RunDirectory(write_run(tmp_path / "a"))
    with directory.appender(0), pytest.raises(ValueError, match="another certification is writing to "):
        directory.appender(0)
    assert len(directory.read()) == len(RECORDS)


def test_two_programs_do_not_write_to_one_directory(tmp_path):
    directory = RunDirectory(tmp_path / "a")
    with directory.locked():
        directory.create(DESCRIPTION)
        with pytest.raises(ValueError, match=f"another certification is writing to {tmp_path}/a: "):
            with directory.locked():
                raise AssertionError
        with directory.appender(1):  # Its own processes may.
            pass
    with directory.appender(1):  # One that was left behind, as its first process was killed.
        with pytest.raises(ValueError, match=f"another certification is writing to {tmp_path}/a/records-1.jsonl: "):
            with directory.locked():
                raise AssertionError
    with directory.locked():
        directory.replace(possible(RECORDS, DESCRIPTION))
    assert len(directory.read()) == 4 and not (tmp_path / "a" / "records-1.jsonl").exists()


def test_a_lock_leaves_no_empty_directory(tmp_path):
    with RunDirectory(tmp_path / "a").locked():
        pass
    assert not (tmp_path / "a").exists()


CPU, GPU = Environment(device="cpu", batch_size=100), Environment(device="NVIDIA H200", driver="1", batch_size=512)


def test_records_say_where_they_were_made(tmp_path):
    directory = RunDirectory(tmp_path)
    assert directory.environments() == {}
    directory.create(RUN)
    with directory.appender(0, CPU):
        assert not (tmp_path / "records-0.jsonl").stat().st_size  # Nothing is finished.
    for process, environment, index in ((0, CPU, 0), (0, GPU, 2), (1, GPU, 1)):
        with directory.appender(process, environment) as file:
            file.append(record(index))
    assert directory.read() == [record(index) for index in range(3)]
    assert directory.origins() == {0: CPU, 2: GPU, 1: GPU}
    assert directory.environments() == {CPU: 1, GPU: 2}
    before = (tmp_path / "records-0.jsonl").read_bytes()
    assert [line.startswith(b'{"environment"') for line in before.splitlines()] == [True, False, True, False]
    with directory.appender(0, GPU) as file:  # It holds for what follows, and is not said again.
        file.append(record(1))
    assert (tmp_path / "records-0.jsonl").read_bytes().removeprefix(before).startswith(b'{"index":1,')
    assert "made in 2 environments" in " ".join(load_run(tmp_path).notes)


def test_an_environment_of_which_no_record_came_holds_for_none_that_follows(tmp_path):
    """A process may be killed between the two lines."""
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    path = tmp_path / "records-0.jsonl"
    for index, environment in enumerate((CPU, GPU, CPU)):
        with directory.appender(0, environment) as file:
            file.append(record(index))
        if environment == GPU:
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert directory.origins() == {0: CPU, 2: CPU}


def test_replaced_records_keep_where_they_were_made(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    origins = {0: CPU, 1: GPU, 2: CPU}
    with directory.locked():
        directory.replace([record(index) for index in range(3)], origins)
    assert directory.origins() == origins and len(directory.read()) == 3
    with directory.locked():
        directory.replace([record(0)])
    assert directory.environments() == {Environment(): 1}


def test_records_of_older_versions_were_made_as_run_json_says_until_others_follow(tmp_path):
    old = RunDirectory(ROOT / "tests" / "golden" / "fixed")
    (made,) = old.environments()
    assert (made.device, made.driver, made.versions, made.commit) == (
        "cpu", None, old.run().versions, old.run().commit,
    )  # fmt: skip
    directory = RunDirectory(tmp_path)
    directory.create(old.run())
    first, second, third, *_ = old.read()
    for one, environment in ((first, made), (second, GPU), (third, made)):
        with directory.appender(0, environment) as file:
            file.append(one)
    assert directory.origins() == {first.index: made, second.index: GPU, third.index: made}
    assert directory.run() == old.run()


def test_the_same_image_of_two_environments_is_refused(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    other = replace(record(1), clean_prediction=0)
    for environment, one in ((CPU, record(1)), (GPU, other)):
        with directory.appender(0, environment) as file:
            file.append(one)
    with pytest.raises(ValueError, match=r"line 4: another record of image 1 than .*records-0.jsonl, line 2$"):
        directory.read()


def test_what_is_no_environment_is_named_with_its_line(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create(RUN)
    path = tmp_path / "records-0.jsonl"
    for line, message in (
        (b'{"environment":{"device":"cpu"}}', "it has no check sum: the line was changed"),
        (LINE.add(b'{"environment":{"device":3}}', RUN.number), "not an environment (Expected `str | null`, got `int`"),
        (LINE.add(b'{"environment":{"device":"cpu"}}', 1), "its check sum does not fit: the line was changed, or"),
    ):
        path.write_bytes(line + b"\n")
        with pytest.raises(ValueError) as error:
            directory.read()
        assert str(error.value).startswith(f"{path}, line 1: {message}")
