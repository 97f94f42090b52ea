#!/usr/bin/env python3
"""Programs of TorchScript (code/__torch__/m.py around a module M with a weight
w, a bias b and a number n) and of torch.export (models/model.json): good ones,
ones that contradict themselves, ones that are refused."""
import json
import os
import sys

HEAD = """class M(Module):
  __parameters__ = ["w", "b", ]
  __buffers__ = []
  w : Tensor
  b : Tensor
  n : int
  training : bool
  k : Final[Tuple[int, int]] = (1, 1)
"""


def forward(*lines, args="x: Tensor"):
    return HEAD + f"  def forward(self: __torch__.m.M,\n    {args}) -> " \
        "Tensor:\n" + "".join(f"    {line}\n" for line in lines)


CONV = "y = torch.conv2d(x, self.w, self.b, [1, 1], [1, 1])"


def nested(n):
    return "(" * n + "x" + ")" * n


def tensor(name):
    return {"as_tensor": {"name": name}}


def types(**sizes):
    return {k: {"dtype": 7, "sizes": [
        {"as_int": n} if isinstance(n, int) else {"as_expr": {
            "expr_str": f"Symbol('{n}', positive=True, integer=True)"}}
        for n in v]} for k, v in sizes.items()}


def call(target, out, *args, **keys):
    return {"target": target, "inputs": [
        {"name": "", "arg": a, "kind": 1} for a in args] + [
        {"name": k, "arg": a, "kind": 2} for k, a in keys.items()],
        "outputs": [tensor(out)]}


def program(nodes, out="y", version=8, spec="user_output", sizes=None):
    return json.dumps({
        "schema_version": {"major": version, "minor": 1},
        "graph_module": {
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "p_w"},
                                   "parameter_name": "w"}},
                    {"user_input": {"arg": tensor("x")}}],
                "output_specs": [{spec: {"arg": tensor(out)}}]},
            "graph": {
                "inputs": [tensor("p_w"), tensor("x")],
                "outputs": [tensor(out)], "nodes": nodes,
                "tensor_values": types(x=sizes or ["s0", 3, 8, 8])}}})


EXPORT_CONV = call("torch.ops.aten.conv2d.default", "c", tensor("x"),
                   tensor("p_w"), {"as_none": True}, {"as_ints": [1, 1]},
                   {"as_ints": [1, 1]})
EXPORT_RELU = call("torch.ops.aten.relu.default", "y", tensor("c"))

