import subprocess
import sys
import types

import e3nn.o3

from irrepnet import o3


def test_names_are_those_of_e3nn():
    for name in o3.__all__:
        assert getattr(o3, name) is not None
    assert set(o3.__all__) - {"irrep"} <= set(dir(e3nn.o3))
    starts = (
        "rand_",
        "matrix_",
        "compose_",
        "identity_",
        "inverse_",
        "angles_to",
        "quaternion_to",
        "axis_angle_to",
        "xyz_",
    )
    rotations = {name for name in dir(e3nn.o3) if name.startswith(starts)}
    assert len(rotations) == 28 and rotations <= set(o3.__all__)


def test_irreps_need_no_torch():
    code = (
        "import sys; from irrepnet.o3 import Irreps, irrep; "
        "assert Irreps('2x0e+1o').dim == 5 and irrep.l1o.l == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_function_stays_one_when_the_file_of_its_name_is_imported():
    import irrepnet.o3.spherical_harmonics
    import irrepnet.ops.tensor_product

    assert isinstance(irrepnet.o3.spherical_harmonics, types.FunctionType)
    assert isinstance(irrepnet.ops.tensor_product, types.FunctionType)
    assert isinstance(o3.irrep, types.ModuleType)


def test_first_calls_do_not_import_sympy():
    # It takes 0.3 s, a hundred times what these take; parts of PyTorch import it without being asked to.
    code = """
import sys, torch
from irrepnet import io, o3
o3.Irreps("0e + 1o + 2e").D_from_matrix(o3.rand_matrix(2))
o3.FullyConnectedTensorProduct("2x0e + 1o", "1o", "2x1o")(torch.randn(3, 5), torch.randn(3, 3))
o3.Linear("2x0e", "3x0e", biases=True)(torch.randn(3, 2))
o3.ReducedTensorProducts("ij=ji", i="1o")(torch.randn(3), torch.randn(3))
sphere = io.SphericalTensor(3, 1, -1)
sphere.find_peaks(sphere.with_peaks_at(torch.eye(3)))
assert "sympy" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
