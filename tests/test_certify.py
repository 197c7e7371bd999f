"""`python certify.py`, as a user runs it."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import wandb_reader
from conftest import HOME, ROOT, run_python, run_script
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lightning_rs.data import Digits
from lightning_rs.results import RunDirectory

QUICK = ("--n=300", "--wandb_mode=disabled", "--accelerator=cpu")


def certify(checkpoint, output, *arguments, **options):
    return run_script(
        "certify.py", "--checkpoint", checkpoint, "--output", output, *QUICK, *arguments, cwd=output.parent, **options
    )


def records(directory):
    return [asdict(record) | {"seconds": 0.0} for record in RunDirectory(directory).read()]


def test_the_checkpoint_of_a_training_is_certified_as_the_training_did(checkpoint, trained, tmp_path):
    done = certify(checkpoint, tmp_path / "out", "--n=500", "--limit=40", "--batch_size=100", "--devices=1")
    assert records(tmp_path / "out") == records(trained / "runs" / "short" / "certification")
    table = (trained / "stdout.txt").read_text().split("Records, table")[0]
    table = table[table.index("Certified accuracy (%)") :]
    assert table in done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "certified_accuracy.png",
        "certified_accuracy.svg",
        "hparams.yaml",
        "metrics.csv",
        "p_a.png",
        "p_a.svg",
        "radius_confidence.png",
        "radius_confidence.svg",
        "records-0.jsonl",
        "run.json",
        "table.csv",
        "table.md",
        "table.tex",
        "tsv",
    ]


def test_two_processes_give_the_records_of_one(checkpoint, tmp_path):
    options = ("--limit=9", "--batch_size=100")
    done = [certify(checkpoint, tmp_path / f"of{devices}", *options, f"--devices={devices}") for devices in (1, 2)]
    assert len(list((tmp_path / "of2").glob("records-*.jsonl"))) == 2
    assert records(tmp_path / "of1") == records(tmp_path / "of2")
    assert done[1].stdout.count("Certified accuracy (%)") == 1
    tables = [d.stdout.split("Records, table")[0] for d in done]
    assert tables[0] == tables[1]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--", ROOT / "certify.py")
    arguments = ("--checkpoint", checkpoint, "--output", tmp_path / "torchrun", "--devices=2", "--limit=9")
    run_python(*torchrun, *arguments, *QUICK, "--batch_size=100", cwd=tmp_path)
    assert len(list((tmp_path / "torchrun").glob("records-*.jsonl"))) == 2
    assert records(tmp_path / "torchrun") == records(tmp_path / "of1")


def test_a_pool_of_ray_on_this_machine_gives_the_records_of_one_process(checkpoint, trained, tmp_path):
    options = ("--engine=ray", "--workers=1", "--n=500", "--limit=40", "--batch_size=100")
    done = certify(checkpoint, tmp_path / "out", *options, fresh=True)  # Ray knows its processes by their parents.
    assert records(tmp_path / "out") == records(trained / "runs" / "short" / "certification")
    assert "Certified accuracy (%)" in done.stdout and "40 images" in done.stdout
    said = done.stderr.replace("\r", "\n").split("\n")
    assert all(line.startswith("Certifying test") for line in said if line.strip())  # Ray itself says nothing.
    assert not Path(HOME.name, ".ray").exists()  # Nor does it leave anything.
    done = certify(checkpoint, tmp_path / "new", *options, "--devices=2", status=2)
    assert done.stderr == "error: --engine ray takes --workers in the place of --devices and --num_nodes\n"


def test_order_and_batch_size(checkpoint, tmp_path):
    """Backwards over the data: the same records to the bit. Other batch sizes: the same noise, so the same votes."""
    forwards, backwards = list(range(6)), list(range(5, -1, -1))
    certify(checkpoint, tmp_path / "a", f"--indices={forwards}", "--batch_size=1000")
    certify(checkpoint, tmp_path / "b", f"--indices={backwards}", "--batch_size=1000")
    certify(checkpoint, tmp_path / "c", f"--indices={forwards}", "--batch_size=64")
    assert records(tmp_path / "a") == records(tmp_path / "b")
    assert [r["counts"] for r in records(tmp_path / "a")] == [r["counts"] for r in records(tmp_path / "c")]


def test_started_again_it_goes_on_and_another_run_is_refused(checkpoint, tmp_path):
    out = tmp_path / "out"
    certify(checkpoint, out, "--limit=8")
    complete = records(out)
    path = out / "records-0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:50])
    done = certify(checkpoint, out, "--limit=8")
    assert records(out) == complete
    assert path.read_text().splitlines(keepends=True)[:3] == lines[:3]
    assert "8 images" in done.stdout
    done = certify(checkpoint, out, "--limit=8", "--alpha=0.01", status=2)
    assert "holds another run; it differs in alpha (0.001 there, 0.01 now)" in done.stderr


def test_sigma_radii_mechanisms_and_the_default_directory(checkpoint, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    copy = folder / "last.ckpt"
    copy.write_bytes(checkpoint.read_bytes())
    arguments = ("--sigma=0.4", "--limit=3", "--radii=[0.1,0.7]", "--mechanisms=[cohen]", "--skip=2")
    done = run_script("certify.py", f"--checkpoint={copy}", *QUICK, *arguments, cwd=tmp_path)
    (directory,) = [p for p in (tmp_path / "run").iterdir() if p.name.startswith("certify-sigma0.4-n300-")]
    about = json.loads((directory / "run.json").read_text())
    assert (about["sigma"], about["mechanisms"], about["indices"]) == (0.4, ["cohen"], [0, 2, 4])
    assert "R>0.7" in done.stdout
    assert "cohen_two_sided" not in done.stdout


def test_wandb_run_of_its_own(checkpoint, tmp_path):
    """The offline run, read back: table of examples, curves, summary and records; resumed under the same id."""
    out = tmp_path / "out"
    arguments = ("--n=100", "--limit=5", "--accelerator=cpu", "--wandb_examples=3", f"--output={out}")
    for _ in range(2):
        done = run_script("certify.py", f"--checkpoint={checkpoint}", *arguments, cwd=tmp_path)
        assert "W&B: no API key found, logging offline" in done.stderr
    files = sorted(out.glob("wandb/offline-run-*/*.wandb"))
    identity = files[0].stem.removeprefix("run-")
    assert len({f.parent.name for f in files}) == len(files) >= 1
    assert {f.stem.removeprefix("run-") for f in files} == {identity}

    logged = {key: value for row in wandb_reader.history(files[-1]) for key, value in row.items()}
    assert (
        logged["certify_test/examples/_type"] == logged["certify_test/certified_accuracy_table/_type"] == "table-file"
    )
    folder = files[-1].parent / "files"
    curves = json.loads((folder / logged["certify_test/certified_accuracy_table/path"]).read_text())
    assert len(curves["data"]) == 2 * 101  # Two mechanisms.
    artifacts = wandb_reader.artifacts(files[-1])
    # A table with pictures is an artifact of its own: its JSON, and the PNG files that this names.
    (holder,) = [a for a in artifacts if a.name.startswith(f"run-{identity}-certify_testexamples")]
    local = {entry.path: Path(entry.local_path) for entry in holder.manifest.contents}
    (path,) = [path for name, path in local.items() if name.endswith(".table.json")]
    table = json.loads(path.read_text())
    answers = ["cohen prediction", "cohen radius", "cohen_two_sided prediction", "cohen_two_sided radius"]
    assert table["columns"] == ["index", "image", "label", "clean prediction", "confidence", *answers]
    held = {r["index"]: r for r in records(out)}
    assert [row[0] for row in table["data"]] == [0, 1, 3]
    for index, image, label, clean, confidence, *cells in table["data"]:
        record = held[index]
        assert (label, clean) == (record["label"], record["clean_prediction"])
        assert confidence == max(record["counts"].values()) / 100
        assert cells == [c[k] for c in record["certificates"].values() for k in ("prediction", "radius")]
        with Image.open(local[image["path"]]) as picture:
            assert picture.size == (8, 8)
            truth = Digits().dataset("test")[index][0][0]
            assert np.abs(np.asarray(picture.convert("L")) / 255 - truth.numpy()).max() < 0.003

    for mechanism in ("cohen", "cohen_two_sided"):
        right = [r["certificates"][mechanism]["prediction"] == r["label"] for r in held.values()]
        assert wandb_reader.summary(files[-1])[f"certify_test/{mechanism}/accuracy@0"] == np.mean(right)
    (artifact,) = [a for a in artifacts if a.type == "certification"]
    assert artifact.name == f"records-{identity}"
    held_files = {entry.path for entry in artifact.manifest.contents}
    assert held_files >= {"run.json", "records-0.jsonl", "table.csv", "tsv/cohen.tsv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma=0"], "error: sigma must be positive and finite, got 0.0"),
        (["--alpha=0"], "error: alpha must lie in (0, 1), got 0.0"),
        (["--n=3"], "error: cohen_two_sided cannot certify anything with n = 3 at alpha = 0.001: n must be >= 11"),
        (["--mechanisms=[coen]"], "error: unknown mechanism 'coen'; known: best, cohen, cohen_two_sided, cullen, "),
        (["--data=SVHN"], "error: unknown data set 'SVHN'; known: Arrays, CIFAR10, Digits, HuggingFace, "),
        (
            ["--data=CIFAR10"],
            "error: the model tells 10 classes of 1x8x8 images apart; CIFAR10 has 10 classes of 3x32x32",
        ),
        (["--data_dir=x"], "error: Digits does not take these arguments: "),
        (["--indices=[364]"], "error: indices must be one or more in [0, 363], got [364]"),
        (["--radii=[1,0]"], "error: radii must be strictly increasing, got [1.0, 0.0]"),
        (["--batch_size=0"], "error: batch_size must be an integer of at least 1, got 0"),
        (["--n=many"], "error: n: Expected an integer, got many"),
        (["--devices=zero"], "error: "),
        (["--accelerator=abacus"], "error: "),
        (["--sigma=0.001"], "error: sigma = 0.001 is rounded away on the grid of 1/16: it must be at least 0.0035"),
        (
            ["--noise=grid_gaussian:levels=255"],
            "error: Digits, test image 0: grid_gaussian noise needs inputs that are multiples of 1/255 in [0, 1]; ",
        ),
        (
            ["--mechanisms=[lipschitz:base_lipschitz=1.0]"],
            "error: lipschitz:base_lipschitz=1.0 needs the Lipschitz constant of what is smoothed; after rounding ",
        ),
        (["--noise=gaussian", "--quantize=true"], "error: quantize rounds images to the levels of the noise, and "),
        (["--seed=18446744073709551616"], "error: seed must be less than 2**64, got 18446744073709551616"),
        (["--shard=11/10"], "error: shard i/N must have 1 <= i <= N, got 11/10"),
        (["--shard=1/2", "--seed=random"], "error: every shard would draw a seed of its own, and all must have "),
        (["--frobnicate=1"], "error: unrecognized arguments: --frobnicate=1"),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(arguments, message, checkpoint, tmp_path):
    out = tmp_path / "out"
    done = run_script("certify.py", f"--checkpoint={checkpoint}", f"--output={out}", *arguments, cwd=tmp_path, status=2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_the_directory_of_a_training_is_refused_and_stays_as_it_is(checkpoint, trained, tmp_path):
    run = trained / "runs" / "short"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = certify(checkpoint, run, "--limit=2", status=2)
    assert done.stderr.startswith(f"error: {run} is not the directory of a certification: it holds ")
    assert "and no run.json; name a new one" in done.stderr and len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_json_edited_by_hand_is_refused(checkpoint, tmp_path):
    certify(checkpoint, tmp_path / "out", "--limit=2")
    path = tmp_path / "out" / "run.json"
    path.write_text(path.read_text().replace('"sigma": 0.25', '"sigma": 0.50'))
    for arguments in (("report", "out"), (f"--checkpoint={checkpoint}", "--output=out", "--limit=2", *QUICK)):
        done = run_script("certify.py", *arguments, cwd=tmp_path, status=2)
        assert done.stderr == "error: out/run.json cannot be read: its check sum does not fit\n"


def test_both_noises_say_what_they_promise(checkpoint, tmp_path):
    some = ("--n=300", "--limit=3")
    grid = certify(checkpoint, tmp_path / "grid", *some)
    assert "σ = 0.25 on the grid of 1/16, n = 300" in grid.stdout and "arithmetic" not in grid.stdout
    real = certify(checkpoint, tmp_path / "real", *some, "--noise=gaussian", "--seed=random")
    assert "σ = 0.25, assuming real arithmetic" in real.stdout
    assert "real: noise was added in floating point, so its certificates assume" in real.stdout
    rounded = certify(checkpoint, tmp_path / "rounded", *some, "--noise=grid_gaussian:levels=4", "--quantize=true")
    assert "rounded: what is certified are the images rounded to the grid" in rounded.stdout
    done = run_script("certify.py", "report", "grid", "real", "rounded", "--output=report", cwd=tmp_path)
    words = " ".join(done.stdout.split())
    noises = ("grid: noise σ = 0.25 on the grid of 1/16", "real: noise σ = 0.25, assuming", "rounded: noise σ = 0.25")
    assert all(noise in words for noise in noises)
    assert "real: noise was added in floating point" in (tmp_path / "report" / "table.md").read_text()
    again = run_script("certify.py", "recertify", "grid", "--alpha=0.01", cwd=tmp_path)
    assert "on the grid of 1/16, n = 300, α = 0.01" in again.stdout


def test_a_failure_of_the_first_batch_leaves_no_run_behind(checkpoint, tmp_path):
    """A classifier that cannot be prepared ends in one line, and a corrected command may use the directory."""
    out = tmp_path / "out"
    arguments = (f"--checkpoint={checkpoint}", f"--output={out}", "--limit=2", *QUICK)
    bad = run_script("certify.py", *arguments, "--precision=tf32", cwd=tmp_path, status=2)
    assert bad.stderr.splitlines()[-1] == "error: precision tf32 needs a CUDA device, got cpu"
    assert "Traceback" not in bad.stderr
    run_script("certify.py", *arguments, cwd=tmp_path)
    assert len(records(out)) == 2


def test_a_foreign_checkpoint_gives_the_records_of_ours(checkpoint, tmp_path):
    """The same net as {arch, state_dict}: data, sigma and normalisation are asked for, a wrong one is warned of."""
    content = torch.load(checkpoint, weights_only=True)
    net = {k.removeprefix("base_classifier."): v for k, v in content["state_dict"].items()}
    net = {k.replace("net.", "1.module.", 1): v for k, v in net.items() if k.startswith("net.")}
    foreign = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 1, "arch": "digits_cnn", "state_dict": net}, foreign)
    options = ("--data=Digits", "--sigma=0.25", "--limit=3", "--batch_size=100")
    done = certify(foreign, tmp_path / "none", *options, status=2)
    assert "error: " in done.stderr and "give normalization, standardize (" in done.stderr
    done = certify(foreign, tmp_path / "foreign", *options, "--normalization=standardize")
    assert "warning" not in done.stderr
    certify(checkpoint, tmp_path / "ours", "--limit=3", "--batch_size=100")
    assert records(tmp_path / "foreign") == records(tmp_path / "ours")
    done = certify(foreign, tmp_path / "wrong", *options, "--normalization=3/0.1")
    assert "warning: the normalisation is probably wrong" in done.stderr


MY_NET = """
import numpy as np
import torch

