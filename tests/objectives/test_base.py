"""What the base class adds to a loss: noise, stopping at a loss that is not finite, logs, and its plain arguments."""

import csv
import importlib
import json
from contextlib import nullcontext
from dataclasses import asdict

import pytest
import torch
from conftest import ROOT, run_python, run_script
from objective_checks import ARGUMENTS, OPTIONS, ObjectiveChecks, batch, fit
from pytorch_lightning import Callback, Trainer, seed_everything
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import MACER, OBJECTIVES, Engine, Gaussian, Optimizer, Schedule, SmoothingModule
from lightning_rs.objectives.finite import FiniteLosses


def test_every_objective_is_tested():
    for cls in OBJECTIVES.values():
        tests = vars(importlib.import_module(f"test_{cls.__module__.rpartition('.')[2]}")).values()
        checks = [value for value in tests if isinstance(value, type) and issubclass(value, ObjectiveChecks)]
        assert cls in {getattr(value, "objective", None) for value in checks}
    known = ["CATRS", "Clean", "Consistency", "Denoising", "DenoisingStability", "Gaussian", "MACER", "SmoothAdv"]
    assert sorted(OBJECTIVES) == [*known, "SmoothMix", "Stability"]


MINE = """
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.gaussian import gaussian_loss

class Mine(SmoothingModule):
    def __init__(self, *args, share: float = 1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.share = share

    def loss(self, x, y):
        logits = self(x + self.share * self.noise(x))
        return gaussian_loss(logits, y), logits
"""


def test_a_new_file_beside_the_others_is_an_objective_by_its_name(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.py").write_text(MINE)
    code = "import sys, lightning_rs.objectives as o; o.__path__.append(sys.argv.pop(1)); import train; train.main()"
    arguments = ["--model=Mine", "--model.share=0.5", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
    arguments += ["--certification.limit=1", "--certification.n=100", "--wandb.mode=disabled", "--name=run"]
    run_python("-c", code, tmp_path / "new", *arguments, cwd=tmp_path, PYTHONPATH=str(ROOT))
    with (tmp_path / "runs" / "run" / "metrics.csv").open() as file:
        assert any(row["train/loss"] for row in csv.DictReader(file))
    content = torch.load(tmp_path / "runs" / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (content["lightning_rs"]["objective"], content["hyper_parameters"]["share"]) == ("Mine", 0.5)


def test_an_objective_without_a_loss_cannot_be_built():
    class Nothing(SmoothingModule):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing(**ARGUMENTS)


def test_noise_has_sigma_is_not_clamped_and_precedes_normalisation():
    torch.manual_seed(0)
    module = Gaussian(**ARGUMENTS, sigma=0.5)
    seen = []
    module.base_classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.full((400, 1, 8, 8), 0.25)
    module.loss(x, torch.zeros(400, dtype=torch.int64))
    noise = seen[0] - x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)
    assert abs(float(noise.mean())) < 0.02
    assert float(seen[0].min()) < -1.0
    assert float(seen[0].max()) > 1.5
    assert type(module.base_classifier[0]).__name__ == "Normalize"


def test_validation_draws_the_same_noise_every_time_and_leaves_the_global_generator_alone():
    module, (x, y) = Gaussian(**ARGUMENTS, sigma=0.5), batch()
    loader = DataLoader(TensorDataset(x, y), batch_size=8, generator=torch.Generator())
    trainer = Trainer(enable_checkpointing=False, **OPTIONS)
    before = torch.get_rng_state()
    logged = [trainer.validate(module, loader, verbose=False)[0] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert logged[0] == logged[1]
    noise = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(0))
    assert torch.equal(module.noise(x, generator=torch.Generator().manual_seed(0)), 0.5 * noise)
    assert logged[0]["val/loss"] == pytest.approx(F.cross_entropy(module(x + 0.5 * noise), y).item(), rel=1e-6)


def test_base_classifier_is_the_registrys():
    torch.manual_seed(0)
    module = Gaussian(**ARGUMENTS)
    torch.manual_seed(0)
    same = build_base_classifier(*ARGUMENTS.values())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(module(x), same(x))


def test_pixels_outside_the_range_are_refused():
    module = Gaussian(**ARGUMENTS)
    batch = torch.rand(4, 1, 8, 8) * 255, torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\]"):
        module.training_step(batch, 0)


def test_a_checkpoint_holds_plain_arguments_and_builds_its_module_again(tmp_path):
    content = fit("MACER", tmp_path, epochs=1, schedule=Schedule("step", factor=0.5))
    assert content["hyper_parameters"] == ARGUMENTS | {
        "sigma": 0.5,
        "optimizer": asdict(Optimizer(lr=0.05)),
        "schedule": asdict(Schedule("step", factor=0.5)),
        "engine": asdict(Engine()),
        "noise": "gaussian",
        "stages": ["normalize", "net"],
        **dict.fromkeys(("denoiser", "weights", "freeze", "lora")),
        **{"k": 2, "lbd": 1.0, "beta": 16.0, "gamma": 8.0, "deferred": 0},
    }
    assert list(content["lightning_rs"]) == ["version", "objective", "data", "configs", "random_states"]
    again = MACER.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True, lbd=3.0)
    assert (again.optimizer, again.schedule) == (Optimizer(lr=0.05), Schedule("step", factor=0.5))
    assert (again.k, again.lbd) == (2, 3.0)
    assert all(torch.equal(value, content["state_dict"][key]) for key, value in again.state_dict().items())
    assert again.hparams == content["hyper_parameters"] | {"lbd": 3.0} == again.hparams_initial


