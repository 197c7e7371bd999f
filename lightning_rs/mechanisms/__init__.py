"""Certification mechanisms: statistics in, certificates out. One family a file; `registry` names them."""

from lightning_rs.mechanisms.base import ABSTAIN, Certificate, Mechanism
from lightning_rs.radii.confidence import certified_confidence, confidence_radius
from lightning_rs.radii.differential_privacy import analytic_gaussian_radius, lecuyer_radius, renyi_radius
from lightning_rs.mechanisms.ensemble import PAIR_RADII
from lightning_rs.radii.first_order import (
    first_order_directional_probability,
    first_order_l1_radius,
    first_order_l2_radius,
    first_order_linf_radius,
    first_order_subspace_l2_radius,
)
from lightning_rs.bounds.gradient_norms import gradient_channels, gradient_moments
from lightning_rs.radii.margin import lipschitz_radius, margin_radius
from lightning_rs.radii.neyman_pearson import neyman_pearson_radius
from lightning_rs.mechanisms.registry import (
    MECHANISMS,
    check_inputs,
    check_trials,
    get_mechanism,
    list_mechanisms,
    parse_mechanism,
    required_fields,
    resolve_mechanisms,
    sequential_mechanisms,
)
from lightning_rs.mechanisms.sequential import betting_looks
from lightning_rs.statistics.thresholds import MARGIN_THRESHOLDS, SCORE_THRESHOLDS

__all__ = [
    "ABSTAIN",
    "MARGIN_THRESHOLDS",
    "MECHANISMS",
    "PAIR_RADII",
    "SCORE_THRESHOLDS",
    "Certificate",
    "Mechanism",
    "analytic_gaussian_radius",
    "betting_looks",
    "certified_confidence",
    "check_inputs",
    "check_trials",
    "confidence_radius",
    "first_order_directional_probability",
    "first_order_l1_radius",
    "first_order_l2_radius",
    "first_order_linf_radius",
    "first_order_subspace_l2_radius",
    "get_mechanism",
    "gradient_channels",
    "gradient_moments",
    "lecuyer_radius",
    "lipschitz_radius",
    "list_mechanisms",
    "margin_radius",
    "neyman_pearson_radius",
    "parse_mechanism",
    "renyi_radius",
    "required_fields",
    "resolve_mechanisms",
    "sequential_mechanisms",
]
