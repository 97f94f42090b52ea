#!/usr/bin/env python3
"""From lines of JSON to tables, a plot, and the bounds that are to hold.

    report.py FILE.jsonl [--plot OUT.png] [--readme README.md]

--readme replaces what stands between the two bench marks of that file.
"""
import json
import statistics
import subprocess
import sys
import textwrap

OURS = "omnihub"
PLAIN = "omnihub, no passthrough"
LIMITS = ("native", "curl 1", "curl N", "curl N kept")
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


class Figures:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            rows = [json.loads(r) for r in f]
        self.about, self.rows = rows[0], rows[1:]
        self.loads = self.about["loads"]
        self.programs = list(self.about["settings"])

    def all(self, line, load, program):
        return [r for r in self.rows if (r["line"], r["load"], r["program"])
                == (line, load, program)]

    def median(self, line, load, program):
        """A row whose seconds are the median; None: not measured."""
        rows = self.all(line, load, program)
        good = sorted((r for r in rows if "seconds" in r),
                      key=lambda r: r["seconds"])
        if not good:
            return rows[0] if rows else None
        out = dict(good[len(good) // 2])
        out["seconds"] = statistics.median(r["seconds"] for r in good)
        for k in ("sent", "requests"):
            v = [r[k] for r in good if k in r]
            if v:
                out[k] = statistics.median(v)
        return out

    def value(self, line, load, program):
        """Larger is better; None where there is no figure."""
        r = self.median(line, load, program)
        if not r or "seconds" not in r:
            return None
        if self.loads[load][1] == "MB/s":
            return r["bytes"] / r["seconds"]
        return 1 / r["seconds"]

    def ratio(self, line, load, a, b):
        """How good a is, measured in b."""
        x, y = self.value(line, load, a), self.value(line, load, b)
        return x / y if x and y else None

    def best_peer(self, line, load):
        v = [(self.value(line, load, p) or 0, p) for p in self.programs
             if p not in LIMITS and p not in (OURS, PLAIN)]
        return max(v)[1] if v and max(v)[0] else None


def show(row, unit):
    if not row:
        return ""
    if "seconds" not in row:
        return row.get("late") or "fails"
    s = row["seconds"]
    if unit == "MB/s":
        text = f"{row['bytes'] / s / 1e6:.0f} MB/s"
    elif s >= 10:
        text = f"{s:.0f} s"
    else:
        text = f"{s * 1e3:.3g} ms" if s < 1 else f"{s:.2f} s"
    if "sent" in row:
        text += f", {row['sent'] / 1e6:.3g} MB"
    return text


def table(fig, line):
    """Rows of cells, the first the head."""
    keys = [k for k in fig.loads
            if any(fig.all(line, k, p) for p in fig.programs)]
    cols = [p for p in fig.programs
            if any(fig.all(line, k, p) for k in keys)]
    out = [["", *cols, "of the limit", "of the best peer"]]
    for k in keys:
        lim = max((fig.value(line, k, p) or 0 for p in LIMITS), default=0)
        ours, best = fig.value(line, k, OURS), fig.best_peer(line, k)
        peer = best and fig.ratio(line, k, OURS, best)
        out.append([fig.loads[k][0]]
                   + [show(fig.median(line, k, p), fig.loads[k][1])
                      for p in cols]
                   + [f"{ours / lim:.2f}" if ours and lim else "",
                      f"{peer:.3g} ({best})" if peer else ""])
    return out


def plain(rows):
    w = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(n) if not i else c.rjust(n)
                               for i, (c, n) in enumerate(zip(r, w)))
                     for r in rows)


def markdown(rows):
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(r) + " |"
                     for r in [rows[0], rule] + rows[1:])


# ---- what is to hold -----------------------------------------------------------

def rates(fig, line, load_a, load_b):
    a, b = fig.value(line, load_a, OURS), fig.value(line, load_b, OURS)
    return a / b if a and b else None


def bounds(fig):
    """(words, figure, bound, does it hold) of each."""
    here = next(iter(fig.about["lines"]))

    def least(words, got, bound):
        if got is not None:
            out.append((words, f"{got:.2f}", f">= {bound}", got >= bound))

    out = []
    for k in ("disk", "diskmap", "pages", "pagesmap"):
        least(fig.loads[k][0] + " of native",
              fig.ratio(here, k, OURS, "native"), 0.9)
    for k in ("disk4k", "pages4k"):
        least(fig.loads[k][0] + " of native",
              fig.ratio(here, k, OURS, "native"), 0.75)
    for k, b in (("pages", 0.73), ("pagesmap", 0.61), ("pages4k", 0.80)):
        least(fig.loads[k][0] + " of native, no passthrough",
              fig.ratio(here, k, PLAIN, "native"), b)
    for line in fig.about["lines"]:
        least(f"cold sequential of curl N, written and hashed, {line}",
              fig.ratio(line, "cold", OURS, "curl N kept"), 0.9)
        best = fig.best_peer(line, "cold")
        if best:
            least(f"cold sequential of the best peer ({best}), {line}",
                  fig.ratio(line, "cold", OURS, best), 2)
        t = fig.ratio(line, "head4k", "curl 1", OURS)
        if t is not None:
            out.append((f"open + first 4 KiB, curl range requests, {line}",
                        f"{t:.2f}", "<= 1.5", t <= 1.5))
        r = fig.median(line, "rand100", OURS)
        if r and "sent" in r:
            mb = r["sent"] / 1e6
            out.append((f"100 random 4 KiB moved, {line}", f"{mb:.2f} MB",
                        "<= 13 MB", mb <= 13))
    least("staged ONNX of the original, cold",
          rates(fig, here, "staged", "cold"), 0.85)
    least("staged ONNX of the original, warm",
          rates(fig, here, "stagedwarm", "pages"), 0.85)
    return out


