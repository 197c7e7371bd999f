"""The one road from the examples of a data set to records: what is certified and how, sharing, and certifying again."""

from lightning_rs.certification.examples import Certification, certify_examples, weights_digest
from lightning_rs.certification.on_ray import certify_on_ray
from lightning_rs.certification.ray_pool import RayOptions
from lightning_rs.certification.recertify import recertify
from lightning_rs.certification.recorded import check_labels, recorded_certification, recorded_subject
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.sharding import certify_together
from lightning_rs.certification.subject import Subject, load_subject

__all__ = [
    "Certification",
    "CertificationSettings",
    "RayOptions",
    "Subject",
    "certify_examples",
    "certify_on_ray",
    "certify_together",
    "check_labels",
    "load_subject",
    "recertify",
    "recorded_certification",
    "recorded_subject",
    "weights_digest",
]
