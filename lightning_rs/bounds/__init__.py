"""Confidence bounds and tests: numbers in, numbers out. Everything broadcasts and is float64."""

from lightning_rs.bounds.binomial_test import top_class_p_value, top_two_p_value
from lightning_rs.bounds.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper

__all__ = ["clopper_pearson_lower", "clopper_pearson_upper", "top_class_p_value", "top_two_p_value"]
