"""One random-weight model of every family and head, from a local hub through
the mount, against transformers on torch.

Needs Python with what requirements.txt names (make check-oracle).
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mount"))
import lib  # noqa: E402
from lib import check, equal, figure, read  # noqa: E402

BOUND = 2e-5        # of the largest value of the output
HEADS = {
    "base": "Model", "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification", "answer": "ForQuestionAnswering",
    "masked": "ForMaskedLM",
}
SMALL = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2,
             num_attention_heads=4, intermediate_size=64,
             max_position_embeddings=64, num_labels=3)
FAMILIES = {
    "bert": ("Bert", SMALL),
    "roberta": ("Roberta", dict(SMALL, pad_token_id=1, type_vocab_size=1)),
    "xlmr": ("XLMRoberta", dict(SMALL, pad_token_id=1, type_vocab_size=1)),
    "distilbert": ("DistilBert", dict(
        vocab_size=120, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
        max_position_embeddings=64, num_labels=3)),
    # The embedding is narrower than the layers, as in the real small one.
    "electra": ("Electra", dict(SMALL, embedding_size=16)),
}


def build(family, head):
    """(transformers model, its repository as {path: bytes})."""
    import torch
    import transformers
    cls, shape = FAMILIES[family]
    if head == "answer":        # a start and an end
        shape = dict(shape, num_labels=2)
    torch.manual_seed(len(family) * 100 + len(head))
    config = getattr(transformers, cls + "Config")(**shape)
    config._attn_implementation = "eager"
    model = getattr(transformers, cls + HEADS[head])(config).eval()
    with torch.no_grad():       # biases and norms as if they had been trained
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    top = lib.tempfile.mkdtemp()
    # Half as safetensors in shards, half as the older format.
    model.save_pretrained(top, max_shard_size="40KB" if head == "token"
                          else "1GB")
    files = {n: read(os.path.join(top, n)) for n in os.listdir(top)}
    lib.shutil.rmtree(top)
    if head in ("sequence", "masked"):
        import io
        buf = io.BytesIO()
        torch.save(model.state_dict(), buf)
        del files["model.safetensors"]
        files["pytorch_model.bin"] = buf.getvalue()
    return model, files


def feeds():
    """Two rows, the second padded; ids stay clear of padding ids."""
    import numpy
    rnd = numpy.random.default_rng(7)
    ids = rnd.integers(5, 120, (2, 11), dtype=numpy.int64)
    mask = numpy.ones_like(ids)
    mask[1, 7:] = 0
    ids[1, 7:] = 1
    return {"input_ids": ids, "attention_mask": mask,
            "token_type_ids": numpy.zeros_like(ids)}


def compare(path, model, what):
    import numpy
    import onnxruntime
    import torch
    s = onnxruntime.InferenceSession(path,
                                     providers=["CPUExecutionProvider"])
    given = {i.name: feeds()[i.name] for i in s.get_inputs()}
    check({"input_ids", "attention_mask"} <= set(given), list(given))
    with torch.no_grad():
        want = model(**{k: torch.from_numpy(v) for k, v in given.items()})
    got = dict(zip([o.name for o in s.get_outputs()], s.run(None, given)))
    worst = 0.0
    for name, value in got.items():
        check(name in want, name, "is no output of the model:", list(want))
        ref = want[name].numpy()
        equal(value.shape, ref.shape, f"{what} {name}")
        worst = max(worst, float(numpy.abs(value - ref).max()
                                 / numpy.abs(ref).max()))
    figure(f"{what}: {', '.join(got)} differ by", worst, "", BOUND)


def run(rig):
    import onnx
    built, repos = {}, {}
    for family in FAMILIES:
        for head in HEADS:
            name = f"org/{family}-{head}"
            built[name], files = build(family, head)
            repos[name] = {"main": files}
    hub = rig.hub(repos)
    wrong = []
    for opset in (13, 17):
        m = rig.mount(hub, "--set", f"stage.opset={opset}")
        for name, model in built.items():
            try:
                path = m.hf(name, "pytorch/model.onnx")
                size, data = os.stat(path).st_size, read(path)
                equal(len(data), size, "size")
                onnx.checker.check_model(onnx.load_from_string(data),
                                         full_check=True)
                compare(path, model, f"{name} opset {opset}")
            except Exception as e:  # all of them are told, then it fails
                try:
                    why = lib.xattr(path, "error")
                except OSError:
                    why = ""
                print(f"WRONG {name} opset {opset}: "
                      f"{type(e).__name__}: {e!s:.300} {why}", flush=True)
                wrong.append(name)
        m.stop()
    check(not wrong, len(wrong), "of", 2 * len(built), "are wrong")


lib.main(run, 400)
