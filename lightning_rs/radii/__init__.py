"""Geometry: bounds on probabilities or on expected scores in, certified radii out."""

from lightning_rs.radii.confidence import certified_confidence, confidence_radius
from lightning_rs.radii.differential_privacy import analytic_gaussian_radius, lecuyer_radius, renyi_radius
from lightning_rs.radii.first_order import (
    first_order_directional_probability,
    first_order_l1_radius,
    first_order_l2_radius,
    first_order_linf_radius,
    first_order_subspace_l2_radius,
)
from lightning_rs.radii.margin import lipschitz_radius, margin_radius
from lightning_rs.radii.neyman_pearson import neyman_pearson_radius
from lightning_rs.radii.pair import PAIR_RADII, ProbabilityPair

__all__ = [
    "PAIR_RADII",
    "ProbabilityPair",
    "analytic_gaussian_radius",
    "certified_confidence",
    "confidence_radius",
    "first_order_directional_probability",
    "first_order_l1_radius",
    "first_order_l2_radius",
    "first_order_linf_radius",
    "first_order_subspace_l2_radius",
    "lecuyer_radius",
    "lipschitz_radius",
    "margin_radius",
    "neyman_pearson_radius",
    "renyi_radius",
]
