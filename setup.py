"""Build irrepnet's compiled op library, and only that: everything else is in pyproject.toml.

The library speaks PyTorch's stable ABI, so one binary serves every PyTorch from 2.10 on and every Python. Without a
compiler, or without PyTorch in sight (pip's isolated builds), the install is pure Python: it works, and
`irrepnet doctor` says why it has no library.

IRREPNET_NO_EXT=1 skips the library; IRREPNET_REQUIRE_EXT=1 turns a missing one into an error. 0 is as good as unset.
"""

import json
import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

OLDEST_TORCH = (2, 10)


def is_set(switch):
    """Whether an environment variable is switched on."""
    return os.environ.get(switch, "") not in ("", "0")


class BuildLibrary(build_ext):
    """Build the library, or leave a note beside the package that says why there is none."""

    def run(self):
        """Build, or note why not; only IRREPNET_REQUIRE_EXT makes that an error."""
        inplace = self.inplace  # setuptools clears it while it builds, and sets it again only if that succeeds
        reason = self.prepare()
        if reason is None:
            try:
                super().run()
            except Exception as error:  # whatever a compiler does, Python alone still serves
                reason = f"its build failed ({shorten(str(error), 120, placeholder=' ...')}; pip -v shows more)"
        self.leave_note(Path("irrepnet") if inplace else Path(self.build_lib, "irrepnet"), reason)
        if reason is None:
            return
        if is_set("IRREPNET_REQUIRE_EXT"):
            raise RuntimeError(f"IRREPNET_REQUIRE_EXT is set, but irrepnet has no op library: {reason}")
        self.warn(f"irrepnet is installed without its op library: {reason}")
        self.extensions = self.distribution.ext_modules = []

    def prepare(self):
        """Point the compiler to PyTorch; return why that cannot be done, or None."""
        if is_set("IRREPNET_NO_EXT"):
            return "it was built with IRREPNET_NO_EXT"
        torch = find_spec("torch")
        if torch is None:
            return "PyTorch was not in sight of its build (pip builds in isolation unless given --no-build-isolation)"
        try:
            found = version("torch")
        except PackageNotFoundError:
            return f"the PyTorch in sight of its build, {torch.origin}, was not installed and has no version"
        if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_TORCH:
            return f"its build needs PyTorch {'.'.join(map(str, OLDEST_TORCH))} or newer and found {found}"
        folder = Path(torch.submodule_search_locations[0])
        for extension in self.extensions:
            extension.extra_compile_args += ["-isystem", str(folder / "include")]
            extension.library_dirs.append(str(folder / "lib"))
        return None

    def leave_note(self, package, reason):
        """Write the reason beside the package, and remove what an earlier build left there."""
        note = package / "_build_info.json"
        note.unlink(missing_ok=True)
        if reason is None:
            return
        for stale in package.glob("_ops*.so"):
            stale.unlink()
        package.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"reason": reason}) + "\n", encoding="utf-8")

    def get_outputs(self):
        """Name the note too, so that it is installed and uninstalled."""
        return [*super().get_outputs(), *map(str, Path(self.build_lib, "irrepnet").glob("_build_info.json"))]


class Wheel(bdist_wheel):
    """Tag the wheel for what is in it: the tag is known once the library has been built, or not."""

    def run(self):
        """Build the library before anything else."""
        self.run_command("build_ext")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


setup(
    ext_modules=[
        Extension(
            "irrepnet._ops",
            sources=sorted(str(path) for path in Path("csrc").rglob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").rglob("*.h")),
            define_macros=[("TORCH_TARGET_VERSION", "0x020a000000000000")],
            extra_compile_args=["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-Wno-psabi"],
            libraries=["torch_cpu"],
            language="c++",
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
    # What an editable build left in the source tree belongs to that build, not to the next wheel.
    exclude_package_data={"irrepnet": ["_ops*.so", "_build_info.json"]},
)