FILES = {
    "good-conv": forward(CONV, "return torch.relu_(y)"),
    "good-loop": forward(
        CONV, "for i in range(3):", "  y = torch.add(y, y, alpha=1)",
        "i0 = 0", "c = torch.lt(i0, 2)", "while c:",
        "  i0 = torch.add(i0, 1)", "  c = torch.lt(i0, 2)",
        "  y = torch.relu(y)", "return y"),
    "good-branch": forward(
        "if torch.ne(torch.dim(x), 4):",
        "  ops.prim.RaiseException(\"no image\")", "else:", "  pass",
        CONV, "n = self.n", "if torch.gt(n, 1):",
        "  z = torch.neg(y)", "else:", "  z = y", "return z"),
    "good-shapes": forward(
        CONV, "a, b, c, d, = torch.size(y)",
        "z = torch.view(y, [a, torch.mul(b, c), -1])",
        "s = torch.cat([z, torch.zeros([a, 1, d])], 1)",
        "l = annotate(List[Tensor], [])",
        "_0 = torch.append(l, torch.select(s, 1, -1))",
        "return torch.softmax((l)[0], -1)"),
    "good-method": forward(
        "return torch.relu((self).twice(x, k=2, ))") +
    "  def twice(self: __torch__.m.M,\n    x: Tensor,\n    k: int=2) -> "
    "Tensor:\n    return torch.mul(torch.conv2d(x, __torch__.m.same(self.w, "
    "), None), k)\ndef same(x: Tensor) -> Tensor:\n  return x\n",
    "good-export": program([EXPORT_CONV, EXPORT_RELU]),
    "good-unused": forward(CONV, "z = torch.atan2(y, y)", "return y"),
    "bad-indent": HEAD + " def forward(self):\n  return 1\n",
    "bad-string": forward('return "x'),
    "bad-number": forward("return 1e1e1"),
    "bad-bracket": forward("return torch.relu(x"),
    "bad-subscript": forward("x[] = x", "return x"),
    "bad-subscripts": forward("l = [x]", "l[0, 0] = x", "return l[0]"),
    "bad-class": "class M(Module:\n",
    "bad-nothing": "",
    "bad-json": "{\"schema_version\": ",
    "bad-weight": program([EXPORT_CONV]).replace(
        '"parameter_name": "w"', '"parameter_name": "none"'),
    "unsupported-recursion": forward("return (self).forward(x, )"),
    "unsupported-endless": forward("while True:", "  y = torch.neg(1)",
                                   "return x"),
    "unsupported-many": forward("for i in range(1000000000000):",
                                "  y = torch.neg(i)", "return x"),
    "unsupported-growth": forward(
        "l = [x]", "while True:", "  _0 = torch.extend(l, l)", "return x"),
    "unsupported-nested": forward(f"return {nested(5000)}"),
    "unsupported-sizes": forward(
        CONV, "n = torch.size(y, 0)", "while True:",
        "  n = torch.add(torch.mul(n, n), 1)", "return y"),
    "unsupported-operator": forward("return torch.fft_fft(x)"),
    "unsupported-custom": forward("return ops.mine.run(x)"),
    "unsupported-arguments": forward("return torch.conv2d(x, 1, 2)"),
    "good-choice": forward(
        CONV, "_0 = uninitialized(Tensor)",
        "if torch.__not__(bool(torch.sum(y))):", "  z, n = y, 2", "else:",
        "  z, n = torch.neg(y), 3", "if bool(torch.sum(z)):", "  w = z",
        "else:", "  ops.prim.RaiseException(\"\")", "  w = _0",
        "return torch.mul(w, n)"),
    "good-squeeze": forward(CONV, "return torch.squeeze(y, 0)"),
    "unsupported-choice": forward(
        CONV, "if bool(torch.sum(y)):", "  z = y", "else:",
        "  z = torch.sum(y)", "return torch.neg(z)"),
    "unsupported-write": forward(
        CONV, "z = torch.relu(y)", "if bool(torch.sum(y)):",
        "  _0 = torch.add_(z, y)", "else:", "  pass", "return z"),
    "unsupported-list": forward(
        CONV, "z = [y]", "if bool(torch.sum(y)):",
        "  _0 = torch.append(z, y)", "else:", "  pass",
        "return torch.cat(z)"),
    "unsupported-attribute": forward(
        CONV, "if bool(torch.sum(y)):", "  self.n = 1", "else:",
        "  self.n = 2", "return torch.mul(y, self.n)"),
    "unsupported-alias": forward(
        CONV, "z = torch.relu(y)", "if bool(torch.sum(y)):", "  w = z",
        "else:", "  w = torch.neg(y)", "_0 = torch.add_(w, 1)",
        "return torch.add(z, w)"),
    "unsupported-index": forward(
        CONV, "i = torch.to(torch.sum(y), 4)", "if bool(torch.sum(y)):",
        "  z = torch.index_select(y, 0, torch.unsqueeze(i, 0))",
        "  w = torch.sum(z)", "else:", "  w = torch.sum(y)", "return w"),
    "unsupported-divisor": forward(
        CONV, "i = torch.to(torch.sum(y), 4)", "if bool(torch.sum(y)):",
        "  w = torch.floor_divide(i, i)", "else:", "  w = i", "return w"),
    "unsupported-while": forward(
        CONV, "while bool(torch.sum(y)):", "  y = torch.neg(y)",
        "return y"),
    "unsupported-data": forward(
        CONV, "n = int(torch.sum(y))", "return torch.add(y, n)"),
    "unsupported-size": forward(
        CONV, "if torch.gt(torch.size(y, 0), 7):", "  z = y", "else:",
        "  z = torch.neg(y)", "return z"),
    "unsupported-state": forward(
        CONV, "n = self.n", "self.n = torch.add(n, 1)", "return y"),
    "unsupported-training": forward(
        CONV, "return torch.dropout(y, 0.5, True)"),
    "unsupported-parameter": forward(CONV, "_0 = torch.relu_(self.w)",
                                     "return y"),
    "unsupported-stale": forward(
        CONV, "v = torch.slice(y, 0, 0, 1)", "_0 = torch.relu_(v)",
        "return y"),
    "unsupported-atan": forward(CONV, "return torch.atan2(y, y)"),
    "unsupported-raise": forward(
        "ops.prim.RaiseException(\"always\")", "return x"),
    "unsupported-input": forward("return x", args="x: Dict[str, Tensor]"),
    "unsupported-shape": forward(
        CONV, "return torch.view(y, [3, 5, 7])"),
    "unsupported-version": program([EXPORT_CONV], out="c", version=9),
    "unsupported-mutation": program([EXPORT_CONV], out="c",
                                    spec="buffer_mutation"),
    "unsupported-target": program([call(
        "torch.ops.higher_order.cond", "y", tensor("x"))]),
    "unsupported-name": program([call("torch.ops.aten.relu.default", "y",
                                      tensor("nobody"))]),
}

if __name__ == "__main__":
    for file, text in FILES.items():
        with open(os.path.join(sys.argv[1], file), "w",
                  encoding="utf-8") as f:
            f.write(text)
