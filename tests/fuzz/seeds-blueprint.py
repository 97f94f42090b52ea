#!/usr/bin/env python3
"""The installed blueprints, each in one file with lib.bp, and a text with
every kind of statement and expression."""
import os
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                   "stage", "blueprints")
EVERYTHING = r"""
family "All" for "all", "every"  # a comment
def f(x, @p, k=[1, 2], e=1e-5) { y = x * e; return y + @{p}.weight }
def g(n) { for i in 0..n { if i == 2 { return i } else if i > 7 { } } return 0 }
assume cfg.model_type = ["bert", "all"]
ignore cfg.rope_scaling
ignore "*.bias"
refuse "never {1 + 1} \"\{" if cfg.no ?? false
match g(5) { 1, 2 { n = 4 } "x" { n = 5 } else { n = 6 } }
n = cfg.hidden_size == n ? -n : n % 3 - 1.5 / 2
ok = has("classifier.bias") && !starts("a", "b") || 3 in [1, 2] || "a" in cfg
l = split("a b", " ")[0]; m = count("encoder.layer.*.output.dense.weight")
s = shape("classifier.weight")[1]
input x : f32[batch, s]
input i : i64[batch, 3]
a, b = Split(f(x, "embeddings.LayerNorm"), [1, 3], axis=1)
c = Concat(Gather(@"classifier.weight", i, axis=1), @qa_outputs.weight, axis=0)
z = Where(Equal(CumSum(i, 1), 2), Cast(i, to=f32), Clip(_, 1.0)) - 1
task "feature-extraction" for "X" {
	output y : f32[batch, 3] = Slice(x, [0], Shape(i), [1]) + -b
}
"""


def put(name, text):
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8") as f:
        f.write(text)


def read(name):
    with open(os.path.join(TOP, name), encoding="utf-8") as f:
        return f.read()


for name in sorted(os.listdir(TOP)):
    if name.endswith(".bp") and name != "lib.bp":
        put("good-" + name, read("lib.bp") + read(name))
put("everything.bp", EVERYTHING)
# Small ones: every cut of them is tried.
for k, line in enumerate(EVERYTHING.splitlines()):
    if line:
        put(f"line-{k}.bp", line)
