"""Read what the benchmarks wrote and show it: the table of README, a plot, floors against measurements.

python benchmarks/report.py runs/bench --markdown
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from problems import PASSES, PROBLEMS

Row = dict[str, str]
OURS = ("fused", "irrepnet", "irrepnet table")
NAMES = {"forward_backward": "forward + backward", "second": "second derivative", "forces": "energy and forces"}
TITLES = {
    "convolution": "convolution, edges",
    "spherical_harmonics": "spherical harmonics, points",
    "linear": "map or product, rows",
    "algebra": "what users reach for, rows",
    "construction": "fresh process, rows",
    "model": "force field, edges",
}


def read(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows


def select(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row.get(key.rstrip("_")) == str(value) for key, value in wanted.items())]


def pairs(rows: list[Row], peer: str = "e3nn") -> list[tuple[Row, Row]]:
    """Return the rows of ours and of a peer that belong together."""
    keys = ("benchmark", "memory", "case", "pass", "dtype", "size", "threads")
    theirs = {tuple(row[key] for key in keys): row for row in rows if row["contender"] == peer}
    mine = [row for row in rows if row["contender"] in OURS]
    return [(row, theirs[key]) for row in mine if (key := tuple(row[k] for k in keys)) in theirs]


def ratio(ours: Row, theirs: Row) -> float:
    return float(theirs["median_ms"]) / float(ours["median_ms"])


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def markdown(rows: list[Row]) -> str:
    """Return README's tables, one for each benchmark: our ms in each pass, and how many times that e3nn takes."""
    lines = []
    chosen = [(ours, theirs) for ours, theirs in pairs(rows) if ours["threads"] == "1"]
    for benchmark, title in TITLES.items():
        mine = [(ours, theirs) for ours, theirs in chosen if ours["benchmark"] == benchmark]
        passes = list(dict.fromkeys(ours["pass"] for ours, _ in mine))
        if not mine:
            continue
        lines += [
            f"| {title} | {' | '.join(NAMES.get(one, one) for one in passes)} |",
            "|---" * (len(passes) + 1) + "|",
        ]
        cells: dict[tuple[str, ...], dict[str, str]] = {}
        for ours, theirs in mine:
            key = tuple(ours[name] for name in ("case", "size", "dtype", "memory", "contender"))
            cells.setdefault(key, {})[ours["pass"]] = f"{ours['median_ms']} ms ({ratio(ours, theirs):.1f}x)"
        for (case, size, dtype, memory, contender), found in cells.items():
            what = [
                case,
                f"{int(size):,}",
                *([dtype] if dtype == "float64" else []),
                *([memory] if memory[0] == "r" else []),
            ]
            what += ["table"] if contender.endswith("table") else []
            lines.append(f"| {', '.join(what)} | {' | '.join(found.get(one, '') for one in passes)} |")
        lines.append("")
    return "\n".join([*lines, summary(rows), "", conditions(rows)])


def summary(rows: list[Row]) -> str:
    """Return the geometric mean and the least ratio of each pass of the convolution."""
    lines = []
    for dtype in ("float32", "float64"):
        for which in PASSES:
            chosen = select(rows, benchmark="convolution", pass_=which, dtype=dtype, threads=1)
            ratios = {(ours["case"], ours["size"]): ratio(ours, theirs) for ours, theirs in pairs(chosen)}
            uvu = [value for (case, _), value in ratios.items() if PROBLEMS[case].mode == "uvu"]
            if uvu:
                lines.append(
                    f"Convolution, {dtype}, {NAMES.get(which, which)}: e3nn takes {geometric_mean(uvu):.0f} times as "
                    f"long (geometric mean over {len(uvu)} `uvu` cases; least {min(uvu):.0f}, most {max(uvu):.0f})."
                )
    return "\n".join(lines)


def two_threads(rows: list[Row]) -> str:
    """Return how much a second thread gains the convolution, beside what it gains the machine's reading."""
    keys = ("memory", "case", "pass", "dtype", "size")
    fused = select(rows, benchmark="convolution", contender="fused")
    single = {tuple(row[key] for key in keys): row for row in fused if row["threads"] == "1"}
    lines = []
    for row in fused:
        one = single.get(tuple(row[key] for key in keys))
        if row["threads"] == "2" and one:
            gain = float(one["median_ms"]) / float(row["median_ms"])
            reading = float(row["gbytes_per_s"]) / float(one["gbytes_per_s"])
            name = f"{row['case']}, {NAMES.get(row['pass'], row['pass'])}, {row['size']} edges, {row['dtype']}"
            lines.append(f"{name}: two threads {gain:.2f} times as fast, reading {reading:.2f} times")
    return "\n".join(lines)


