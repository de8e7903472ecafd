import subprocess
import sys
from fractions import Fraction

import torch

from irrepnet.ops._constant import constant_when_compiled


@constant_when_compiled
def third() -> float:
    return float(Fraction(1, 3))  # the compiler cannot trace this


def test_the_compiler_takes_the_result():
    compiled = torch.compile(lambda x: x * third(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(torch.ones(2)), torch.full((2,), 1 / 3))


def test_importing_the_algebra_does_not_import_the_compiler():
    code = (
        "import sys; from irrepnet import o3; o3.TensorProduct, o3.Linear, o3.SphericalHarmonics; "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
