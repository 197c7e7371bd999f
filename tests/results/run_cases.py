"""Four examples of one mechanism, whose figures can be told by hand, and a run of them."""

from dataclasses import replace

from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory

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


def write_run(path, records=RECORDS, **changes):
    directory = RunDirectory(path)
    directory.create(replace(DESCRIPTION, **changes))
    with directory.appender(0) as file:
        for r in records:
            file.append(r)
    return path
