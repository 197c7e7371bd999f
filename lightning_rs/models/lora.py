"""Low-rank adapters of the linear layers of a net: what is trained instead of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from lightning_rs.checks import check_at_least
from lightning_rs.models.head import head_of
from lightning_rs.optional import optional_import
from lightning_rs.registry import join_options, split_options

# They compute with the weights of the linear layers inside them without calling those, so an adapter had no effect.
_CLOSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)


def add_lora(net: nn.Module, rank: int, num_classes: int) -> nn.Module:
    """The net with an adapter of that rank beside every linear layer but the head; the other weights are frozen.

    The weights W of a layer become W + 2 B A, where B begins as zero: the net answers as before until it is trained.

    Source: E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.

    Args:
        net: is changed.
        rank: rows of A and columns of B.
        num_classes: number of classes, by which the head is known.

    Raises:
        ValueError: rank < 1, peft is not installed, or there are no such layers.
    """
    check_at_least("lora", rank, 1)
    peft = optional_import("peft", "hf")
    head = head_of(net, num_classes)
    closed = [f"{name}." for name, module in net.named_modules() if isinstance(module, _CLOSED)]
    layers = [
        re.escape(name)
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and name != head and not name.startswith(tuple(closed))
    ]
    if not layers:
        raise ValueError("lora needs linear layers before the head, and this net has none")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="|".join(layers))
    peft.inject_adapter_in_model(config, net)  # It freezes all but the adapters.
    net.get_submodule(head).requires_grad_(True)
    return net


def with_lora(stages: Sequence[str], rank: int | None) -> list[str]:
    """The stages with adapters of that rank in the net, `net:lora=8`; as they are if it is None.

    Raises:
        ValueError: they say another rank.
    """
    if rank is None:
        return list(stages)
    parts = [split_options("stage", text) for text in stages]
    for name, options in parts:
        if name == "net" and options.setdefault("lora", rank) != rank:
            raise ValueError(f"lora must be one number, got {rank}, and {options['lora']} in stages")
    return [join_options(name, options) for name, options in parts]


def without_wrapper(name: str) -> str:
    """What a weight is called in the net without adapters."""
    return name.replace(".base_layer.", ".")


def is_adapter(name: str) -> bool:
    """Whether a weight is one of an adapter."""
    return ".lora_" in name
