from dataclasses import replace

import numpy as np
import pytest
from run_cases import RECORDS

from lightning_rs.results.columns import Columns


def test_rows_are_there_once_a_record_has_passed_and_come_by_index():
    columns = Columns()
    passed = columns.gather(iter(RECORDS[::-1]))
    assert next(passed) == RECORDS[3] and columns.by_index()[0]["index"].tolist() == [3]
    assert list(passed) == RECORDS[2::-1]
    values, certificates = columns.by_index()
    assert {name: column.tolist() for name, column in values.items()} == {
        "index": [0, 1, 2, 3],
        "label": [1, 1, 0, 2],
        "clean": [True, False, True, True],
        "noisy": [1.0, 0.6, 0.1, 0.8],
        "share": [1.0, 0.6, 0.9, 0.8],
        "votes": [10.0] * 4,
        "rival": [0.0, 0.4, 0.1, 0.2],
        "seconds": [1.0] * 4,
    }
    (prediction, radius) = certificates["cohen"]
    assert prediction.tolist() == [1, -1, 2, 2] and radius.tolist() == [0.5, 0.0, 0.3, 0.1]
    assert values["clean"].dtype == np.bool_ and values["index"].dtype == prediction.dtype == np.int64


def test_norms_and_failures_are_kept():
    columns = Columns()
    for record, fallback in zip(RECORDS, (True, False, None, True), strict=True):
        certificate = replace(record.certificates["cohen"], norm="l1", fallback=fallback)
        columns.add(replace(record, certificates={"mohapatra_l1": certificate}))
    assert (columns.norms, columns.fallbacks) == ({"mohapatra_l1": "l1"}, 2)


def test_nothing_gathered_is_nothing_held():
    values, certificates = Columns().by_index()
    assert certificates == {} and all(len(column) == 0 for column in values.values())


def test_a_record_without_the_first_ones_mechanism_is_none_of_them():
    columns = Columns()
    columns.add(RECORDS[0])
    with pytest.raises(KeyError):
        columns.add(replace(RECORDS[1], certificates={}))
