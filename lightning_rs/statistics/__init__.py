"""What the noisy draws said: the one thing that a mechanism sees of a classifier."""

from lightning_rs.statistics.gradient_moments import gradient_channels, gradient_moments
from lightning_rs.statistics.statistics import FIELDS, Statistics, fields_from, readable_fields, region_field
from lightning_rs.statistics.thresholds import MARGIN_THRESHOLDS, SCORE_THRESHOLDS

__all__ = [
    "FIELDS",
    "MARGIN_THRESHOLDS",
    "SCORE_THRESHOLDS",
    "Statistics",
    "fields_from",
    "gradient_channels",
    "gradient_moments",
    "readable_fields",
    "region_field",
]
