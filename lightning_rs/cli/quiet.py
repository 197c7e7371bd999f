"""What the libraries say about themselves, silenced."""

from __future__ import annotations

import io
import logging
import sys
import warnings

_IRRELEVANT_WARNINGS = (
    r".*Found \d+ module\(s\) in eval mode.*",  # Those of a frozen stage.
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*LeafSpec.* is deprecated.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*it is recommended to use `Trainer.devices=1.*",
    ".*in eval mode at the start of training.*",  # What is frozen.
)
_IRRELEVANT_REMARKS = ("litlogger", "TPU available", "to estimate number of stepping batches", "limit_test_batches=1")


def quiet_libraries() -> None:
    """Hide the libraries' remarks that a user cannot act on, and let no terminal fail at a σ."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # A library's own log file may not hold a σ either.
    logging.raiseExceptions = False
    for message in _IRRELEVANT_WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(
            lambda record: not any(remark in record.getMessage() for remark in _IRRELEVANT_REMARKS)
        )
