"""`certify.py attack` on a small certification of a real net on digits: as it is, and with what can be wrong."""

import csv
import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.attack.directory import AttackDirectory
from lightning_rs.attack.outcome import Attacked, Outcome
from lightning_rs.certification import CertificationSettings, certify_together, load_subject, recertify
from lightning_rs.cli import run_command
from lightning_rs.mechanisms import MECHANISMS
from lightning_rs.models import ARCHITECTURES
from lightning_rs.results import RunDirectory

GOLDEN = ROOT / "tests" / "golden"
MECHANISMS_HERE = ["cohen", "salman", "kumar_score", "mohapatra_linf"]
INDICES = [3, 17, 36, 69, 120, 233, 301, 360]
QUICK = ("--n=500", "--starts=1", "--steps=3", "--copies=8", "--accelerator=cpu", "--wandb_mode=disabled")
MINE = """
from dataclasses import replace

from lightning_rs.mechanisms.cohen import Cohen


class Inflated(Cohen):
    name = "inflated"

    def _certify(self, statistics, alpha):
        certificate = super()._certify(statistics, alpha)
        return replace(certificate, radius=2.5 * certificate.radius)


class Moody(Cohen):
    name = "moody"
    keeps = "mood"
"""


NET = """
import torch
from torch import nn


class Rounded(nn.Sequential):
    def forward(self, x):
        return torch.from_numpy(super().forward(x).detach().numpy())


def make(images):
    torch.manual_seed(0)
    return Rounded(nn.Flatten(), nn.Linear(64, 10))
"""


