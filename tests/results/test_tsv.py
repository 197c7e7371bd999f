"""Files in the field's form, made after its description with each of the variants; and the way there and back."""

import math
import os
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_cases import record, write_log

from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.results import ExampleCertificate
from lightning_rs.results.tsv import NoResultsError, file_name, is_log, read_tsv, rounded_down

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
LINES = ["0\t3\t3\t0.523\t1\t0:00:15.05", "20\t8\t-1\t0.0\t0\t0:00:14.9", "40\t0\t6\t1.02\t0\t0:00:15"]


def write(path, text):
    path.write_text(text)
    return path


def test_the_form_of_the_line(tmp_path):
    results = read_tsv(write(tmp_path / "sigma_0.25", HEADER + "\n".join(LINES) + "\n"))
    assert results.index.tolist() == [0, 20, 40]
    assert results.label.tolist() == [3, 8, 0]
    assert results.prediction.tolist() == [3, -1, 6]
    assert results.radius.tolist() == [0.523, 0.0, 1.02]
    assert results.seconds.tolist() == [15.05, 14.9, 15.0]
    assert results.rounding == pytest.approx(0.005)
    assert results.wrong_correct == 0
    accuracy = certified_accuracy(results.prediction, results.radius, results.label, [0.0, 0.5, 1.0])
    assert accuracy.tolist() == [1 / 3, 1 / 3, 0.0]
    assert average_certified_radius(results.prediction, results.radius, results.label) == 0.523 / 3


