"""Distributions of noise, one a file: how draw t of an example is made, and fresh draws for training."""

from lightning_rs.noise.base import BLOCK, Noise, NoiseSource, Purpose, Stage, uniform
from lightning_rs.noise.gaussian import Gaussian
from lightning_rs.noise.grid_gaussian import GridGaussian
from lightning_rs.noise.registry import NOISES, as_noise, make_noise
from lightning_rs.noise.rounded_gaussian import RoundedGaussian, off_grid

__all__ = [
    "BLOCK",
    "NOISES",
    "Gaussian",
    "GridGaussian",
    "Noise",
    "NoiseSource",
    "Purpose",
    "RoundedGaussian",
    "Stage",
    "as_noise",
    "make_noise",
    "off_grid",
    "uniform",
]
