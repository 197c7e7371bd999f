"""Results of a certification: records on disk, summaries, tables, plots and what is sent to W&B."""

from lightning_rs.results.records import Record, RunDirectory
from lightning_rs.results.report import write_report
from lightning_rs.results.figures import Summary, figures, noisy_accuracy, summarize

__all__ = ["Record", "RunDirectory", "Summary", "figures", "noisy_accuracy", "summarize", "write_report"]
