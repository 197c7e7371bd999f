"""Train a base classifier under noise, certify it live, and certify the result: see `lightning_rs.train`."""

from lightning_rs.train import main

if __name__ == "__main__":
    main()
