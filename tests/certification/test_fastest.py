"""The fastest settings known for a device: which are chosen, which stay, and that what is certified is as it runs."""

import json

import pytest
import torch
from torch import nn

from lightning_rs.certification import Certification, CertificationSettings, certify_examples, fastest
from lightning_rs.certification.fastest import told_settings
from lightning_rs.certify import certify
from lightning_rs.certify import main as certify_main
from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import make_noise
from lightning_rs.smoothing import execution

PLAIN = {"precision": "float32", "channels_last": False, "fold_batch_norm": False, "compile": False}


def certification(classifier=None, **settings):
    torch.manual_seed(0)
    classifier = classifier or build_base_classifier("digits_cnn", 10, [1, 8, 8], [0.3], [0.4]).eval()
    settings = CertificationSettings(**{"n": 200, "mechanisms": ["cohen"], "limit": 3} | settings)
    noise = make_noise("grid_gaussian:levels=16", 0.25)
    return Certification(classifier, "digits_cnn", 10, noise, Digits().dataset("test"), "Digits", "test", settings)


def chosen(certification, *given):
    settings = fastest(certification, given).settings
    return {name: getattr(settings, name) for name in (*PLAIN, "batch_size")}


@pytest.mark.parametrize("native", [False, True])
def test_what_is_known_to_be_faster_is_chosen_and_what_is_given_stays(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    fast = {"precision": "bfloat16" if native else "float32", "channels_last": True, "fold_batch_norm": True} | {
        "compile": False,
        "batch_size": "auto",
    }
    assert chosen(certification()) == fast
    assert chosen(certification(batch_size=70), "batch_size", "channels_last") == fast | {
        "channels_last": False,
        "batch_size": 70,
    }
    assert told_settings(fastest(certification())).endswith("true, compile false, batch_size auto")


class Branches(nn.Module):
    """A net that cannot be traced, so that its batch norm cannot be folded."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.norm(x.flatten(1))
        return self.head(x if float(x.sum()) > 0 else -x)


class Foreign(nn.Module):
    fixed = "another program runs it"

    def forward(self, x):
        return x.flatten(1)[:, :10]


def test_what_a_classifier_does_not_bear_is_left_out():
    assert not chosen(certification(Branches().eval()))["fold_batch_norm"]
    assert chosen(certification(Branches().eval()))["channels_last"]
    assert chosen(certification(Foreign())) == PLAIN | {"batch_size": "auto"}
    random = certification(stochastic=True)
    assert chosen(random) == PLAIN | {"channels_last": True, "batch_size": "auto"}


def test_bfloat16_is_chosen_where_the_device_has_instructions_for_it(monkeypatch):
    for capability, native in [((7, 5), False), ((8, 0), True), ((9, 0), True)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=capability: has)
        assert execution.has_bfloat16(torch.device("cuda", 0)) is native
    assert not execution.has_bfloat16(torch.device("mps"))


def test_the_votes_are_those_of_the_plain_classifier_up_to_rounding():
    """Random weights: many noisy copies lie close to two classes' border, and hardly any crosses it."""
    plain, fast = (
        list(certify_examples(made, range(3))) for made in (certification(), fastest(certification(batch_size=100)))
    )
    for one, other in zip(plain, fast, strict=True):
        moved = sum(abs(one.counts.get(k, 0) - other.counts.get(k, 0)) for k in range(10))
        assert moved <= 2


def test_the_command_says_records_and_goes_on_with_what_it_chose(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--checkpoint", str(checkpoint), "--n=200", "--limit=2", "--wandb_mode=disabled", "--accelerator=cpu"]
    monkeypatch.setattr("lightning_rs.certification.examples.find_batch_size", lambda *_: 100)  # It takes seconds.
    certify_main([*words, "--output=fast", "--fast", "--channels_last=false"])
    precision = "bfloat16" if execution.has_bfloat16(torch.device("cpu")) else "float32"
    line = f"fast: precision {precision}, channels_last false, fold_batch_norm true, compile false, batch_size auto"
    assert line in capsys.readouterr().err
    run = json.loads((tmp_path / "fast" / "run.json").read_text())
    assert [run[name] for name in PLAIN] == [precision, False, True, False]
    before = (tmp_path / "fast" / "records-0.jsonl").read_bytes()
    # A file's options and a caller's are given, too; `--fast false` is none at all.
    (tmp_path / "same.yaml").write_text("fast: true\nchannels_last: false\nbatch_size: 50\n")
    certify_main([*words, "--output=fast", "--config=same.yaml"])
    assert "channels_last false, fold_batch_norm true, compile false, batch_size 50" in capsys.readouterr().err
    assert (tmp_path / "fast" / "records-0.jsonl").read_bytes() == before
    certify_main([*words, "--output=plain", "--fast=false"])
    assert "fast:" not in capsys.readouterr().err
    certify(
        str(checkpoint), fast=True, precision="float32", output="called", n=100, limit=1, wandb_mode="disabled"
    )
    assert json.loads((tmp_path / "called" / "run.json").read_text())["precision"] == "float32"
    assert load_checkpoint(checkpoint).sigma == 0.25
