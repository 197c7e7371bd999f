"""What train.py and certify.py share, and the subcommands of certify.py, one a file."""

from lightning_rs.cli.commands import list_commands, run_command
from lightning_rs.cli.data_options import expand_data_options, gather_data_options
from lightning_rs.cli.devices import fabric_on
from lightning_rs.cli.engines import Engine, ray_options
from lightning_rs.cli.exits import CertifyParser, ResumeParser, TrainParser, clean_exit, fail
from lightning_rs.cli.help_groups import GroupedParser
from lightning_rs.cli.interruption import KeepHandlers, ending_together, stopping_cleanly
from lightning_rs.cli.loggers import log_hyperparameters, log_records, log_run, make_loggers
from lightning_rs.cli.plugins import plug_in, told, words_after
from lightning_rs.cli.quiet import quiet_libraries
from lightning_rs.cli.remarks import say
from lightning_rs.cli.saved_config import SaveConfig, run_config
from lightning_rs.cli.wandb_log import WandbMode, wandb_id

__all__ = [
    "CertifyParser",
    "Engine",
    "GroupedParser",
    "KeepHandlers",
    "ResumeParser",
    "SaveConfig",
    "TrainParser",
    "WandbMode",
    "clean_exit",
    "ending_together",
    "expand_data_options",
    "fabric_on",
    "fail",
    "gather_data_options",
    "list_commands",
    "log_hyperparameters",
    "log_records",
    "log_run",
    "make_loggers",
    "plug_in",
    "quiet_libraries",
    "ray_options",
    "run_command",
    "run_config",
    "say",
    "stopping_cleanly",
    "told",
    "wandb_id",
    "words_after",
]
