import json

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_rs import SmoothedClassifier
from lightning_rs.callbacks import CertificationCallback
from lightning_rs.data import Digits
from lightning_rs.objectives import Gaussian, Optimizer

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}


def make_trainer(*callbacks, **options):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False} | options
    return Trainer(accelerator="cpu", devices=1, callbacks=list(callbacks), enable_model_summary=False, **options)


class WithBatchNormAndDropout(Gaussian):
    """A module whose training uses both random numbers and running statistics in the forward pass."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10)
        )
        self.base_classifier = nn.Sequential(self.base_classifier[0], net)


def fit(*callbacks, epochs=3):
    seed_everything(5)
    module = WithBatchNormAndDropout(**ARGUMENTS, optimizer=Optimizer(lr=0.05))
    make_trainer(*callbacks, max_epochs=epochs).fit(module, Digits())
    return module


def test_training_is_the_same_to_the_bit_with_and_without_it():
    callback = CertificationCallback(limit=20, n=200)
    with_it, without = fit(callback), fit()
    assert len(callback.records) == 20
    for (name, a), b in zip(with_it.state_dict().items(), without.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_records_are_those_of_the_smoothed_classifier():
    module = Gaussian(**ARGUMENTS, sigma=0.5)
    callback = CertificationCallback("test", indices=[5, 3, 11], n0=20, n=300, alpha=0.01, seed=4)
    make_trainer(callback).test(module, Digits(), verbose=False)
    assert [r.index for r in callback.records] == [3, 5, 11]
    images, labels = Digits().dataset("test").tensors
    g = SmoothedClassifier(module.base_classifier, 10, 0.5, levels=16, seed=4)
    certificates = g.certify(images[[3, 5, 11]], n0=20, n=300, alpha=0.01, index=[3, 5, 11])
    module.eval()
    for i, record in enumerate(callback.records):
        assert record.label == int(labels[record.index])
        assert record.clean_prediction == int(module(images[record.index : record.index + 1]).argmax())
        for name, certificate in certificates.items():
            assert record.certificates[name].radius == certificate.radius[i]
            assert record.certificates[name].prediction == certificate.prediction[i]


def test_it_runs_every_n_epochs_is_silent_in_the_sanity_check_and_logs_what_can_be_monitored():
    calls = []

    class Watched(CertificationCallback):
        def _certify(self, trainer, pl_module):
            calls.append((trainer.current_epoch, trainer.sanity_checking, self._prefix))
            super()._certify(trainer, pl_module)

    callback = Watched(every_n_epochs=2, limit=5, n=100, radii=[0.0, 0.1])
    trainer = make_trainer(callback, max_epochs=5, num_sanity_val_steps=1)
    trainer.fit(Gaussian(**ARGUMENTS), Digits())
    assert calls == [(1, False, "certify"), (3, False, "certify")]
    logged = {key for key in trainer.callback_metrics if key.startswith("certify/")}
    for mechanism in ("cohen", "cohen_two_sided"):
        for figure in ("accuracy@0", "accuracy@0.1", "acr", "abstention_rate", "smoothed_accuracy"):
            assert f"certify/{mechanism}/{figure}" in logged
    assert {"certify/clean_accuracy", "certify/noisy_accuracy", "certify/seconds"} <= logged


def test_never_and_the_other_split():
    for callback in (CertificationCallback(every_n_epochs=0, n=100), CertificationCallback("test", n=100)):
        make_trainer(callback, max_epochs=1, limit_train_batches=1).fit(Gaussian(**ARGUMENTS), Digits())
        assert callback.records == []


def test_loaders_without_a_data_module_and_fast_dev_run(tmp_path):
    data = TensorDataset(torch.rand(7, 1, 8, 8), torch.arange(7))
    callback = CertificationCallback("test", n=100, output=str(tmp_path / "out"))
    make_trainer(callback, fast_dev_run=True).test(Gaussian(**ARGUMENTS), DataLoader(data), verbose=False)
    assert len(callback.records) == 1
    assert not (tmp_path / "out").exists()
    make_trainer(callback := CertificationCallback("test", n=100)).test(
        Gaussian(**ARGUMENTS), DataLoader(data), verbose=False
    )
    assert [r.index for r in callback.records] == list(range(7))


def test_images_outside_the_pixel_range_are_refused():
    data = TensorDataset(torch.rand(7, 1, 8, 8) * 255, torch.arange(7))
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\]"):
        make_trainer(CertificationCallback("test", n=100)).test(Gaussian(**ARGUMENTS), DataLoader(data), verbose=False)


def test_any_module_with_a_classifier_its_classes_and_sigma_is_certified():
    class Bare(LightningModule):
        """Whose own setting `noise` is no distribution."""

        def __init__(self, noise=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.base_classifier, self.num_classes, self.sigma = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 10, 0.5

        def test_step(self, batch, batch_idx):
            pass

    callback = CertificationCallback("test", n=100, limit=2)
    make_trainer(callback).test(Bare(), Digits(), verbose=False)
    assert [record.index for record in callback.records] == [0, 1]


@pytest.mark.parametrize("limit", [7, 1])
def test_two_processes_give_the_records_and_metrics_of_one(tmp_path, limit):
    """With an odd number of examples, with one, so that a rank has none, and with batch norm that differs by rank."""
    results = {}
    for devices in (1, 2):
        path = tmp_path / f"of{devices}"
        run_script("tests/scripts/live_certification.py", path, devices, limit, cwd=tmp_path, PYTHONPATH=str(ROOT))
        results[devices] = [json.loads((tmp_path / f"of{devices}-{rank}.json").read_text()) for rank in range(devices)]
    one, (first, second) = results[1][0], results[2]
    assert [r["index"] for r in one["records"]] == list(range(limit))
    assert first == second == one
    assert all(np.isfinite(list(one["metrics"].values())))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "unknown split 'train'; known: test, val"),
        ({"every_n_epochs": -1}, "every_n_epochs must be an integer of at least 0, got -1"),
        ({"skip": 0}, "skip must be an integer of at least 1, got 0"),
        ({"limit": 0}, "limit must be an integer of at least 1, got 0"),
        ({"indices": [-1]}, "indices must be one or more in"),
        ({"n0": 0}, "n0 must be an integer of at least 1, got 0"),
        ({"n": 5}, "cohen_two_sided cannot certify anything with n = 5 at alpha = 0.001: n must be >= 11"),
        ({"alpha": 0.0}, r"alpha must lie in \(0, 1\), got 0.0"),
        ({"radii": [0.5, 0.25]}, r"radii must be strictly increasing, got \[0.5, 0.25\]"),
        ({"radii": []}, "radii must be one or more"),
        ({"mechanisms": ["coen"]}, "unknown mechanism 'coen'; known: best, cohen, cohen_two_sided, cullen, "),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        CertificationCallback(**arguments)
