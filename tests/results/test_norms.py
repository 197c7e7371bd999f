"""The table says in which norm a radius is, and how many radii fell back to simpler ones."""

import dataclasses

import pytest
import torch

from lightning_rs import SmoothedClassifier
from lightning_rs.mechanisms import required_fields, resolve_mechanisms
from lightning_rs.results import Record
from lightning_rs.results.records import certificate_of, sparse, stored_statistics
from lightning_rs.results.report import print_table
from lightning_rs.results.runs import run_of_records

RUN = {"data": "Digits", "split": "test", "architecture": "halfspace", "sigma": 0.5, "n": 1000, "alpha": 0.001}


def records(*names):
    def classifier(x):
        return torch.stack([torch.zeros(len(x)), x[:, 0, 0, 0] - 0.4], dim=1)

    mechanisms = resolve_mechanisms(names)
    smoothed = SmoothedClassifier(classifier, 2, 0.5)
    for index in range(3):
        s = smoothed.sample(torch.zeros(1, 1, 2, 2), [index], n0=100, n=1000, fields=required_fields(mechanisms))
        certificates = {name: certificate_of(m.certify(s, 0.001)) for name, m in mechanisms.items()}
        votes = sparse(s.selection_counts[0]), sparse(s.counts[0])
        record = Record(index, 0, 0, *votes, certificates, 0.1, stored_statistics(s))
        assert Record.from_json(record.to_json()) == record
        yield record


def run_of(records):
    return run_of_records(list(records), RUN, "halfspace")


def test_norms_are_told_apart(capsys):
    print_table(run_of(records("cohen", "mohapatra_l1", "mohapatra_channel:height=1")), (0.0, 0.2))
    text = capsys.readouterr().out
    for name, norm in (("cohen", "l2"), ("mohapatra_l1", "l1"), ("mohapatra_channel:height=1", "l2_subspace")):
        (row,) = [line for line in text.splitlines() if f" {name} " in line]
        assert row.split("│")[2].strip() == norm
    assert "fell back" not in text


def test_l2_alone_needs_no_column(capsys):
    print_table(run_of(records("cohen", "cohen_two_sided")), (0.0, 0.2))
    text = capsys.readouterr().out
    assert "norm" not in text.split("3 images")[0]


@pytest.mark.parametrize("failures", [1, 2])
def test_fallbacks_are_counted(failures, capsys):
    made = list(records("cohen", "mohapatra_l1"))
    for k in range(failures):
        failed = made[k].certificates["mohapatra_l1"] | {"fallback": True}
        made[k] = dataclasses.replace(made[k], certificates=made[k].certificates | {"mohapatra_l1": failed})
    print_table(run_of(made), (0.0,))
    assert f"{failures} radii fell back to simpler ones" in capsys.readouterr().out