@pytest.mark.parametrize(
    ("header", "line", "seconds"),
    [
        (HEADER, "5\t1\t1\t0.25\t1\t15.05", 15.05),  # seconds
        ("", "5\t1\t1\t0.25\t1\t0:00:01", 1.0),  # no header
        (" idx \tlabel  \t predict\tradius\t correct \ttime \n", " 5\t1  \t 1\t 0.25 \t1 \t 0:00:01 ", 1.0),  # padded
        ("  idx label predict radius correct     time\n", "    5     1       1   0.25       1  0:00:01", 1.0),
        ("idx\tlabel\tpredict\tradius\tcorrect\ttime", "\n5 1  1 0.25 1 0:00:01", 1.0),
        (HEADER, "5\t1\t1\t0.25\t1\t1 day, 2:03:04.5", 93784.5),  # a long example
        (HEADER, "5\t1\t1\t0.25\t1\t2 days, 0:00:00", 172800.0),
        (HEADER, "5\t1\t1\t0.25\t17\t0:00:01", 1.0),  # `correct` is a running total
        (HEADER, "5\t1\t1\t0.25\tTrue\t0:00:01", 1.0),
        (HEADER, "5.0\t1.0\t1.0\t2.5e-01\t1.0\t0:00:01", 1.0),  # written by NumPy
        ("idx\tlabel\tpredict\tradius\tcorrect\ttime\tpabar\tnote\n", "5\t1\t1\t0.25\t1\t1\t0.9\tx y", 1.0),
        ("predict\tradius\tidx\ttime\tlabel\n", "1\t0.25\t5\t1.5\t1", 1.5),  # another order, no `correct`
        ("idx\tlabel\tpredict\tradius\tcorrect\n", "5\t1\t1\t0.25\t1", math.nan),  # no time
        ("\ufeff" + HEADER.replace("\n", "\r\n"), "5\t1\t1\t0.25\t1\t1\r\n", 1.0),  # from Windows
    ],
)
def test_variants(tmp_path, header, line, seconds):
    results = read_tsv(write(tmp_path / "file", header + line + "\n\n"))
    values = [results.index[0], results.label[0], results.prediction[0], results.radius[0]]
    assert values == [5, 1, 1, 0.25]
    assert results.seconds.tolist() == pytest.approx([seconds], nan_ok=True)
    assert results.wrong_correct == ("\t17\t" in line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no examples"),
        (" \n\t\n", "holds no examples"),
        ("idx label predict radius correct time\n", "holds no examples"),
        ("hello\n", "line 1: expected the columns idx label predict radius correct time, idx, label, predict,"),
        (HEADER, "holds no examples"),
        (HEADER + LINES[0] + "\n20\t8\t-", "line 3: 3 of 6 columns, the line is cut off or foreign"),
        (HEADER + "Epoch 3, loss 0.1\n", "line 2: 4 of 6 columns, the line is cut off or foreign"),
        (HEADER + "a\t3\t3\t0.5\t1\t1\n", "line 2: idx must be an integer, got 'a'"),
        (HEADER + "0\t3.5\t3\t0.5\t1\t1\n", "line 2: label must be an integer, got '3.5'"),
        (HEADER + "0\t3\t-2\t0.5\t1\t1\n", "line 2: predict must be a class, or -1 for an abstention, got -2"),
        (HEADER + "0\t3\t3\twide\t1\t1\n", "line 2: radius must be a number, got 'wide'"),
        (HEADER + "0\t3\t3\t-0.5\t1\t1\n", "line 2: radius must be finite and at least 0, or -1 for none, got '-0.5'"),
        (HEADER + "0\t3\t3\tnan\t1\t1\n", "line 2: radius must be finite and at least 0, or -1 for none, got 'nan'"),
        (HEADER + "0\t3\t3\t0.5\t1\t0:00:1x\n", "line 2: time must read 0:00:15.05, or be a number of seconds"),
        (HEADER + LINES[0] + "\n" + LINES[1] + "\n" + LINES[0], "line 4: idx 0 comes twice"),
        (HEADER + "0\t3\t3\tinf\t1\t1\n", "line 2: radius must be finite and at least 0, or -1 for none, got 'inf'"),
        (HEADER + "0\t-1\t-1\t0\t1\t1\n", "line 2: label must be a class, got -1"),
        (HEADER + "0\t3e30\t3\t0.5\t1\t1\n", "line 2: label must be an integer, got '3e30'"),
        (HEADER + "-3\t3\t3\t0.5\t1\t1\n", "line 2: idx -3 is negative"),
        (HEADER + "0\t3\t3\t-1.5\t1\t1\n", "line 2: radius must be finite and at least 0, or -1 for none, got '-1.5'"),
        (HEADER + "0\t3\t3\t1e300\t1\t1\n", "line 2: radius must be at most 1e+09, got '1e300'"),
        (HEADER + "0\t3\t3\t0_5\t1\t1\n", "line 2: radius must be a number, got '0_5'"),
        (HEADER + "1_0\t3\t3\t0.5\t1\t1\n", "line 2: idx must be an integer, got '1_0'"),
        (HEADER + "0\t" + "9" * 5000 + "\t3\t0.5\t1\t1\n", f"line 2: label must be an integer, got '{'9' * 96}..."),
        (HEADER + LINES[0] + "\n1\t1\t1\t0.5\0\t1\t1\n", "line 3: it is no text"),
        (HEADER + "0 3 3 0.5 1 1 7\n", "line 2: 7 of 6 columns, the line is cut off or foreign"),
        ("idx\tlabel\tpredict\tradius\tradius\n", "line 1: the column radius comes twice"),
        ("0\t1\t1\t0.5\t1\n", "line 1: expected the columns"),  # Five values: of predictions, or without a time?
    ],
)
def test_bad_lines(tmp_path, text, message):
    path = write(tmp_path / "file.tsv", text)
    with pytest.raises(ValueError) as error:
        read_tsv(path)
    assert str(error.value).startswith(str(path)) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="no results file at"):
        read_tsv(tmp_path / "none")
    (tmp_path / "image").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="image, line 1: it is no text"):
        read_tsv(tmp_path / "image")
    (tmp_path / "latin").write_bytes((HEADER + LINES[0] + "\n").encode() + b"1\t1\t1\t0.5\t1\t\xe9\n")
    with pytest.raises(ValueError, match="latin, line 3: it is no text"):
        read_tsv(tmp_path / "latin")
    with pytest.raises(ValueError, match="is a directory, not a results file"):
        read_tsv(tmp_path)


def test_a_line_without_end_is_not_read(tmp_path):
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(HEADER.encode())
        file.truncate(10**10)  # A hole of zeros, which would not fit into memory twice.
    with pytest.raises(ValueError, match="long, line 2: it is longer than 10,000 bytes"):
        read_tsv(path)


def test_minus_one_is_no_certificate(tmp_path):
    lines = "0\t3\t3\t-1\t1\t1\n1\t3\t3\t-1.0\t0\t1\n2\t3\t3\t0.5\t1\t1\n"
    results = read_tsv(write(tmp_path / "file", HEADER + lines))
    assert results.prediction.tolist() == [-1, -1, 3]
    assert results.radius.tolist() == [0.0, 0.0, 0.5]
    assert (results.uncertified, results.wrong_correct) == (2, 0)


def test_which_files_are_logs(tmp_path):
    for text in (HEADER, "0\t1\t1\t0.5\t1\t1\n", "idx\tlabel\tpredict\tcorrect\ttime\n", "idx label predict radius\n"):
        assert is_log(write(tmp_path / "log", text)), text
    for text in ("", "a,b\n", "idx label predict are what it holds\n", "1\t2\n", "{}"):
        assert not is_log(write(tmp_path / "log", text)), text
    os.mkfifo(tmp_path / "pipe")  # Nobody writes to it.
    assert not is_log(tmp_path / "pipe") and not is_log(tmp_path) and not is_log(tmp_path / "none")
    with pytest.raises(NoResultsError, match="is a log of predictions, without radii"):
        read_tsv(write(tmp_path / "log", "idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t1\n"))


