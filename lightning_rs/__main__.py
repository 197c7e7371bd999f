"""`lightning-rs train` and `lightning-rs certify`: train.py and certify.py, wherever the package is installed."""

from __future__ import annotations

import importlib
import sys

PROGRAMS = ("train", "certify")


def main() -> None:
    """Run the program that the first argument names with the others."""
    name, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name not in PROGRAMS:
        asked = name in ("-h", "--help")
        print(f"usage: lightning-rs {{{','.join(PROGRAMS)}}} ... (--help after either says more)", file=sys.stderr)
        raise SystemExit(0 if asked else 2)
    # sys.argv stays: Lightning starts further processes with it.
    importlib.import_module(f"lightning_rs.{name}").main(arguments)


if __name__ == "__main__":
    main()
