"""Convert a network of e3nn 0.4.4 itself: ``python network_044.py WHEEL``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from convert.e3nn_044 import importable
from convert.networks import build, inputs, library

from irrepnet.convert.from_e3nn import from_e3nn


def main(wheel):
    with importable(wheel):
        old = build("message_passing", library("e3nn"))
        new, report = from_e3nn(old, wigner_signs="0.4.4")
        other, _ = from_e3nn(old)
        x = inputs("message_passing")
        assert report.not_replaced == ()
        assert (new(*x) - old(*x)).abs().max() < 1e-12
        assert (other(*x) - old(*x)).abs().max() > 0.1


if __name__ == "__main__":
    main(*sys.argv[1:])
