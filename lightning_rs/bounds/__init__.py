"""Confidence bounds and tests: numbers in, numbers out. Everything broadcasts and is float64."""

from lightning_rs.bounds.bernstein import (
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    predictable_plugin_lower,
)
from lightning_rs.bounds.betting import betting_lower, betting_upper
from lightning_rs.bounds.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.bounds.hoeffding import hoeffding_kl_lower, hoeffding_kl_upper, hoeffding_lower, hoeffding_upper
from lightning_rs.bounds.leading_class import top_class_p_value, top_two_p_value
from lightning_rs.bounds.proportion_difference import proportion_difference_lower
from lightning_rs.bounds.randomized_clopper_pearson import (
    randomized_clopper_pearson_lower,
    randomized_clopper_pearson_upper,
)
from lightning_rs.bounds.sequential_tests import (
    sequential_log_wealth,
    sequential_lower,
    sequential_thresholds,
    union_bound_schedule,
    union_bound_thresholds,
)
from lightning_rs.bounds.survival import binomial_survival_lower, dkw_epsilon, dkw_survival_lower

__all__ = [
    "betting_lower",
    "betting_upper",
    "binomial_survival_lower",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "dkw_epsilon",
    "dkw_survival_lower",
    "empirical_bernstein_lower",
    "empirical_bernstein_upper",
    "hoeffding_kl_lower",
    "hoeffding_kl_upper",
    "hoeffding_lower",
    "hoeffding_upper",
    "predictable_plugin_lower",
    "proportion_difference_lower",
    "randomized_clopper_pearson_lower",
    "randomized_clopper_pearson_upper",
    "sequential_log_wealth",
    "sequential_lower",
    "sequential_thresholds",
    "top_class_p_value",
    "top_two_p_value",
    "union_bound_schedule",
    "union_bound_thresholds",
]
