"""Build irrepnet's compiled op library, and only that: everything else is in pyproject.toml.

The library speaks PyTorch's stable ABI, so one binary serves every PyTorch from 2.10 on and every Python. Without a
compiler, or without PyTorch in sight (pip's isolated builds), the install is pure Python: it works, and
`irrepnet doctor` says why it has no library.

Kernels for CUDA are a library of their own, with code for NVIDIA GPUs from compute capability 8.0 on. It is built where
PyTorch has CUDA and nvcc is at hand (on PATH or in CUDA_HOME); where that fails, the CPU library is built alone.

IRREPNET_NO_EXT=1 skips both libraries; IRREPNET_REQUIRE_EXT=1 turns a missing one into an error.
IRREPNET_CUDA=1 builds the CUDA library whatever PyTorch is here, so without a GPU too; IRREPNET_CUDA=0 never;
IRREPNET_CUDA=only builds it alone, for `make cuda`.
IRREPNET_SANITIZE=1 builds the CPU library for `make sanitize`. Elsewhere 0 is as good as unset.
"""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

OLDEST_TORCH = (2, 10)
TARGET = ("TORCH_TARGET_VERSION", "0x020a000000000000")
CUDA = "irrepnet._ops_cuda"
# Machine code for A100 and H100, which runs on their minor revisions too, and PTX for whatever is newer.
CUDA_CODE = [f"-gencode=arch=compute_{a},code={b}" for a, b in ((80, "sm_80"), (90, "sm_90"), (90, "compute_90"))]
# What `make sanitize` watches, in a library small enough to compile: one width of vectors, and calls of checks instead
# of checks in line. Vectors may lie anywhere, so their alignment is not looked at.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize=null,alignment,object-size,vptr,pointer-overflow"]
SANITIZE += ["--param=asan-instrumentation-with-call-threshold=0", "-fno-omit-frame-pointer", "-g1", "-O1"]
SANITIZE += ["-fno-sanitize-recover=all", "-DIRREPNET_ONE_WIDTH=16"]


def is_set(switch):
    """Whether an environment variable is switched on."""
    return os.environ.get(switch, "") not in ("", "0")


