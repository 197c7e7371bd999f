"""What objectives of denoisers share: whatever the training does, the classifier stays as it is."""

import copy

import pytest
import torch
from objective_checks import ARGUMENTS, OPTIONS, batch
from pytorch_lightning import Trainer, seed_everything

from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import Denoising, DenoisingStability, Optimizer

COLOUR = {"architecture": "cifar_resnet20", "num_classes": 10, "input_shape": [3, 32, 32]} | {
    "mean": [0.3] * 3,
    "std": [0.4] * 3,
}
STAGES = ["denoiser:net=dncnn,depth=3,width=8", "normalize", "net"]


@pytest.mark.parametrize("objective", [Denoising, DenoisingStability])
def test_only_the_denoiser_learns_and_the_classifiers_batch_norms_stay(objective):
    torch.manual_seed(0)
    module = objective(**COLOUR, sigma=0.5, stages=STAGES).train()
    before = copy.deepcopy(module.base_classifier.state_dict())
    assert not any(m.training for stage in module.classifier for m in stage.modules())
    assert all(stage.training for stage in module.denoiser.modules())
    optimizer = module.optimizer.build(module.parameter_groups())
    assert len(optimizer.param_groups[0]["params"]) == len(list(module.denoiser.parameters()))
    x, y = torch.rand(4, 3, 32, 32), torch.randint(10, (4,))
    sum(module.loss(x, y)[0].values()).backward()
    optimizer.step()
    after = module.base_classifier.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {key for key in before if key.startswith("denoiser.")}
    assert all(p.grad is None for p in module.classifier.parameters())


def test_a_fit_keeps_the_classifier_and_its_checkpoint_holds_both(tmp_path):
    seed_everything(0, verbose=False)
    trained = build_base_classifier(*ARGUMENTS.values()).eval()
    module = Denoising(**ARGUMENTS, sigma=0.5, stages=STAGES, optimizer=Optimizer(lr=0.01))
    module.base_classifier.load_state_dict(trained.state_dict(), strict=False)
    before = copy.deepcopy(module.denoiser.state_dict())
    data = Digits(batch_size=200)
    trainer = Trainer(max_epochs=2, limit_val_batches=1, enable_checkpointing=False, **OPTIONS)
    trainer.fit(module, datamodule=data)
    assert trainer.callback_metrics["val/noisy_accuracy"] >= 0
    trainer.save_checkpoint(tmp_path / "both.ckpt")
    both = load_checkpoint(tmp_path / "both.ckpt").base_classifier
    x, _ = batch()
    assert torch.equal(both[1:](x), trained(x))
    assert not torch.equal(both.denoiser(x), x)
    assert not torch.equal(both.denoiser.dncnn[0].weight, before["dncnn.0.weight"])


@pytest.mark.parametrize("stages", [None, ["normalize", STAGES[0], "net"]])
def test_a_denoiser_has_to_be_the_first_stage(stages):
    with pytest.raises(ValueError, match=r"Denoising trains a denoiser, which is the first stage: .* got the stages n"):
        Denoising(**ARGUMENTS, stages=stages)
