"""Attacks on the smoothed classifier: how far certificates can be trusted, and how far they are from the truth."""