def certify(subject, directory, **settings):
    chosen = CertificationSettings(**{"n0": 50, "n": 300, **settings})
    certify_together(subject.certification(chosen, torch.device("cpu"), 0.25), directory, shown=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run: its checkpoint, and a certification of eight images."""
    run = tmp_path_factory.mktemp("attack") / "first"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").write_bytes(gzip.decompress((GOLDEN / "version1.ckpt.gz").read_bytes()))
    subject = load_subject(str(run / "checkpoints" / "last.ckpt"))
    certify(subject, run / "certification", mechanisms=MECHANISMS_HERE, indices=INDICES)
    return run


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """The run in a working directory with own modules."""
    (tmp_path / "attack_mine.py").write_text(MINE)
    (tmp_path / "attack_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (MECHANISMS, ARCHITECTURES):  # What is plugged in stays in its test.
        monkeypatch.setattr(registry, "_users", {})
    return Path(shutil.copytree(made, tmp_path / "runs" / "first"))


def attack(directory, *options):
    """The exit status."""
    try:
        run_command(["attack", str(directory), *QUICK, *map(str, options)])
    except SystemExit as left:
        return left.code
    return 0


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def outcomes(folder):
    """By image, without what differs each time."""
    lines = map(json.loads, (folder / "attacks.jsonl").read_text().splitlines())
    return {line["index"]: line | {"seconds": 0, "check": ""} for line in lines}


def test_certificates_are_attacked_and_what_was_found_is_told(work, capsys):
    directory = work / "certification"
    before = {path: path.read_bytes() for path in directory.iterdir()}
    assert attack(directory, "--limit=3", "--radii=[0, 0.2]") == 0
    out = capsys.readouterr().out
    assert "3 images attacked" in out and "0 violations of 12 certificates: no more than alpha allows" in out
    found = directory / "attack"
    records = {record.index: record for record in RunDirectory(directory).read()}
    images = rows(found / "images.csv")
    assert [int(row["index"]) for row in images] == [i for i in (3, 17, 36) for _ in range(4)]
    for row in images:
        certificate = records[int(row["index"])].certificates[row["mechanism"]]
        assert (int(row["prediction"]), float(row["radius"])) == (certificate.prediction, certificate.radius)
        assert row["norm"] == certificate.norm
        assert float(row["distance"] or "inf") > certificate.radius
    # Points near enough to say something of these certificates.
    ratios = [float(row["radius"]) / float(row["distance"]) for row in images if row["distance"]]
    assert len(ratios) > 6 and max(ratios) > 0.3
    assert [row["violations"] for row in rows(found / "table.csv")] == ["0"] * 4
    assert {path: path.read_bytes() for path in before} == before
    assert "attack/cohen/violations" in (found / "metrics.csv").read_text().splitlines()[0]


def test_it_goes_on_where_it_stopped_and_with_further_images_of_the_same_attack_alone(work, capsys):
    directory, options = work / "certification", ("--mechanisms=[cohen]",)
    attack(directory, *options, "--limit=2")
    complete = outcomes(directory / "attack")
    file = directory / "attack" / "attacks.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])
    attack(directory, *options, "--indices=[17, 301]")
    assert "2 images attacked" in capsys.readouterr().out
    found = outcomes(directory / "attack")
    assert found.keys() == {3, 17, 301} and {index: found[index] for index in complete} == complete
    assert file.read_bytes().startswith(lines[0])

    # With another run, other settings or other certificates it does not.
    about = json.loads((file.parent / "attack.json").read_text())
    about.pop("check")
    with AttackDirectory(file.parent, about).appender() as appender:
        appender.append(Outcome(36, 2, {"cohen": Attacked(2, 9.0, 9.5)}, 1, "gradient", 0.5))
    first = RunDirectory(directory)
    records, run = recertify(first.read(), first.run(), alpha=0.01)
    again = RunDirectory(first.path / "again")  # In the run's folder, too: its checkpoint is found.
    again.create(run)
    again.replace(records[:2])
    before = file.read_bytes()
    for records_of, other, message in (
        (directory, "--steps=4", "holds another attack; it differs in steps (3 there, 4 now)\n"),
        (directory, "--limit=3", "holds an attack on other certificates of image 36\n"),
        (again.path, f"--output={file.parent}", "holds another attack; it differs in run ("),
    ):
        assert attack(records_of, *options, other) == 2
        err = capsys.readouterr().err
        assert f"{file.parent} {message}" in err and len(err.splitlines()) == 1
    assert file.read_bytes() == before


def test_radii_that_are_too_large_are_found_violated(work, capsys):
    subject = load_subject(str(work / "checkpoints" / "last.ckpt"))
    certify(subject, work / "inflated", mechanisms=["attack_mine.Inflated", "attack_mine.Moody"], indices=INDICES)
    MECHANISMS._users.clear()
    assert attack(work / "inflated") == 2
    assert "what only a file names is never imported" in capsys.readouterr().err
    assert attack(work / "inflated", "--plugins=attack_mine", "--steps=10") == 1
    out, err = capsys.readouterr()
    assert err.startswith("not attacked: attack_mine.Moody keeps the mood of a hard classifier")
    *lines, last = [line for line in out.splitlines() if "attack_mine.Inflated" in line and "│" not in line]
    assert last.startswith("MORE VIOLATIONS THAN ALPHA ALLOWS: attack_mine.Inflated: ")
    violated = [row for row in rows(work / "inflated" / "attack" / "images.csv") if row["violated"] == "1"]
    assert len(violated) >= 4
    assert attack(work / "inflated", "--plugins=attack_mine", "--mechanisms=['attack_mine.Moody']") == 2
    assert [line.split(":")[0] for line in lines] == [f"image {row['index']}" for row in violated]


def test_without_gradients_answers_alone_are_asked_for(work, capsys):
    subject = load_subject(arch="attack_net.make", weights="own", data="Digits", normalization="none")
    certify(subject, work / "rounded", mechanisms=["cohen"], limit=2)
    own = ("--arch=attack_net.make", "--weights=own", "--data=Digits", "--normalization=none")
    assert attack(work / "rounded", *own) == 0
    err = capsys.readouterr().err
    assert err.count("no gradient reaches the images: black-box search") == 1
    assert {line["method"] for line in outcomes(work / "rounded" / "attack").values()} == {"black_box"}


def test_the_first_process_alone_works(work, capsys, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert attack(work / "certification") == 0
    assert capsys.readouterr().err == "process 1 has nothing to do: an attack is the first one's work\n"
    assert not (work / "certification" / "attack").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit=0"], "limit must be an integer of at least 1, got 0"),
        (["--indices=[3, 4]"], "runs/first/certification holds no record of image 4"),
        (["--mechanisms=[cohen, coen]"], "unknown mechanism of the records 'coen'; known: cohen, "),
        (["--steps=0"], "steps must be an integer of at least 1, got 0"),
        (["--alpha=1"], "alpha must lie in (0, 1), got 1"),
        (["--method=guess"], "method: Expected one of 'auto', 'gradient', 'black_box'"),
        (["--radii=[-1]"], "radii must be one or more finite numbers >= 0"),
        (["--checkpoint=none.ckpt"], "no checkpoint at none.ckpt"),
        (["--checkpoint=moved.ckpt"], "runs/first/certification holds certificates of another classifier or of other "),
        (["--data.val_size=0"], "Digits does not take these arguments: unknown val_size; known: batch_size, "),
        (["--data.nonsense"], "--data.nonsense expects a value"),
        (["--output=runs/first"], "runs/first is not the directory of an attack: it holds "),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(work, capsys, options, message):
    content = torch.load("runs/first/checkpoints/last.ckpt", weights_only=True)
    next(iter(content["state_dict"].values())).add_(0.01)
    torch.save(content, "moved.ckpt")
    before = sorted(work.parent.parent.rglob("*"))
    assert attack("runs/first/certification", *options) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1, err
    assert sorted(work.parent.parent.rglob("*")) == before


def test_records_without_their_classifier_and_no_records_at_all(work, capsys):
    shutil.move(work / "certification", "alone")
    assert attack("alone") == 2
    assert capsys.readouterr().err == (
        "error: the classifier is missing: alone holds records and not the classifier that they are of, and it lies in "
        "no training's folder: give --checkpoint FILE, or with --arch a net that has its weights\n"
    )
    assert attack("nowhere") == 2
    assert "nowhere is not the directory of a certification: it holds no run.json" in capsys.readouterr().err
