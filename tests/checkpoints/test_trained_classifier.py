"""A denoiser trained for the classifier of a file, by the command line and by hand."""

import shutil

import pytest
import torch
from conftest import run_script
from models.hf_folders import save_tiny_vit

from lightning_rs.checkpoints import TrainedClassifier, load_checkpoint
from lightning_rs.data import Digits
from lightning_rs.models import configs_of, default_stages, load_named
from lightning_rs.objectives import Denoising, Gaussian

FACTS = {"num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.5], "std": [0.25]}  # Not those of the digits.
UNET = "unet,depth=1,width=2"


def save(path, module):
    """A checkpoint of a module as it is."""
    state = {f"base_classifier.{key}": value for key, value in module.base_classifier.state_dict().items()}
    about = {"version": "1", "objective": type(module).__name__, "data": None}
    about["configs"] = configs_of(module.base_classifier)
    torch.save({"state_dict": state, "hyper_parameters": dict(module.hparams), "lightning_rs": about}, path)
    return module.base_classifier.eval()


def denoising(facts=FACTS, **change):
    return Denoising("digits_cnn", **facts, denoiser=UNET, **change)


def test_net_stages_and_normalisation_are_those_of_the_file_and_the_denoiser_is_new(tmp_path):
    theirs = save(tmp_path / "classifier.ckpt", Gaussian("digits_cnn", **FACTS))
    trained = TrainedClassifier.load(tmp_path / "classifier.ckpt", UNET, ["normalize", "net"])
    assert (trained.denoiser, trained.checkpoint.stages) == (UNET, ("normalize", "net"))
    module = denoising(FACTS | {"mean": [0.0], "std": [1.0]}).eval()
    before = {key: value.clone() for key, value in module.denoiser.state_dict().items()}
    trained.give(module, Digits())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(module(x), theirs(module.denoiser(x)))
    assert all(map(torch.equal, before.values(), module.denoiser.state_dict().values()))


@pytest.mark.parametrize("named", [None, UNET])
def test_a_denoiser_in_the_file_goes_on(named, tmp_path):
    theirs = save(tmp_path / "both.ckpt", denoising())
    trained = TrainedClassifier.load(tmp_path / "both.ckpt", named)
    assert (trained.denoiser, trained.checkpoint.stages) == (None, (f"denoiser:net={UNET}", "normalize", "net"))
    module = denoising().eval()
    trained.give(module, Digits())
    assert all(map(torch.equal, module.base_classifier.state_dict().values(), theirs.state_dict().values()))


def test_what_does_not_fit_is_refused(tmp_path):
    save(tmp_path / "plain.ckpt", Gaussian("digits_cnn", **FACTS))
    save(tmp_path / "both.ckpt", denoising())
    save(tmp_path / "three.ckpt", Gaussian("digits_cnn", **FACTS | {"num_classes": 3}))
    load = TrainedClassifier.load
    with pytest.raises(ValueError, match=r"no denoiser to train before .*: name one, for example --denoiser dncnn"):
        load(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match=r"both.ckpt has a denoiser from which training would go on, .*2; got dncnn"):
        load(tmp_path / "both.ckpt", "dncnn")
    with pytest.raises(ValueError, match=r"plain.ckpt has the stages normalize, net; got net"):
        load(tmp_path / "plain.ckpt", UNET, ["net"])
    message = "the model tells 3 classes of 1x8x8 images apart; Digits has 10 classes of 1x8x8 images"
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "three.ckpt", UNET).give(denoising(), Digits())
    torch.save({"net.weight": torch.zeros(2)}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match=r"foreign.pth is not a checkpoint of train.py$"):
        load(tmp_path / "foreign.pth", UNET)
    lenet = Denoising("lenet", **FACTS | {"input_shape": [1, 28, 28]}, denoiser=UNET)
    with pytest.raises(ValueError, match=r"plain.ckpt does not fit the model: .* unexpected: net.0."):
        load(tmp_path / "plain.ckpt", UNET).give(lenet, Digits())


def train(folder, *arguments, **options):
    quick = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--wandb.mode=disabled")
    quick += ("--live_certification.every_n_epochs=0", "--certification.limit=2", "--certification.n=100")
    return run_script("train.py", *arguments, *quick, cwd=folder, **options)


def test_a_run_from_its_beginning_to_its_certificates_and_on_without_the_classifiers_file(checkpoint, tmp_path):
    classifier, last = tmp_path / "classifier.ckpt", "checkpoints/last.ckpt"
    shutil.copy(checkpoint, classifier)
    once = ("--trainer.max_epochs=1", "--model.schedule.name=constant")
    train(tmp_path, "--model=Denoising", f"--denoiser={UNET}", f"--model.classifier={classifier}", "--name=a", *once)
    start = load_checkpoint(tmp_path / "runs/a" / last).base_classifier
    classifier.unlink()
    train(tmp_path, "--resume=runs/a", "--trainer.max_epochs=2")
    run_script("certify.py", f"--checkpoint=runs/a/{last}", "--n=100", "--limit=2", cwd=tmp_path)
    # The next one starts from both, which the file of the first one names.
    train(tmp_path, "--model=DenoisingStability", f"--model.classifier=runs/a/{last}", "--name=b", *once)
    theirs, x = load_checkpoint(checkpoint).base_classifier, torch.rand(3, 1, 8, 8)
    for run in ("a", "b"):
        both = load_checkpoint(tmp_path / "runs" / run / last)
        assert both.stages == (f"denoiser:net={UNET}", "normalize", "net")
        assert torch.equal(both.base_classifier[1:](x), theirs(x))
        assert not torch.equal(both.base_classifier.denoiser(x), start.denoiser(x))


def test_a_net_that_only_the_file_has_any_more(tmp_path):
    """A classifier whose folder is gone, and whose place nobody says, is built from its file."""
    folder = tmp_path / "vit"
    save_tiny_vit(folder)
    load_named(f"hf/{folder}")
    stages = default_stages(f"hf/{folder}", (1, 8, 8))
    theirs = save(tmp_path / "vit.ckpt", Gaussian(f"hf/{folder}", **FACTS, stages=stages))
    shutil.rmtree(folder)
    options = ("--model=Denoising", f"--denoiser={UNET}", "--model.classifier=vit.ckpt", "--name=a")
    done = train(tmp_path, *options, "--trainer.max_epochs=1")
    assert "the training starts from" not in done.stdout
    both = load_checkpoint(tmp_path / "runs/a/checkpoints/last.ckpt")
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(both.base_classifier[1:](x), theirs(x))


def test_without_a_classifier_there_is_nothing_to_train_for(tmp_path):
    done = train(tmp_path, "--model=Denoising", "--denoiser=dncnn", status=2)
    assert "error: a denoiser is trained for a classifier: name its file, --model.classifier" in done.stderr
    assert list(tmp_path.iterdir()) == []