def say(fig):
    a = fig.about
    print(f"\n{a['date']}: {a['machine']}\nmedians of {a['rounds']} "
          f"interleaved rounds; the large file has {a['bytes'] / 1e6:.0f} MB")
    for line, text in a["lines"].items():
        rows = table(fig, line)
        if len(rows) > 1:
            print(f"\n{line}: {text}")
            print(plain(rows))
    print("\nto hold:")
    for w, got, bound, good in bounds(fig):
        print(f"  {'yes' if good else 'NO '}  {w}: {got} ({bound})")
    for p, s in a["settings"].items():
        print(textwrap.fill(f"{p}: {s}", 78, subsequent_indent="    "))
    for r in fig.rows:
        if "failed" in r:
            print(f"failed: {r['line']} {r['load']} {r['program']}: "
                  f"{r['failed']}")


# ---- README and plot -------------------------------------------------------------

def readme(fig, path):
    a = fig.about
    text = [BEGIN, f"{a['date']}, {a['machine']}. Medians of {a['rounds']} "
            f"interleaved rounds, a file of {a['bytes'] / 1e6:.0f} MB; the "
            "last two columns are OmniHub's rate (or the inverse of its time) "
            "in those of the best limit (native, curl) and of the best peer."]
    for line, words in a["lines"].items():
        rows = table(fig, line)
        if len(rows) > 1:
            text += ["", f"{words}:", "", markdown(rows)]
    text += ["", "| to hold | measured | bound |", "|---|---:|---:|"]
    text += [f"| {w} | {got} | {bound}{'' if good else ', not reached'} |"
             for w, got, bound, good in bounds(fig)]
    with open(path, encoding="utf-8") as f:
        old = f.read()
    head, found, rest = old.partition(BEGIN)
    tail = rest.partition(END)
    if not found or not tail[1]:
        sys.exit(f"{path}: no marks {BEGIN} and {END}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + "\n".join(text) + "\n" + END + tail[2])


PLOT = """
import json, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
d = json.load(sys.stdin)
fig, axes = plt.subplots(len(d["panels"]), 1,
                         figsize=(10, 3.2 * len(d["panels"])))
axes = [axes] if len(d["panels"]) == 1 else list(axes)
for ax, panel in zip(axes, d["panels"]):
    n = len(panel["series"])
    for i, (name, values) in enumerate(panel["series"].items()):
        x = [k + (i - n / 2 + 0.5) * 0.8 / n for k in range(len(values))]
        ax.bar(x, [v or 0 for v in values], 0.8 / n, label=name)
    ax.set_xticks(range(len(panel["labels"])))
    ax.set_xticklabels(panel["labels"], fontsize=8)
    ax.set_yscale("log")
    ax.set_ylabel(panel["unit"])
    ax.set_title(panel["title"], fontsize=10)
    ax.legend(fontsize=6, ncol=5)
fig.suptitle(d["title"], fontsize=9)
fig.tight_layout()
fig.savefig(sys.argv[1], dpi=110)
"""


def panels(fig):
    lines = list(fig.about["lines"])

    def panel(title, unit, points, scale):
        series = {p: [scale(fig.value(ln, k, p)) for ln, k, _ in points]
                  for p in fig.programs}
        return {"title": title, "unit": unit,
                "labels": [w for _, _, w in points],
                "series": {p: v for p, v in series.items() if any(v)}}

    def mb(v):
        return v and v / 1e6

    def ms(v):
        return v and 1e3 / v

    warm = ("disk", "diskmap", "pages", "pagesmap", "pages4k")
    out = [panel("cold sequential", "MB/s", [(x, "cold", x) for x in lines],
                 mb),
           panel("open + first 4 KiB (shorter is better)", "ms",
                 [(x, "head4k", x) for x in lines], ms),
           panel("random 4 KiB, cold, median (shorter is better)", "ms",
                 [(x, "rand100", x) for x in lines], ms),
           panel("what is here", "MB/s",
                 [(lines[0], k, fig.loads[k][0]) for k in warm], mb)]
    return [p for p in out if p["series"]]


def plot(fig, path):
    a = fig.about
    text = json.dumps({"panels": panels(fig),
                       "title": f"{a['date']}, {a['machine']}"})
    for python in (sys.executable, "/usr/bin/python3"):
        p = subprocess.run([python, "-c", PLOT, path], input=text, text=True,
                           stderr=subprocess.DEVNULL, check=False)
        if not p.returncode:
            print(f"plot: {path}")
            return
    print("no plot: matplotlib is not there (apt install python3-matplotlib)")


def main(argv):
    fig = Figures(argv[0])
    say(fig)
    if "--plot" in argv:
        plot(fig, argv[argv.index("--plot") + 1])
    if "--readme" in argv:
        readme(fig, argv[argv.index("--readme") + 1])


if __name__ == "__main__":
    main(sys.argv[1:])
