"""The one road from the examples of a data set to records: what is certified and how, sharing, and certifying again."""

from lightning_rs.certification.examples import Certification, certify_examples
from lightning_rs.certification.fastest import FAST, fastest, told_settings
from lightning_rs.certification.incremental import incremental_certification
from lightning_rs.certification.on_ray import certify_on_ray
from lightning_rs.certification.pilot import Pilot, run_pilot
from lightning_rs.certification.planning import Forecast, Predicted, fit_draws
from lightning_rs.certification.ray_pool import RayOptions
from lightning_rs.certification.recertify import recertified_run, recertify
from lightning_rs.certification.recorded import check_labels, recorded_certification, recorded_subject
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.sharding import certify_together
from lightning_rs.certification.subject import Subject, load_subject
from lightning_rs.models import weights_digest

__all__ = [
    "FAST",
    "Certification",
    "CertificationSettings",
    "Forecast",
    "Pilot",
    "Predicted",
    "RayOptions",
    "Subject",
    "certify_examples",
    "certify_on_ray",
    "certify_together",
    "check_labels",
    "fastest",
    "fit_draws",
    "incremental_certification",
    "load_subject",
    "recertified_run",
    "recertify",
    "recorded_certification",
    "recorded_subject",
    "run_pilot",
    "told_settings",
    "weights_digest",
]
