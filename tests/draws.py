"""The draws that the sampler adds, addressed by number."""

import torch

from lightning_rs.noise import Gaussian


class Draws:
    """Standard normal draws of one example and stage."""

    def __init__(self, seed, index, stage, shape, dtype=torch.float32):
        self.index, self.stage = index, stage
        self.source = Gaussian(1.0).source(seed, shape, dtype)

    def fill(self, out, start):
        return self.source.fill(out, self.index, self.stage, start)
