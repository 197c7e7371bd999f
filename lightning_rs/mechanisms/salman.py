"""Certification of the soft smoothed classifier by the Lipschitz constant of Phi^-1 of a smoothed score."""

from __future__ import annotations

from scipy import special

from lightning_rs.mechanisms.score_pair import ScorePairMechanism
from lightning_rs.radii.neyman_pearson import radius_from_quantiles


class Salman(ScorePairMechanism):
    """Neyman-Pearson radius of the soft smoothed classifier in l2: R = sigma / 2 (Phi^-1(e0) - Phi^-1(e1)).

    Phi^-1 of a Gaussian-smoothed function into [0, 1] is 1/sigma-Lipschitz, whatever the function: so the radius of the
    votes holds for expected scores as well. Sound with the bounds of `score_pair`; a score that stays below one caps it
    (.999 in every draw: 3.09 sigma). Of the bounds, `betting` is the tightest and needs every score; `hoeffding_kl`
    needs sums only and is never worse than `hoeffding`.
    """

    name = "salman"
    source = (
        "H. Salman et al., Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers, 2019, Lemma 2"
    )

    def radius(self, pair, sigma):
        return radius_from_quantiles(-special.ndtri(pair.rest), special.ndtri(pair.upper), sigma)
