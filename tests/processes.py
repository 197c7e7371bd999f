"""What several processes do together in tests; where a process cannot be forked, another imports it from here."""

import dataclasses
import os

import torch
from torch import distributed, multiprocessing

from lightning_rs.certification import Certification, CertificationSettings, certify_together
from lightning_rs.data import Digits
from lightning_rs.noise import make_noise


def exact_linear_net():
    """Whole numbers times multiples of 1/16: every sum is exact in float32, in any order."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        net[1].weight.copy_(torch.randint(-3, 4, (10, 64), generator=generator))
        net[1].bias.zero_()
    return net


def certify_on(device, folder):
    """Certify some digits on a device together with the processes of this one's group; the records."""
    settings = CertificationSettings(n0=60, n=450, batch_size=100, limit=12)
    noise, data = make_noise("grid_gaussian:levels=16", 0.25), Digits()
    net = exact_linear_net().to(device)
    certification = Certification(net, "linear", 10, noise, data.dataset("test"), data.name, "test", settings)
    records = certify_together(certification, folder, shown=False)[1]
    return [dataclasses.replace(record, seconds=0.0).to_json() for record in records]


def certify_together_on(device, world, port, folder):
    """`certify_on` in so many processes, all on one device; what each has found goes to a file."""
    method = "spawn" if torch.cuda.is_initialized() else "fork"  # A GPU that is in use is lost to a fork.
    multiprocessing.start_processes(_certify_as, (world, port, device, folder), nprocs=world, start_method=method)
    return [(folder / f"rank{rank}").read_text().splitlines() for rank in range(world)]


def _certify_as(rank, world, port, device, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    (folder / f"rank{rank}").write_text("\n".join(certify_on(device, folder / "out")))
    distributed.barrier()
    distributed.destroy_process_group()
