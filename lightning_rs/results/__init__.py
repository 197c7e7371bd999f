"""Results of a certification: records on disk, figures, tables, plots and what is sent to W&B."""

from lightning_rs.results.description import RunDescription
from lightning_rs.results.directory import RunDirectory
from lightning_rs.results.environment import Environment
from lightning_rs.results.figures import Figures, figures, logged
from lightning_rs.results.records import ExampleCertificate, Record
from lightning_rs.results.report import write_report
from lightning_rs.results.runs import Run, run_of_records
from lightning_rs.results.shard import Shard
from lightning_rs.results.sources import load_run

__all__ = [
    "Environment",
    "ExampleCertificate",
    "Figures",
    "Record",
    "Run",
    "RunDescription",
    "RunDirectory",
    "Shard",
    "figures",
    "load_run",
    "logged",
    "run_of_records",
    "write_report",
]