def test_what_is_written(tmp_path):
    write_log(tmp_path / "tsv" / file_name("cohen"))
    assert (tmp_path / "tsv" / "cohen.tsv").read_text() == (
        HEADER
        + "0\t1\t1\t0.5\t1\t0:00:01\n"
        + "1\t1\t-1\t0\t0\t0:00:01\n"
        # The double next to .3 lies below it, that next to .1 above.
        + "2\t0\t2\t0.299999\t0\t0:00:01\n"
        + "3\t2\t2\t0.100000\t1\t0:00:01\n"
    )
    assert file_name("salman:bound=betting,x=0.5") == "salman-bound-betting-x-0.5.tsv"


def test_file_names_are_ones_that_file_systems_take():
    names = [file_name(name) for name in ("a" * 300, "a" * 301, "α" * 300, "β" * 300, "\udc80", "../../x\n", "/")]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and len(name) < 100 and not set(name) & set("/\n\0") for name in names)


@given(st.floats(min_value=0.0, max_value=1e6))
@settings(max_examples=500)
def test_digits_are_rounded_down_and_no_radius_is_lost(radius):
    text = rounded_down(radius)
    assert Decimal(text) <= Decimal(radius)
    assert float(text) <= radius
    assert float(text) >= radius * (1 - 1e-5)
    assert (float(text) > 0) == (radius > 0)


@given(
    st.lists(
        st.tuples(
            st.integers(-1, 9),
            st.floats(min_value=0.0, max_value=100.0),
            st.integers(0, 9),
            st.floats(min_value=0.0, max_value=1e5),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=100)
def test_there_and_back_never_raises_a_radius(tmp_path_factory, rows):
    records = [
        replace(record(i, label, 0, {0: 1}, prediction, radius if prediction >= 0 else 0.0), seconds=seconds)
        for i, (prediction, radius, label, seconds) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("tsv") / "file.tsv"
    for _ in range(2):  # And once more from what was read.
        write_log(path, records)
        results = read_tsv(path)
        for i, r in enumerate(records):
            certificate = r.certificates["cohen"]
            assert certificate.radius * (1 - 1e-5) <= results.radius[i] <= certificate.radius
            assert results.prediction[i] == certificate.prediction
            assert (results.index[i], results.label[i]) == (r.index, r.label)
            assert results.seconds[i] == pytest.approx(r.seconds, abs=1e-5)
        assert results.wrong_correct == 0
        records = [
            replace(r, certificates={"cohen": ExampleCertificate(int(p), float(d))})
            for r, p, d in zip(records, results.prediction, results.radius, strict=True)
        ]


WHOLE = (HEADER + "\n".join(LINES) + "\n").encode()
MUTATION = st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 3), st.binary(min_size=1, max_size=3))


@given(st.lists(MUTATION, min_size=1, max_size=4))
@settings(max_examples=500)
def test_mutated_bytes_are_read_or_refused(tmp_path_factory, mutations):
    content = WHOLE
    for place, removed, inserted in mutations:
        content = content[:place] + inserted + content[place + removed :]
    check_damaged(tmp_path_factory.mktemp("tsv") / "file", content)


PIECES = st.sampled_from(
    [
        *(b"idx", b"label", b"predict", b"radius", b"correct", b"time"),
        *(b"\t", b"\n", b" ", b"\r", b"\xff", b"\0", b"\xd9\xa1", b"\xe2\x80\xa8"),
        *(b"0", b"-1", b"0.5", b"1e-9999", b"1e400", b"1e999999999", b"9" * 400, b"nan", b"inf", b"-0.0", b"1_0"),
        b"1 day, 2:03:04",
    ]
)


@given(st.lists(PIECES, max_size=40), st.booleans())
@settings(max_examples=500)
def test_pieces_in_any_order_are_read_or_refused(tmp_path_factory, pieces, header):
    check_damaged(tmp_path_factory.mktemp("tsv") / "file", HEADER.encode() * header + b"".join(pieces))


def check_damaged(path, content):
    path.write_bytes(content)
    try:
        results = read_tsv(path)
    except ValueError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        assert len(str(error)) < len(str(path)) + 600
    else:
        assert np.all((results.radius >= 0) & (results.radius <= 1e9)) and np.all(results.label >= 0)
        assert len(set(results.index.tolist())) == len(results.index) and np.all(results.prediction >= -1)
        assert not results.radius[results.prediction == -1].any() and math.isfinite(results.rounding)
