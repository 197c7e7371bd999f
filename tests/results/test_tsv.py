"""Files in the field's form, made after its description with each of the variants; and the way there and back."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_cases import RECORDS, record

from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.results import ExampleCertificate
from lightning_rs.results.tsv import file_name, read_tsv, rounded_down, write_tsv

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
    with pytest.raises(ValueError, match="it is no text"):
        read_tsv(tmp_path / "image")


def test_what_is_written(tmp_path):
    write_tsv(RECORDS, "cohen", tmp_path / "tsv" / file_name("cohen"))
    assert (tmp_path / "tsv" / "cohen.tsv").read_text() == (
        HEADER
        + "0\t1\t1\t0.5\t1\t0:00:01\n"
        + "1\t1\t-1\t0\t0\t0:00:01\n"
        # The double next to .3 lies below it, that next to .1 above.
        + "2\t0\t2\t0.299999\t0\t0:00:01\n"
        + "3\t2\t2\t0.100000\t1\t0:00:01\n"
    )
    assert file_name("salman:bound=betting,x=0.5") == "salman-bound-betting-x-0.5.tsv"


@given(st.floats(min_value=0.0, max_value=1e6))
@settings(max_examples=500, deadline=None)
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
@settings(max_examples=100, deadline=None)
def test_there_and_back_never_raises_a_radius(tmp_path_factory, rows):
    records = [
        replace(record(i, label, 0, {0: 1}, prediction, radius if prediction >= 0 else 0.0), seconds=seconds)
        for i, (prediction, radius, label, seconds) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("tsv") / "file.tsv"
    for _ in range(2):  # And once more from what was read.
        write_tsv(records, "cohen", path)
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
