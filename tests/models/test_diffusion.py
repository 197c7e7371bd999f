"""One-step diffusion denoising: the published steps, diffusers' own estimate, and votes known in closed form."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from scipy import stats
from torch import nn

from lightning_rs.models import ImageFacts, build_base_classifier, configs_of, load_named, set_sigma
from lightning_rs.models.diffusion import DiffusionDenoiser, diffusion_denoiser, read_diffusion, step_of
from lightning_rs.smoothing import Preparation, prepare
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler

DIGITS = ImageFacts(10, (1, 8, 8), [0.5], [0.5])
LINEAR = DDPMScheduler().alphas_cumprod.double()


def edited(folder, place, file, **values):
    """A copy of a model's folder with other values in one of its configurations."""
    shutil.copytree(folder, place)
    config = json.loads((place / file).read_text())
    (place / file).write_text(json.dumps(config | values))
    return place


@pytest.mark.parametrize(
    ("schedule", "timesteps", "expected"),
    [("linear", 1000, [70, 145, 259, 396]), ("squaredcos_cap_v2", 4000, [573, 1158, 1984, 2809])],
)
def test_the_published_steps(schedule, timesteps, expected):
    alphas = DDPMScheduler(timesteps, beta_schedule=schedule).alphas_cumprod.tolist()
    assert [step_of(alphas, sigma) for sigma in (0.12, 0.25, 0.5, 1.0)] == expected


def test_the_first_step_serves_the_least_noise_and_none_serves_too_much():
    assert step_of(LINEAR.tolist(), 1e-6) == 1
    with pytest.raises(ValueError, match=r"^the diffusion denoiser knows noise up to sigma = 78\.7, got 79$"):
        step_of(LINEAR.tolist(), 79.0)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("channels", [1, 2], ids=["noise alone", "with learnt variances"])
def test_the_estimate_is_that_of_diffusers(diffusion_folder, tmp_path, prediction, channels):
    torch.manual_seed(0)
    place = edited(diffusion_folder, tmp_path / "a", "scheduler/scheduler_config.json", prediction_type=prediction)
    if channels == 2:
        config = UNet2DModel.load_config(place / "unet")
        UNet2DModel.from_config(config, out_channels=2).save_pretrained(place / "unet")
    denoiser = read_diffusion(str(place))(DIGITS)
    abar = float(LINEAR[145])
    denoiser.set_sigma(0.5 * math.sqrt((1.0 - abar) / abar) * (1.0 - 1e-9))  # Rounded up it would be the next step.
    assert int(denoiser.step) == 145

    x = torch.rand(5, 1, 8, 8)
    noisy = x + 0.25 * torch.randn_like(x)
    scaled = math.sqrt(abar) * (2.0 * noisy - 1.0)
    scheduler = DDPMScheduler(prediction_type=prediction, variance_type="learned" if channels == 2 else "fixed_small")
    unet = UNet2DModel.from_pretrained(place, subfolder="unet").eval()
    with torch.no_grad():
        theirs = scheduler.step(unet(scaled, 145).sample, 145, scaled).pred_original_sample
        ours = denoiser(noisy)
    assert prediction != "epsilon" or (theirs.abs() == 1.0).any()  # Clipped.
    torch.testing.assert_close(2.0 * ours - 1.0, theirs, rtol=0, atol=1e-6)


class PosteriorMean(nn.Module):
    """The noise that is left when the best estimate of images of independent Gaussian pixels is taken off."""

    def __init__(self, mean, prior, sigma):
        super().__init__()
        self.mean, self.gain = mean, prior**2 / (prior**2 + sigma**2)
        self.abar = 1.0 / (1.0 + 4.0 * sigma**2)

    def forward(self, scaled, step, return_dict):
        noisy = (scaled / math.sqrt(self.abar) + 1.0) / 2.0
        best = self.mean + self.gain * (noisy - self.mean)
        return ((scaled - math.sqrt(self.abar) * (2.0 * best - 1.0)) / math.sqrt(1.0 - self.abar),)