class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == 7:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(float("nan"))


def test_a_loss_that_is_not_finite_stops_the_training_and_the_last_good_checkpoint_stands(tmp_path):
    with pytest.raises(
        FloatingPointError,
        match=r"the loss of MACER is not finite at step 7 \(epoch 1\): classification nan, robustness ",
    ):
        fit("MACER", tmp_path, [Poison()])
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (0, 5)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_where_one_looks_seldom_no_spoiled_weights_are_saved(tmp_path, monkeypatch):
    """As on a device that works ahead of its host: the steps of an epoch go by, its checkpoint is not written."""
    monkeypatch.setattr(FiniteLosses, "due", lambda *_: False)
    steps = Steps()
    with pytest.raises(FloatingPointError, match=r"not finite at step 7 \(epoch 1\): classification nan, robustness "):
        fit("MACER", tmp_path, [Poison(), steps])
    assert steps.done == 10  # Five an epoch; the validation of the second never began.
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (0, 5)
    module = MACER(**ARGUMENTS)
    module.trainer = Trainer(enable_checkpointing=False, **OPTIONS)
    module._losses.note(3, torch.tensor(float("nan")), {"a": torch.tensor(1.0)})
    with pytest.raises(FloatingPointError, match="at step 3"):
        module.on_save_checkpoint({"state_dict": {}})


class Steps(Callback):
    done = 0

    def on_train_batch_end(self, trainer, *_):
        self.done = trainer.global_step


class NoWaiting(TorchDispatchMode):
    """Refuses what makes a host wait for its device, as `torch.cuda.set_sync_debug_mode("error")` does on a GPU."""

    WAITING = {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten._unique2}  # noqa: RUF012

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket not in self.WAITING, func
        return func(*args, **(kwargs or {}))


class Guard(Callback):
    """Steps are guarded, but for the first of an epoch, which looks at the images; not what reads the images."""

    steps = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.mode = NoWaiting() if batch_idx else nullcontext()
        self.mode.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.mode.__exit__(None, None, None)
        self.steps += bool(batch_idx)


def test_nothing_that_lightning_does_around_a_step_waits_for_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(FiniteLosses, "due", lambda *_: False)  # As on a device that works ahead of its host.
    guard = Guard()
    fit("MACER", tmp_path, [guard], epochs=2)
    assert guard.steps == 8
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaiting():
        torch.ones(1).item()


def test_gradient_clipping_and_mixed_precision_train(tmp_path):
    seed_everything(0, verbose=False)
    module = MACER(**ARGUMENTS, sigma=0.5, k=2)
    norms = []

    class Norms(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if grads:
                norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))

    trainer = Trainer(
        max_steps=4,
        precision="bf16-mixed",
        gradient_clip_val=1e-3,
        callbacks=[Norms()],
        limit_val_batches=0,
        default_root_dir=tmp_path,
        **OPTIONS,
    )
    trainer.fit(module, datamodule=Digits())
    assert len(norms) >= 3
    assert max(norms) <= 1e-3 * (1 + 1e-4)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in module.parameters())


def test_parts_are_logged_and_sum_to_the_loss(tmp_path):
    module = MACER(**ARGUMENTS, sigma=0.5, k=2)
    trainer = Trainer(max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **OPTIONS)
    trainer.fit(module, datamodule=Digits(batch_size=200))
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert logged["train/loss"] == pytest.approx(logged["train/classification"] + logged["train/robustness"], rel=1e-5)
    assert 0 <= logged["train/noisy_accuracy"] <= 1


class SeenLosses(Callback):
    """Losses of an epoch's steps, and what a callback reads of them at the epoch's end."""

    def __init__(self):
        self.steps, self.read = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer, pl_module):
        self.read.append((float(trainer.callback_metrics["train/loss"]), sum(self.steps) / len(self.steps)))


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps_for_all_callbacks():
    seen = SeenLosses()
    trainer = Trainer(max_epochs=2, limit_val_batches=0, enable_checkpointing=False, callbacks=[seen], **OPTIONS)
    trainer.fit(Gaussian(**ARGUMENTS), datamodule=Digits(batch_size=200))
    assert [logged for logged, _ in seen.read] == pytest.approx([mean for _, mean in seen.read], rel=1e-5)
    assert seen.read[0] != seen.read[1]


def test_the_loss_of_an_epoch_that_is_cut_short_is_logged():
    seen = SeenLosses()
    options = {"max_steps": 7, "limit_val_batches": 0, "enable_checkpointing": False}
    trainer = Trainer(callbacks=[seen], **options, **OPTIONS)
    trainer.fit(Gaussian(**ARGUMENTS), datamodule=Digits(batch_size=200))
    assert len(seen.steps) == 2
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(sum(seen.steps) / 2, rel=1e-5)


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    script = ROOT / "tests" / "scripts" / "data_parallel_loss.py"
    done = run_script(script, cwd=tmp_path_factory.mktemp("ddp"), PYTHONPATH=str(ROOT))
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["Gaussian", "Stability", "MACER", "Consistency", "SmoothAdv", "SmoothMix", "CATRS"])
def test_two_processes_have_the_loss_and_gradient_of_one(name, differences):
    loss, gradient = differences[name]
    assert loss < 1e-5
    assert gradient < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0}, "sigma must be positive and finite, got 0"),
        ({"sigma": -0.5}, "sigma must be positive and finite, got -0.5"),
        ({"architecture": "none"}, "unknown model 'none'"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**(ARGUMENTS | change))
