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