@pytest.mark.parametrize("sigma", [0.25, 0.5])
@pytest.mark.parametrize("p", [0.3, 0.8, 0.99])
def test_votes_behind_the_best_denoiser_of_a_gaussian_prior_are_those_computed(sigma, p):
    generator = torch.Generator().manual_seed(0)
    prior = 0.02 + 0.1 * torch.rand(1, 3, 3, generator=generator)
    x = torch.rand(1, 3, 3, generator=generator) * 0.2 + 0.4
    unet = PosteriorMean(torch.full((1, 3, 3), 0.5), prior, sigma)
    denoiser = DiffusionDenoiser(unet, LINEAR.tolist())
    denoiser.set_sigma(sigma)
    weight = torch.linspace(-1.0, 1.0, 9)
    # The estimate is linear, and normal under the noise, with a standard deviation of 6 % at most: never clipped.
    spread = sigma * float((weight * unet.gain.flatten()).norm())
    assert float(sigma * unet.gain.max()) < 0.06
    centre = float(weight @ (0.5 + unet.gain * (x - 0.5)).flatten())
    linear = nn.Linear(9, 2)
    linear.weight.data = torch.stack([weight, torch.zeros(9)])
    linear.bias.data = torch.tensor([spread * float(stats.norm.ppf(p)) - centre, 0.0])
    classifier = nn.Sequential(denoiser, nn.Flatten(), linear)

    n = 200_000
    sampler = Sampler(classifier, 2, sigma, 10_000, 1, torch.device("cpu"))
    (sample,) = sampler.run([(0, x)], Plan((n,)))
    assert stats.binomtest(int(sample.counts[0]), n, p).pvalue > 1e-3


def test_the_step_that_the_net_is_asked_at(diffusion_folder):
    class Recording(nn.Module):
        def forward(self, noisy, step, return_dict):
            self.asked = noisy, float(step)
            return (torch.zeros_like(noisy),)

    x = torch.rand(2, 1, 8, 8)
    alphas = DDPMScheduler(4000, beta_schedule="squaredcos_cap_v2").alphas_cumprod.tolist()
    for rescale, asked, said in ((False, 1158.0, ""), (True, 289.5, ", rescaled to 1000")):
        denoiser = DiffusionDenoiser(Recording(), alphas, rescale_timesteps=rescale)
        denoiser.set_sigma(0.25)
        estimate = denoiser(x)
        noisy, step = denoiser.unet.asked
        assert step == asked
        torch.testing.assert_close(noisy, (2.0 * x - 1.0) / math.sqrt(1.25))
        torch.testing.assert_close(estimate, x)
        assert denoiser.label == f"diffusion at t = 1158 of 4000{said}, epsilon"  # Another net for the records.


@pytest.fixture(scope="module")
def classifier(diffusion_folder):
    torch.manual_seed(0)
    stages = [f"denoiser:net=diffusion/{diffusion_folder}", "normalize", "net"]
    load_named(stages=stages)
    classifier = build_base_classifier("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], stages).eval()
    set_sigma(classifier, 0.25)
    return classifier


def test_it_is_built_again_from_plain_values_without_its_folder(classifier):
    configs = json.loads(json.dumps(configs_of(classifier)))
    stages = ["denoiser:net=diffusion/no/such/folder", "normalize", "net"]
    again = build_base_classifier("digits_cnn", 10, (1, 8, 8), [0.5], [0.5], stages, configs).eval()
    again.load_state_dict(classifier.state_dict())
    with pytest.raises(ValueError, match="^the diffusion denoiser does not know the noise yet: call set_sigma$"):
        again(torch.rand(1, 1, 8, 8))
    set_sigma(again, 0.25)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), classifier(x))
    assert configs_of(again) == configs


def test_it_stays_as_it_is_while_a_classifier_is_trained_behind_it(classifier):
    classifier.train()
    try:
        assert not any(module.training for module in classifier.denoiser.modules())
        assert not any(parameter.requires_grad for parameter in classifier.denoiser.parameters())
        x = torch.rand(2, 1, 8, 8, requires_grad=True)
        classifier(x).sum().backward()
        assert x.grad.abs().sum() > 0  # Attacks on the classifier go through it.
    finally:
        classifier.eval()


