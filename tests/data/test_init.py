import subprocess
import sys

from irrepnet import data


def test_every_public_name_is_there_and_documented():
    for name in data.__all__:
        assert getattr(data, name).__doc__ or name == "SYMBOLS"


def test_names_and_units_do_not_need_torch():
    code = "import sys; from irrepnet.data import SYMBOLS, Units; Units(energy='Ha'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
