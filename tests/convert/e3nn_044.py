"""Numbers of e3nn 0.4.4: ``python e3nn_044.py WHEEL OUT.json`` writes its signs and what some products give.

``golden/e3nn_044.json`` is what it wrote for the wheel of PyPI (e3nn-0.4.4-py3-none-any.whl) under torch 2.13.
"""

import json
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch

# (class, irreps_in1, irreps_in2, irreps_out or instructions, options): degrees whose signs differ, in every order.
PRODUCTS = [
    ("FullyConnectedTensorProduct", "1x1o+1x2e", "1x1o+1x2e", "1x1e+1x2e+1x2o+1x3o", {}),
    ("FullyConnectedTensorProduct", "1x3o+1x1e", "1x3o+1x1e", "1x1e+1x3o", {"internal_weights": False}),
    ("FullTensorProduct", "1x1o", "1x2e+1x4e", None, {}),
    ("FullTensorProduct", "1x3o", "1x4e", None, {}),
]


def product(o3, name, irreps1, irreps2, irreps3, options):
    return getattr(o3, name)(irreps1, irreps2, **({"irreps_out": irreps3} if irreps3 else {}), **options)


def inputs(tp, seed):
    """Draw weights and both inputs."""
    generator = torch.Generator().manual_seed(seed)
    sizes = tp.weight_numel, tp.irreps_in1.dim, tp.irreps_in2.dim
    return [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]


def evaluate(tp, weights, x, y):
    """Evaluate a product with its weights set, or given in the call."""
    if tp.internal_weights:
        tp.weight.data.copy_(weights)
        return tp(x, y)
    return tp(x, y, weights) if len(weights) else tp(x, y)


def signs(wigner_3j, lmax=11):
    """Return the sorted triples and the first entry of each table that is not zero."""
    out = {}
    for a in range(lmax + 1):
        for b in range(a, lmax + 1):
            for c in range(b, min(a + b, lmax) + 1):
                table = wigner_3j(a, b, c, dtype=torch.float64).flatten()
                out[f"{a} {b} {c}"] = table[table.abs() > 1e-13][0].item()
    return out


@contextmanager
def importable(wheel):
    """Make e3nn 0.4.4 what ``import e3nn`` finds; in a process that has not imported another."""
    assert "e3nn" not in sys.modules
    warnings.simplefilter("ignore")
    torch.serialization.add_safe_globals([slice])  # its tables are a pickle with slices in it
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        import e3nn

        assert e3nn.__version__ == "0.4.4", e3nn.__version__
        yield


def main(wheel, out):
    with importable(wheel):
        from e3nn import o3

        made = [product(o3, *arguments) for arguments in PRODUCTS]
        values = [evaluate(tp, *inputs(tp, seed)).tolist() for seed, tp in enumerate(made)]
        Path(out).write_text(json.dumps({"signs": signs(o3.wigner_3j), "products": values}))


if __name__ == "__main__":
    main(*sys.argv[1:])
