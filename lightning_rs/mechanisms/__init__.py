"""Certification mechanisms: statistics in, certificates out. One family a file; the registry finds them by name."""

from lightning_rs.mechanisms.base import ABSTAIN, Certificate, Mechanism
from lightning_rs.mechanisms.mechanism_set import (
    MechanismSet,
    check_inputs,
    check_trials,
    required_fields,
    resolve_mechanisms,
    sequential_mechanisms,
)
from lightning_rs.mechanisms.registry import MECHANISMS, get_mechanism, list_mechanisms, parse_mechanism
from lightning_rs.mechanisms.sequential import betting_looks
from lightning_rs.radii import (
    PAIR_RADII,
    analytic_gaussian_radius,
    certified_confidence,
    confidence_radius,
    first_order_directional_probability,
    first_order_l1_radius,
    first_order_l2_radius,
    first_order_linf_radius,
    first_order_subspace_l2_radius,
    lecuyer_radius,
    lipschitz_radius,
    margin_radius,
    neyman_pearson_radius,
    renyi_radius,
)
from lightning_rs.statistics import MARGIN_THRESHOLDS, SCORE_THRESHOLDS, gradient_channels, gradient_moments

__all__ = [
    "ABSTAIN",
    "MARGIN_THRESHOLDS",
    "MECHANISMS",
    "PAIR_RADII",
    "SCORE_THRESHOLDS",
    "Certificate",
    "Mechanism",
    "MechanismSet",
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