@pytest.mark.parametrize(
    "options", [{"channels_last": True}, {"fold_batch_norm": True}, {"precision": "bfloat16"}], ids=str
)
def test_it_is_run_as_the_classifier_is(classifier, options):
    rows = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        expected, scores = classifier(rows), prepare(classifier, Preparation(**options), rows)(rows)
    assert (scores - expected).abs().max() < (0.05 if "precision" in options else 1e-5) * expected.abs().max()


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("unet", {"_class_name": "os.system"}, r"unet has \['_class_name'\]; known: "),
        ("unet", {"_name_or_path": "/etc/passwd"}, r"unet has \['_name_or_path'\]; known: "),
        ("unet", {"act_fn": "os.system"}, "unet.act_fn must be a word or a number, got 'os.system'"),
        ("unet", {"act_fn": {"a": 1}}, "unet.act_fn must be a word or a number"),
        ("unet", {"down_block_types": ["print", "DownBlock2D"]}, "unet cannot be built: print does not exist"),
        ("unet", {"block_out_channels": [10**9, 16]}, "unet.block_out_channels must be a word or a number"),
        ("unet", {"layers_per_block": 5000}, r"must have 1 to 20 blocks of 1 to 100 layers, got \['DownBlock2D', "),
        ("unet", {"down_block_types": "DownBlock2D"}, "must have 1 to 20 blocks of 1 to 100 layers, got 'DownBlock2D'"),
        ("unet", {"num_class_embeds": 10}, "wants the image's class, which nobody knows: it must be unconditional"),
        ("scheduler", {"_class_name": "DDPMScheduler"}, r"scheduler has \['_class_name'\]"),
        ("scheduler", {"beta_schedule": "none"}, "scheduler cannot be built: none is not implemented"),
        ("scheduler", {"trained_betas": [2.0, 2.0]}, "scheduler has no noise levels"),
        ("scheduler", {"prediction_type": "flow"}, "unknown prediction_type 'flow'; known: epsilon, sample, v_pred"),
        ("weights", {"path": "a"}, r"a diffusion denoiser is made of unet and scheduler, got \['scheduler', 'unet', "),
    ],
)
def test_values_of_a_file_that_make_no_denoiser(classifier, part, values, message):
    config = configs_of(classifier)["denoiser"]
    with pytest.raises(ValueError, match=message):
        diffusion_denoiser(DIGITS, config | {part: config.get(part, {}) | values})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), "takes 1 channels and returns 1; images of 3 need 3, and 3 or 6"),
        ((1, 9, 8), "halves images 1 times: height and width must be multiples of 2, got 9x8"),
    ],
)
def test_images_that_it_does_not_take(diffusion_folder, shape, message):
    with pytest.raises(ValueError, match=message):
        read_diffusion(str(diffusion_folder))(ImageFacts(10, shape, [0.5] * shape[0], [0.5] * shape[0]))


def test_images_of_another_size_than_it_was_made_for(diffusion_folder):
    denoiser = read_diffusion(str(diffusion_folder))(ImageFacts(10, (1, 12, 6), [0.5], [0.5]))
    denoiser.set_sigma(0.25)
    assert denoiser(torch.rand(2, 1, 12, 6)).shape == (2, 1, 12, 6)


def test_a_net_without_a_scheduler_needs_its_noise_levels(diffusion_folder):
    build = read_diffusion(str(diffusion_folder / "unet"))
    with pytest.raises(ValueError, match="lacks a scheduler: say schedule=linear,timesteps=1000, for example"):
        build(DIGITS)
    own = build(DIGITS, schedule="squaredcos_cap_v2", timesteps=4000, rescale_timesteps=1)
    own.set_sigma(0.25)
    assert (int(own.step), own.stretch) == (1158, 0.25)
    with pytest.raises(ValueError, match="rescale_timesteps must be 0 or 1, got 'yes'"):
        build(DIGITS, schedule="linear", rescale_timesteps="yes")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "is of .UNet2DConditionModel.; a den"),
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler"}, "needs a DDPMScheduler or DDIMSch"),
    ],
)
def test_models_of_another_kind(diffusion_folder, tmp_path, file, values, message):
    with pytest.raises(ValueError, match=message):
        read_diffusion(str(edited(diffusion_folder, tmp_path / "a", file, **values)))


def test_folders_that_hold_no_model(diffusion_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="^there is no folder no/such/folder$"):
        read_diffusion("no/such/folder")
    with pytest.raises(ValueError, match=r"there is no .*config\.json: a diffusion model is a folder with unet/"):
        read_diffusion(str(tmp_path))
    place = edited(diffusion_folder, tmp_path / "a", "unet/config.json", block_out_channels=[16, 16])
    with pytest.raises(ValueError, match="^the diffusion denoiser's unet cannot be built: "):
        read_diffusion(str(place))(DIGITS)
    weights = place / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="^the diffusion denoiser's unet cannot be built: "):
        read_diffusion(str(place))(DIGITS)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match="has no weights as safetensors, the one form that is read: expected unet/"):
        read_diffusion(str(place))
    (place / "unet" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON: "):
        read_diffusion(str(place))


def test_a_name_on_the_hub_without_a_network_says_what_to_put_where(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = r"^nobody/nothing is no folder, not in the hub's cache, and cannot be fetched: download \*\.json"
    with pytest.raises(OSError, match=message):
        read_diffusion("nobody/nothing")


def test_its_noise_is_not_drawn_by_it(classifier):
    x = torch.rand(3, 1, 8, 8)
    assert np.array_equal(classifier(x).detach(), classifier(x).detach())