WEIGHTS = np.random.default_rng(0).standard_normal((64, 10)).astype("float32")

def trained(num_classes):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes, bias=False))
    net[1].weight.data = torch.from_numpy(WEIGHTS.T.copy())
    return net
"""


def test_a_net_without_a_checkpoint(tmp_path):
    """An ONNX file, and the same net as a user's callable: the same votes, in folders of their own."""
    (tmp_path / "my_net.py").write_text(MY_NET)
    weights = np.random.default_rng(0).standard_normal((64, 10)).astype("float32")
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["scores"])]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "linear", [images], [scores], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    common = (*QUICK, "--data=Digits", "--limit=4", "--batch_size=100")
    for options, said in (
        (("--arch=onnx/net.onnx",), "onnx/net.onnx does not say how images are normalised: give normalization: none"),
        (("--arch=onnx/net.onnx", "--normalization=none"), "onnx/net.onnx does not say the noise of its training: "),
        (
            ("--arch=onnx/net.onnx", "--normalization=none", "--sigma=0.25", "--precision=bfloat16"),
            "ONNX Runtime runs the model of the file as it is: leave precision out",
        ),
        (("--arch=exported/net.pt2", "--normalization=none", "--sigma=0.25"), "exported/net.pt2 is not read, since"),
    ):
        done = run_script("certify.py", *common, *options, cwd=tmp_path, status=2)
        assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_net.py", "net.onnx"]
    common = (*common, "--sigma=0.25", "--normalization=none")
    done = run_script("certify.py", *common, "--arch=onnx/net.onnx", cwd=tmp_path)
    assert "warning: of 100 clean images only" in done.stderr  # Its weights are random.
    run_script("certify.py", *common, "--arch=my_net.trained", "--weights=own", cwd=tmp_path)
    (file,), (own,) = ((tmp_path / "runs" / name).iterdir() for name in ("net.onnx", "my_net.trained"))
    assert file.name.startswith("certify-sigma0.25-n300-")
    assert [r["counts"] for r in records(file)] == [r["counts"] for r in records(own)]
    about = json.loads((file / "run.json").read_text())
    assert (about["architecture"], about["normalization"]) == ("onnx/net.onnx", None)
    (made,) = RunDirectory(file).environments()
    assert "onnxruntime" in made.versions


def test_bad_checkpoints(tmp_path):
    for name, message in (("none.ckpt", "no checkpoint at"), ("text.ckpt", "is not a checkpoint that loads safely")):
        if name == "text.ckpt":
            (tmp_path / name).write_text("hello")
        done = run_script("certify.py", f"--checkpoint={name}", cwd=tmp_path, status=2)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    torch.save({"model": 1}, tmp_path / "text.ckpt")
    done = run_script("certify.py", "--checkpoint=text.ckpt", cwd=tmp_path, status=2)
    assert "is not a checkpoint of a known form" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run_script("certify.py", cwd=tmp_path, status=2)
    assert done.stderr == (
        "error: give --checkpoint FILE, or with --arch a net that has its weights, such as onnx/FILE\n"
    )


def test_a_device_that_is_not_there_ends_in_one_line(checkpoint, tmp_path):
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if torch.cuda.is_available() else {}
    done = certify(checkpoint, tmp_path / "out", "--accelerator=gpu", status=2, **hidden)
    assert "error: No supported gpu backend found" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
