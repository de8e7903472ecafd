import pytest

from irrepnet.errors import ConfigError
from irrepnet.train.devices import usable_device


@pytest.mark.parametrize("name", ["meta", "cuda:99", "abacus"])
def test_a_device_that_computes_nothing_is_refused(name):
    with pytest.raises(ConfigError, match=f"needs a device of this machine; found '{name}'"):
        usable_device(name)
