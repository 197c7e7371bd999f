import json

import pytest

from lightning_rs.results.lines import LineAppender, Place, lines_at, read_lines

OTHER = "another list than this"


def write(path, *texts, number=7):
    with LineAppender(path, number, "list") as file:
        for text in texts:
            file.append_text(text)
    return path


def test_what_is_read_is_what_was_written(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"a":1}', b'{"a":2}')
    found = list(read_lines(path, 7, OTHER))
    assert [(str(place), text, checked) for place, text, checked in found] == [
        (f"{path}, line {i}", b'{"a":%d}' % i, True) for i in (1, 2)
    ]
    assert [json.loads(line)["a"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_torn_line_is_left_out_and_then_written_over(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"a":1}', b'{"a":2}')
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert [text for _, text, _ in read_lines(path, 7, OTHER)] == [b'{"a":1}']
    write(path, b'{"a":2}')
    assert path.read_bytes() == whole


@pytest.mark.parametrize("number", [7, 8])
def test_a_changed_line_and_one_of_something_else_are_named(tmp_path, number):
    path = write(tmp_path / "a.jsonl", b'{"a":1}', b'{"a":2}')
    if number == 7:
        path.write_bytes(path.read_bytes().replace(b'{"a":2', b'{"a":3'))
    with pytest.raises(ValueError, match="its check sum does not fit: the line was changed, or is of an") as e:
        list(read_lines(path, number, OTHER))
    assert str(e.value).startswith(f"{path}, line {2 if number == 7 else 1}: ")


def test_a_line_without_a_check_sum_says_so(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n')
    assert list(read_lines(path, 7, OTHER)) == [(Place(path, 1, 0), b'{"a":1}', False)]


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "a.jsonl"
    with (
        LineAppender(path, 7, "list"),
        pytest.raises(ValueError, match="another list is writing to"),
        LineAppender(path, 7, "list"),
    ):
        pass


def test_lines_are_found_again_where_they_stand(tmp_path):
    first = write(tmp_path / "a.jsonl", b'{"a":1}', b'{"a":22}', b'{"a":3}')
    second = write(tmp_path / "b.jsonl", b'{"b":1}')
    (a, _, c), (b,) = ([place for place, _, _ in read_lines(path, 7, OTHER)] for path in (first, second))
    assert lines_at([c, b, a, c], 7, OTHER) == [b'{"a":3}', b'{"b":1}', b'{"a":1}', b'{"a":3}']
    first.write_bytes(first.read_bytes().replace(b'{"a":3', b'{"a":4'))
    with pytest.raises(ValueError, match="a.jsonl, line 3: its check sum does not fit"):
        lines_at([a, c], 7, OTHER)


@pytest.mark.parametrize("torn", [1, 2**16 - 1, 2**16, 2**16 + 1, 2**18])
def test_a_torn_line_of_any_length_is_dropped(tmp_path, torn):
    path = write(tmp_path / "a.jsonl", b'{"a":1}')
    whole = path.read_bytes()
    for before in (whole, b""):
        path.write_bytes(before + b"{" * torn)
        with LineAppender(path, 7, "list"):
            assert path.read_bytes() == before
