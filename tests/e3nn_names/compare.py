"""How much of e3nn 0.6 is here: every public name, its signature and its values. Run it: it prints a table.

One process runs the cases with e3nn and writes what came out, with its weights; another, which never imports e3nn, runs
them here; this one compares.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from e3nn_names.gaps import GAPS

WORKER = Path(__file__).with_name("worker.py")
TOLERANCE, SINGLE = 1e-12, 1e-5  # in double and in single precision


class Line(NamedTuple):
    """One public name: what is wrong with it (nothing if the texts are empty).

    Attributes:
        name: "room.name" or "room.name.attribute".
        cases: Number of values that were compared; 0 for most attributes inherited.
        called: How it is called: its presence, kind, bases and signature.
        values: What it gives.
    """

    name: str
    cases: int
    called: str
    values: str

    @property
    def wrong(self):
        return self.called or self.values


def outputs_of_both(folder):
    """Run the two processes and return what each wrote."""
    paths = [Path(folder) / f"{name}.pt" for name in ("e3nn", "irrepnet")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, path, more in (("e3nn", paths[0], ()), ("irrepnet", paths[1], (paths[0],))):
        command = [sys.executable, str(WORKER), name, str(path), *map(str, more)]
        subprocess.run(command, check=True, env=environment, cwd=folder)
    return [torch.load(path) for path in paths]


def difference(a, b):
    """Say how two values differ; empty if they do not."""
    errors = [isinstance(value, dict) and value.get("error") for value in (a, b)]
    if any(errors):
        both, (theirs, ours) = all(errors), errors
        return "" if both else f"e3nn raises {theirs}" if theirs else f"here raises {ours}"
    for kind, compared in ((dict, _dicts), (torch.Tensor, _tensors), (list, _lists), (float, _floats)):
        if isinstance(a, kind) and isinstance(b, kind):
            return compared(a, b)
    return "" if a == b and type(a) is type(b) else f"{a!r} against {b!r}"


def _dicts(a, b):
    return _first(difference(a[key], b[key]) if key in b else f"no {key}" for key in a)


def _lists(a, b):
    if len(a) != len(b):
        return f"{len(a)} values against {len(b)}: {a} against {b}"[:200]
    return _first(difference(x, y) for x, y in zip(a, b, strict=True))


def _floats(a, b):
    return "" if abs(a - b) <= TOLERANCE * max(1, abs(a)) else f"{a} against {b}"


def _tensors(a, b):
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{list(a.shape)} {a.dtype} against {list(b.shape)} {b.dtype}"
    if not (a.is_floating_point() or a.is_complex()):
        return "" if torch.equal(a, b) else f"{a} against {b}"
    tolerance = TOLERANCE if torch.finfo(a.dtype).eps < 1e-10 else SINGLE
    if torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    return f"off by {(a - b).abs().max():.1e}"


def _first(texts):
    return next((text for text in texts if text), "")


def signature_difference(theirs, ours):
    """Say how two signatures differ. More arguments are allowed by keyword, with a default."""
    if theirs is None or ours is None:
        return "" if theirs is ours else f"signature {theirs} against {ours}"
    more = [p for p in ours if p[1] == "KEYWORD_ONLY" and p[2] != "<class 'inspect._empty'>" and p not in theirs]
    rest = [p for p in ours if p not in more]
    return "" if theirs == rest else f"signature {_written(theirs)} against {_written(rest)}"


def _written(parameters):
    marks = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    empty = "<class 'inspect._empty'>"
    words = [f"{marks.get(kind, '')}{name}" + ("" if d == empty else f"={d}") for name, kind, d in parameters]
    return f"({', '.join(words)})"


def compare(theirs, ours):
    """Return a line for each public name of e3nn."""
    values = defaultdict(list)
    for key, parts in theirs["results"].items():
        case = key.partition("/")[0]
        for part, value in parts.items():
            found = ours["results"][key].get(part, ours["results"][key][""])
            values[f"{case}.{part}" if part else case].append(difference(value, found))
    lines = [Line(name, len(values[name]), "", _first(values[name])) for name in values if name not in theirs["names"]]
    lines = [line for line in lines if line.wrong]  # operators, say: part of what their class is
    for name, found in theirs["names"].items():
        called = _described(found, ours["names"].get(name))
        if not found.get("own", True):
            base = f"o3.{found['home']}.{name.rpartition('.')[2]}"
            line = Line(name, len(values[name]), called, _first(values[name]))
            if line.wrong and not _refused(base, theirs["results"]):  # what agrees is counted where it is defined
                lines.append(line)
        elif not _refused(name, theirs["results"]):  # what e3nn only refuses is nothing to have
            wrong = _first(values[name]) if values[name] else "no case compares it"
            lines.append(Line(name, len(values[name]), called, wrong))
    return lines


def gap_differences(theirs, ours):
    """Say of each gap how the values differ more than its reason allows; empty if they do not."""
    out = {}
    for name, gap in GAPS.items():
        case, _, part = name.rpartition(".")
        keys = [key for key in theirs["results"] if key.partition("/")[0] == case]
        out[name] = _first(gap.accepts(theirs["results"][key][part], ours["results"][key][part]) for key in keys)
    return out


def _refused(name, results):
    """Say whether e3nn answers every case of a name with NotImplementedError."""
    case, _, part = name.rpartition(".")
    found = [parts.get(part) for key, parts in results.items() if key.partition("/")[0] == case]
    return bool(found) and all(isinstance(v, dict) and "NotImplementedError" in v.get("error", "") for v in found)


def _described(theirs, ours):
    """Say how a name differs before it is used."""
    if ours is None:
        return "" if theirs["kind"] == "value" and theirs.get("own") else "missing"
    if theirs["kind"] != ours["kind"]:
        return f"{theirs['kind']} against {ours['kind']}"
    if not set(theirs.get("bases", [])) <= set(ours.get("bases", [])):
        return f"derived from {theirs['bases']} against {ours['bases']}"
    return signature_difference(theirs.get("signature"), ours.get("signature"))


def table(lines):
    """Write the names that differ, and the share of those that agree."""
    wrong = [line for line in lines if line.wrong]
    cases = sum(line.cases for line in lines)
    reasons = {name: gap.reason for name, gap in GAPS.items()}
    rows = [f"{line.name}: {line.wrong} [{reasons.get(line.name, 'NO REASON')}]" for line in wrong]
    share = 1 - len(wrong) / len(lines)
    return "\n".join([*rows, f"{len(lines) - len(wrong)} of {len(lines)} names agree ({share:.1%}), on {cases} cases"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(table(compare(*outputs_of_both(folder))))
