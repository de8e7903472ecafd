"""The rule against outputs that nothing fills."""

import pytest

from irrepnet.errors import IrrepsError
from irrepnet.nn.reach import require_reached
from irrepnet.o3 import Irrep, Irreps


def test_names_the_entry_what_there_is_and_the_other_parity():
    reached = [Irrep("1o"), Irrep("0e"), Irrep("1o")]
    require_reached("Layer", "x", Irreps("2x1o+0x2e+0e"), reached)
    with pytest.raises(
        IrrepsError,
        match=r"^Layer needs .* '0e|1x0e\+3x1e'; none leads to 3x1e: x can make 0e, 1o\. Did you mean 1o\?$",
    ):
        require_reached("Layer", "x", Irreps("0e+3x1e"), reached)
    with pytest.raises(IrrepsError, match=r"none leads to 1x2e: x can make 0e, 1o\.$"):
        require_reached("Layer", "x", Irreps("2e"), reached)