def find_nvcc():
    """Return the path of nvcc, or None."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    return shutil.which("nvcc", path=str(Path(home, "bin"))) if home else shutil.which("nvcc")


class BuildLibrary(build_ext):
    """Build the libraries, or leave a note beside the package that says why there is none."""

    cuda_reason = None  # why there is no CUDA library, where PyTorch has CUDA or IRREPNET_CUDA asks for it

    def run(self):
        """Build, or note why not; only IRREPNET_REQUIRE_EXT makes that an error."""
        inplace = self.inplace  # setuptools clears it while it builds, and sets it again only if that succeeds
        reason = self.prepare()
        if reason is None:
            try:
                super().run()
                if self.cuda_reason:
                    self.drop_cuda()
            except Exception as error:  # whatever a compiler does, Python alone still serves
                reason = f"its build failed ({shorten(str(error), 120, placeholder=' ...')}; pip -v shows more)"
        self.leave_note(Path("irrepnet") if inplace else Path(self.build_lib, "irrepnet"), reason)
        if reason is None and self.cuda_reason and is_set("IRREPNET_REQUIRE_EXT"):
            raise RuntimeError(f"IRREPNET_REQUIRE_EXT is set, but irrepnet has no CUDA library: {self.cuda_reason}")
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
        if not self.wants_cuda(folder):
            self.drop_cuda()
        elif os.environ.get("IRREPNET_CUDA") == "only":
            self.extensions = [extension for extension in self.extensions if extension.name == CUDA]
        for extension in self.extensions:
            extension.extra_compile_args += ["-isystem", str(folder / "include")]
            extension.library_dirs.append(str(folder / "lib"))
            if is_set("IRREPNET_SANITIZE") and extension.name != CUDA:
                extension.extra_compile_args += SANITIZE
                extension.extra_link_args += SANITIZE
        return None

    def drop_cuda(self):
        """Leave the CUDA library out."""
        self.extensions = self.distribution.ext_modules = [e for e in self.extensions if e.name != CUDA]

    def wants_cuda(self, torch_folder):
        """Whether to build the CUDA library too; note where it is wanted and cannot be."""
        switch = os.environ.get("IRREPNET_CUDA", "")
        made_for = re.search(r"^cuda\b[^=]*= *'(.+)'", (torch_folder / "version.py").read_text(), flags=re.MULTILINE)
        if switch == "0" or (not switch and not made_for):
            if made_for:
                self.cuda_reason = "it was built with IRREPNET_CUDA=0"
            return False
        if find_nvcc() is None:
            self.cuda_reason = "its build found no nvcc on PATH nor in CUDA_HOME"
            return False
        return True

    def build_extensions(self):
        """Compile the sources of a library side by side: one takes as long as all the others."""
        one_by_one = self.compiler.compile

        def side_by_side(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [made for (made,) in pool.map(lambda source: one_by_one([source], **options), sources)]

        self.compiler.compile = side_by_side
        super().build_extensions()

    def build_extension(self, extension):
        """Build one library. That of CUDA may fail: the CPU kernels serve without it."""
        if extension.name != CUDA:
            return super().build_extension(extension)
        target = Path(self.get_ext_fullpath(extension.name))
        temp = Path(self.build_temp)
        for folder in (target.parent, temp):
            folder.mkdir(parents=True, exist_ok=True)
        # The one function of PyTorch's CUDA side that is called lies in a library that a PyTorch without CUDA lacks:
        # the linker sees this stand-in, and the loader finds the real one by its name.
        stand_in = temp / "torch_cuda.cpp"
        stand_in.write_text('extern "C" int aoti_torch_get_current_cuda_stream(int, void**) { return 1; }\n')
        shared = [find_nvcc(), "-shared", "-Xcompiler", "-fPIC"]
        macros = [f"-D{name}={value}" if value else f"-D{name}" for name, value in extension.define_macros]
        libraries = [f"-L{folder}" for folder in (*extension.library_dirs, temp)]
        options = [*extension.extra_compile_args, *macros, *libraries, *(f"-l{name}" for name in extension.libraries)]
        try:
            name = ["-Xlinker", "-soname=libtorch_cuda.so"]
            self.spawn([*shared, "-cudart=none", *name, "-o", str(temp / "libtorch_cuda.so"), str(stand_in)])
            self.spawn([*shared, "-o", str(target), *extension.sources, *options])
        except Exception as error:
            self.cuda_reason = f"its build failed ({shorten(str(error), 120, placeholder=' ...')}; pip -v shows more)"
            target.unlink(missing_ok=True)
            extension.optional = True  # so that nobody looks for it
        return None

    def leave_note(self, package, reason):
        """Write beside the package why a library is missing, and remove what an earlier build left there."""
        note = package / "_build_info.json"
        note.unlink(missing_ok=True)
        built = [] if reason else [extension.name for extension in self.extensions]
        for library in package.glob("_ops*.so"):
            if f"irrepnet.{library.name.split('.')[0]}" not in built:
                library.unlink()
        reasons = {name: why for name, why in (("reason", reason), ("cuda_reason", self.cuda_reason)) if why}
        if reasons:
            package.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(reasons) + "\n", encoding="utf-8")

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
            define_macros=[TARGET],
            extra_compile_args=["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-Wno-psabi"],
            libraries=["torch_cpu"],
            language="c++",
            py_limited_api=True,
        ),
        Extension(
            CUDA,
            sources=sorted(str(path) for path in Path("csrc", "cuda").glob("*.cu")),
            depends=sorted(str(path) for path in Path("csrc").rglob("*.h")),
            define_macros=[TARGET, ("USE_CUDA", None)],
            # The CUDA runtime is linked statically: the library then loads whichever CUDA PyTorch brings, and meets it
            # in the driver, whose contexts and streams they share.
            extra_compile_args=["-std=c++17", "-O3", "-cudart=static", "-Xcompiler=-fvisibility=hidden", *CUDA_CODE],
            libraries=["torch_cpu", "torch_cuda"],
            py_limited_api=True,
        ),
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
    # What an editable build left in the source tree belongs to that build, not to the next wheel.
    exclude_package_data={"irrepnet": ["_ops*.so", "_build_info.json"]},
)
