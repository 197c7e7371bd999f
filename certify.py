"""Certify a checkpoint, and report on certifications: see `lightning_rs.certify`."""

from lightning_rs.certify import main

if __name__ == "__main__":
    main()
