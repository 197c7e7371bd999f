"""Four examples of one mechanism, whose figures can be told by hand, and a run of them."""

from dataclasses import replace

from lightning_rs.mechanisms import list_mechanisms, parse_mechanism
from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory, run_of_records
from lightning_rs.results.recomputation import recompute
from lightning_rs.results.tsv import write_tsv

ABOUT = {
    "data": "Digits",
    "split": "test",
    "indices": [0, 1, 2, 3],
    "architecture": "digits_cnn",
    "sigma": 0.25,
    "n0": 100,
    "n": 10,
    "alpha": 0.01,
    "pixel_range": [0, 1],
    "mechanisms": ["cohen"],
}
DESCRIPTION = RunDescription(**ABOUT)


def record(index, label, clean, counts, prediction, radius):
    return Record(index, label, clean, {}, counts, {"cohen": ExampleCertificate(prediction, radius)}, 1.0)


RECORDS = [
    record(0, 1, 1, {1: 10}, 1, 0.5),
    record(1, 1, 0, {1: 6, 0: 4}, -1, 0.0),
    record(2, 0, 0, {2: 9, 0: 1}, 2, 0.3),
    record(3, 2, 2, {2: 8, 1: 2}, 2, 0.1),
]
BETTER = [replace(r, certificates={"cohen": ExampleCertificate(r.label, 0.4)}) for r in RECORDS]
UNANIMOUS = [replace(r, counts={r.label: 10}) for r in RECORDS]


def possible(records, run):
    """The records as the run could have given them: with all of its draws, and what really follows from the votes.

    Certificates of mechanisms that are not ours stay.
    """
    drawn = []
    for r in records:
        scale = run.n // sum(r.counts.values())
        counts = {c: votes * scale for c, votes in r.counts.items()}
        drawn.append(replace(r, selection=r.selection or {r.selected: run.n0}, counts=counts))
    ours = {m: parse_mechanism(m) for m in records[0].certificates if m.partition(":")[0] in list_mechanisms()}
    followed = recompute(drawn, run, run.alpha, ours)
    return [replace(r, certificates=d.certificates | r.certificates) for r, d in zip(followed, drawn, strict=True)]


def write_run(path, records=RECORDS, **changes):
    run = replace(DESCRIPTION, **({"mechanisms": tuple(records[0].certificates)} if records else {}) | changes)
    directory = RunDirectory(path)
    directory.create(run)
    with directory.appender(0) as file:
        for r in possible(records, run) if records else []:
            file.append(r)
    return path


def write_log(path, records=RECORDS):
    """The field's results file of these records."""
    write_tsv(run_of_records(records, DESCRIPTION, "log"), "cohen", path)
    return path