def conditions(rows: list[Row]) -> str:
    found = {(row["machine"], row["torch"], row["commit"]) for row in rows}
    rates = [float(row["gbytes_per_s"]) for row in rows if row.get("gbytes_per_s") and row["threads"] == "1"]
    read_rate = f", which reads up to {max(rates):.0f} GB/s with one thread" if rates else ""
    return "\n".join(
        f"{machine}{read_rate}; torch {torch}, commit {commit}; medians, one thread, interleaved."
        for machine, torch, commit in sorted(found)
    )


def floors(rows: list[Row]) -> str:
    """Return floors against measurements for each problem: the table of NOTES.md."""
    lines = [
        "| problem | edges | dtype | threads | memory | pass | MB | Mflop | floor ms | ms | floors | extra MiB |",
        "|" + "---|" * 12,
    ]
    for row in select(rows, benchmark="convolution", contender="fused"):
        times = float(row["median_ms"]) / float(row["floor_ms"])
        cells = [row[key] for key in ("case", "size", "dtype", "threads", "memory", "pass")]
        cells += [
            row["mbytes"],
            row["mflop"],
            row["floor_ms"],
            row["median_ms"],
            f"{times:.1f}",
            row.get("extra_mib") or "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def predictions(gigabytes: float, gigaflops: float, edges: int = 20000) -> str:
    """Return the floors of each problem, ms in float32, on a machine of these rates per second; 20 edges a node."""
    lines = [
        "| problem | W | columns | bytes of w | forward | forward + backward | second derivative |",
        "|" + "---|" * 7,
    ]
    for name, problem in PROBLEMS.items():
        plan, cells = problem.plan, []
        for which in PASSES:
            moved, flops = problem.cost(which, edges // 20, edges)
            bound = "flops" if flops / gigaflops > moved / gigabytes else "bytes"
            cells.append(f"{1e3 * max(moved / gigabytes, flops / gigaflops) / 1e9:.2f} ({bound})")
        share = 4 * edges * plan.weight_numel / problem.cost("forward", edges // 20, edges).bytes
        lines.append(f"| {name} | {plan.weight_numel} | {plan.dim_out} | {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fill(path: Path, **tables: str) -> None:
    """Put tables where a page has ``<!-- name: begin -->`` and ``<!-- name: end -->``; other text stays."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin in text and end in text:
            text = text[: text.index(begin) + len(begin)] + f"\n{table}\n" + text[text.index(end) :]
    path.write_text(text, encoding="utf-8")


def plot(rows: list[Row], path: Path) -> None:
    """Draw how many times faster than e3nn each pass of each convolution is, and how many floors it takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = pairs(select(rows, benchmark="convolution", dtype="float32", threads=1))
    if not chosen:
        return
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.35 * len({ours["case"] for ours, _ in chosen}) * 2 + 1.5))
    cases = list(dict.fromkeys((ours["case"], ours["size"]) for ours, _ in chosen))
    labels = [f"{case}, {int(size) // 1000}k edges" for case, size in cases]
    for k, which in enumerate(PASSES):
        found = {(ours["case"], ours["size"]): (ours, theirs) for ours, theirs in chosen if ours["pass"] == which}
        places = [(i + (k - 1) * 0.27, found[case]) for i, case in enumerate(cases) if case in found]
        height = [place for place, _ in places]
        axes[0].barh(height, [ratio(*pair) for _, pair in places], 0.25, label=NAMES.get(which, which))
        above = [float(ours["median_ms"]) / float(ours["floor_ms"]) for _, (ours, _) in places]
        axes[1].barh(height, above, 0.25, label=NAMES.get(which, which))
    for axis, title in zip(axes, ("time of e3nn / ours", "ours / floor of the machine"), strict=True):
        axis.set_title(title)
        axis.set_yticks(range(len(cases)), labels)
        axis.invert_yaxis()
        axis.axvline(1, color="black", linewidth=0.8)
    axes[0].set_xscale("log")
    axes[1].set_yticklabels([])
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print the table of README")
    parser.add_argument("--floors", action="store_true", help="print floors against measurements, as in NOTES.md")
    parser.add_argument("--fill", type=Path, nargs="+", default=[], help="pages whose marked tables are to be renewed")
    rates = ("GB/s", "GFLOP/s")
    parser.add_argument("--predict", type=float, nargs=2, metavar=rates, help="print the floors of such a machine")
    args = parser.parse_args()
    if args.predict:
        print(predictions(*args.predict))
        return
    rows = read(args.folder)
    if not rows:
        raise SystemExit(f"{args.folder} holds no CSV file; run `make bench` first")
    if args.markdown:
        print(markdown(rows))
    if args.floors:
        print(floors(rows))
    for path in args.fill:
        fill(path, floors=floors(rows), bench=markdown(rows))
    if not (args.markdown or args.floors):
        print(summary(rows) or "no convolution with both ours and e3nn")
        print(two_threads(rows))
    plot(rows, args.folder / "convolution.png")


if __name__ == "__main__":
    main()
