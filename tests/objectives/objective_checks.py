"""What holds for every objective: its loss, precision, batch norms, and that a step lowers its loss. And real fits."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_rs.data import Digits
from lightning_rs.objectives import CATRS, MACER, Engine, Gaussian, Optimizer, SmoothingModule

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}
OPTIONS = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False} | {
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
MODULES = {
    "Gaussian": (Gaussian, {}),
    "MACER": (MACER, {"k": 2, "lbd": 1.0}),
    "CATRS": (CATRS, {"m": 2, "steps": 1}),
}


def batch(rows=8):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, 1, 8, 8, generator=generator), torch.randint(10, (rows,), generator=generator)


def fit(name, folder, callbacks=(), ckpt_path=None, epochs=4, **change):
    """The checkpoint that a training on digits ends with."""
    seed_everything(3, verbose=False)
    cls, options = MODULES[name]
    module = cls(**ARGUMENTS, sigma=0.5, optimizer=Optimizer(lr=0.05), **options, **change)
    saver = ModelCheckpoint(folder, save_last=True)
    # Batches of 200 leave the order of the data to matter, and steps short.
    trainer = Trainer(max_epochs=epochs, callbacks=[saver, *callbacks], limit_val_batches=1, **OPTIONS)
    trainer.fit(module, datamodule=Digits(batch_size=200), ckpt_path=ckpt_path, weights_only=True)
    return torch.load(folder / "last.ckpt", weights_only=True)


class ObjectiveChecks:
    """Derived in the test file of an objective by a class that names it, and arguments for few copies."""

    objective: type[SmoothingModule]
    options: dict = {}  # noqa: RUF012
    frozen: tuple[str, ...] = ()  # Stages that do not learn.

    @classmethod
    def build(cls, **change):
        torch.manual_seed(0)
        return cls.objective(**ARGUMENTS, sigma=0.5, **cls.options, **change)

    def test_loss_gives_scalar_parts_logits_of_all_copies_and_gradients_of_all_weights(self):
        module, (x, y) = self.build(), batch()
        parts, logits = module.loss(x, y)
        assert logits.shape == (8 * self.options.get("m", self.options.get("k", 1)), 10)
        assert all(part.shape == () and part.requires_grad for part in parts.values())
        sum(parts.values()).backward()
        for name, stage in module.base_classifier.named_children():
            learns = name not in self.frozen
            assert all(m.training == learns for m in stage.modules())
            assert all((p.grad is not None) == learns for p in stage.parameters())
        weights = [p for p in module.parameters() if p.requires_grad]
        assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in weights)

    def test_mixed_precision_gives_losses_in_float32_near_those_in_full(self):
        module, (x, y) = self.build(), batch()
        torch.manual_seed(1)
        full, _ = module.loss(x, y)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, logits = module.loss(x, y)
        assert logits.dtype == torch.bfloat16
        for part, value in mixed.items():
            assert value.dtype == torch.float32
            assert value.item() == pytest.approx(full[part].item(), rel=0.1, abs=0.02)
        sum(mixed.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.requires_grad)

    @pytest.mark.parametrize("channels_last", [False, True])
    def test_a_step_asks_the_device_for_nothing(self, channels_last):
        """On a device without values, whoever asks for one fails: item(), cpu(), or as many rows as are right."""
        module = self.build(engine=Engine(channels_last=channels_last)).to("meta")
        x, y = (tensor.to("meta") for tensor in batch())
        optimizer = module.optimizer.build(module.parameter_groups())
        for step in (1, 2):  # The first of an epoch looks at the images.
            module.training_step((x, y), step).backward()
            optimizer.step()
        with pytest.raises(RuntimeError):
            module.training_step((x, y), 0)

    def test_training_on_one_batch_lowers_the_loss(self):
        module, (x, y) = self.build(), batch()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)

        def loss():
            torch.manual_seed(1)
            return sum(module.loss(x, y)[0].values())

        first = loss()
        for _ in range(20):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        assert loss().item() < 0.9 * first.item()


def distances_of_the_images_that_the_loss_sees(module, learning_passes):
    """l2 distances (rows,) of the last images from those of `batch`.

    The last forward passes must run on attacked image + the very noise of the attack, in training mode.
    """
    x, y = batch()
    seen = []
    module.base_classifier.register_forward_pre_hook(
        lambda net, inputs: seen.append((net.training, inputs[0].detach()))
    )
    module.loss(x, y)
    assert [training for training, _ in seen] == [False] * module.steps + [True] * learning_passes
    noise = seen[0][1] - x.repeat(3, 1, 1, 1)  # The first step starts at the images.
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    for _, rows in seen[1:]:
        images = (rows - noise).view(3, 8, 1, 8, 8)
        assert torch.allclose(images[0], images[1], atol=1e-6)
        assert torch.allclose(images[0], images[2], atol=1e-6)
        assert images.min() >= -1e-6
        assert images.max() <= 1 + 1e-6
    distance = (images[0] - x).flatten(1).norm(dim=1)
    assert (distance > 0.05).all()
    return distance
