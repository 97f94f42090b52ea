"""Small models in the formats that Hugging Face repositories hold.

The shapes, names of weights and side files are those of the real
repositories, dimensions and vocabulary are small, and the weights are random
numbers from a fixed seed: every run gives the same bytes. Standard library
only. MODELS maps a repository id to a function that returns {path: bytes}.
"""
import array
import collections
import io
import json
import pickle
import random
import struct
import sys
import types
import zipfile

ATTRIBUTES = """\
*.bin filter=lfs diff=lfs merge=lfs -text
*.safetensors filter=lfs diff=lfs merge=lfs -text
"""
WORDS = """\
the of and to in is was for on with as by at from that it his her he she they
this be are were has had have not but or an which one all their who when there
can more no if out so what time up go about than into could state only new year
some take come these know see use get like then first any work now may such give
over think most even find day also after way many must look before great back
through long where much should well people down own just because good each those
feel seem how high too place little world very still nation hand old life tell
write become here show house both between need mean call develop under last
right move thing general school never same another begin while number part turn
real leave might want point form off child few small since against ask late home
interest large person end open public follow during present without again hold
govern around possible head consider word program problem however lead system
set order eye plan run keep face fact group play stand increase early course
change help line city put close case force meet once water upon war build hear
light unite live every country bring center let side try provide continue name
certain power pay result question study woman member until far night always
service away report something company week church toward start social room
figure nature though young less enough almost read include president nothing
better big boy cost business value second why clear expect family complete act
sense mind experience art next near direct car law industry important girl god
several matter usual rather per often kind among white reason action return foot
care simple within love human along appear doctor believe speak active student
month drive concern best door hope example inform body ever least probable
understand reach effect different idea whole control condition field pass fall
note special talk particular today measure walk teach low hour type carry rate
remain full street easy model paris france capital film wonderful terrible
""".split()


def vocabulary():
    """WordPiece, one token a line, as vocab.txt."""
    out = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    out += list(signs) + list(letters) + ["##" + c for c in letters]
    out += ["##" + s for s in ("s", "ed", "ing", "er", "ly", "tion", "est")
            if len(s) > 1]
    seen = set(out)
    out += [w for w in WORDS if not (w in seen or seen.add(w))]
    return out


def text(s):
    return s.encode("utf-8")


def pretty(value):
    return text(json.dumps(value, indent=2) + "\n")


# ---- weights ---------------------------------------------------------------

class Weights:
    """Named float32 tensors, in order."""

    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.tensors = {}

    def add(self, name, *shape, spread=0.06, around=0.0):
        n = 1
        for d in shape:
            n *= d
        v = array.array("f", (self.rnd.gauss(around, spread)
                              for _ in range(n)))
        if sys.byteorder == "big":
            v.byteswap()
        self.tensors[name] = (shape, v.tobytes())

    def linear(self, name, n_in, n_out):
        self.add(name + ".weight", n_out, n_in)
        self.add(name + ".bias", n_out)

    def norm(self, name, n, old=False):
        """Layer norm; the oldest checkpoints say gamma and beta."""
        self.add(name + (".gamma" if old else ".weight"), n, around=1.0)
        self.add(name + (".beta" if old else ".bias"), n)

    def safetensors(self):
        """8 bytes little-endian length, a JSON header, the tensors."""
        head, at = {"__metadata__": {"format": "pt"}}, 0
        for name in sorted(self.tensors):
            shape, data = self.tensors[name]
            head[name] = {"dtype": "F32", "shape": list(shape),
                          "data_offsets": [at, at + len(data)]}
            at += len(data)
        raw = text(json.dumps(head, separators=(",", ":")))
        raw += b" " * (-len(raw) % 8)
        body = b"".join(self.tensors[n][1] for n in sorted(self.tensors))
        return struct.pack("<Q", len(raw)) + raw + body

    def torch_zip(self):
        """What torch.save() writes of a state_dict: a zip of stored members,
        each payload at a multiple of 64, and a pickle of tensor headers."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
            def member(name, data):
                info = zipfile.ZipInfo("archive/" + name)
                start = out.tell() + 30 + len(info.filename)
                # An extra field "FB" as padding, as torch does.
                pad = (-(start + 4)) % 64
                info.extra = struct.pack("<2sH", b"FB", pad) + b"Z" * pad
                z.writestr(info, data)

            member("data.pkl", self._state_dict_pickle())
            member("byteorder", b"little")
            for i, (_, data) in enumerate(self.tensors.values()):
                member(f"data/{i}", data)
            member("version", b"3\n")
        return out.getvalue()

    def _state_dict_pickle(self):
        """The pickle names torch's functions; stand-ins of the same name take
        their place while it is written, so torch itself is not needed."""
        torch = types.ModuleType("torch")
        utils = types.ModuleType("torch._utils")

        def stand_in(module, name):
            cls = type(name, (), {"__module__": module.__name__})
            setattr(module, name, cls)
            return cls

        storage = stand_in(torch, "FloatStorage")
        rebuild = stand_in(utils, "_rebuild_tensor_v2")

        class Ref(tuple):
            """A storage, written as a persistent id."""

        class Tensor:
            def __init__(self, key, shape):
                self.key, self.shape = key, shape

            def __reduce__(self):
                n, strides = 1, []
                for d in reversed(self.shape):
                    strides.insert(0, n)
                    n *= d
                ref = Ref(("storage", storage, str(self.key), "cpu", n))
                return rebuild, (ref, 0, self.shape, tuple(strides), False,
                                  collections.OrderedDict())

        class Pickler(pickle.Pickler):
            def persistent_id(self, obj):
                return tuple(obj) if isinstance(obj, Ref) else None

        state = collections.OrderedDict(
            (name, Tensor(i, shape))
            for i, (name, (shape, _)) in enumerate(self.tensors.items()))
        kept = {n: sys.modules.get(n) for n in ("torch", "torch._utils")}
        sys.modules["torch"] = torch
        sys.modules["torch._utils"] = utils
        try:
            out = io.BytesIO()
            Pickler(out, 2).dump(state)
        finally:
            for n, m in kept.items():
                if m is None:
                    del sys.modules[n]
                else:
                    sys.modules[n] = m
        return out.getvalue()


# ---- side files ------------------------------------------------------------

def tokenizer_files(longest):
    words = vocabulary()
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]",
               "pad_token": "[PAD]", "cls_token": "[CLS]",
               "mask_token": "[MASK]"}
    ids = {w: i for i, w in enumerate(words)}

    def marker(token):
        return {"id": token, "ids": [ids[token]], "tokens": [token]}

    def piece(kind, name, segment):
        return {kind: {"id": name, "type_id": segment}}

    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": ids[t], "content": t, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": True} for t in words[:5]],
        "normalizer": {"type": "BertNormalizer", "clean_text": True,
                       "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("SpecialToken", "[CLS]", 0),
                       piece("Sequence", "A", 0),
                       piece("SpecialToken", "[SEP]", 0)],
            "pair": [piece("SpecialToken", "[CLS]", 0),
                     piece("Sequence", "A", 0),
                     piece("SpecialToken", "[SEP]", 0),
                     piece("Sequence", "B", 1),
                     piece("SpecialToken", "[SEP]", 1)],
            "special_tokens": {"[CLS]": marker("[CLS]"),
                               "[SEP]": marker("[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]",
                  "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    }
    return {
        ".gitattributes": text(ATTRIBUTES),
        "vocab.txt": text("\n".join(words) + "\n"),
        "tokenizer.json": pretty(tokenizer),
        "tokenizer_config.json": pretty(dict(
            special, do_lower_case=True, model_max_length=longest,
            tokenizer_class="BertTokenizer")),
        "special_tokens_map.json": pretty(special),
    }


def readme(repo, what):
    return text(f"""---
license: apache-2.0
---
# {repo}

{what} with the layout of the model of this name, and random weights: it shows
how files behave, and knows nothing.
""")


# ---- models ----------------------------------------------------------------

def bert_layers(w, pre, c, old):
    h, inner = c["hidden_size"], c["intermediate_size"]
    e = pre + "embeddings."
    w.add(e + "word_embeddings.weight", c["vocab_size"], h)
    w.add(e + "position_embeddings.weight", c["max_position_embeddings"], h)
    w.add(e + "token_type_embeddings.weight", c["type_vocab_size"], h)
    w.norm(e + "LayerNorm", h, old)
    for i in range(c["num_hidden_layers"]):
        at = f"{pre}encoder.layer.{i}."
        for part in ("query", "key", "value"):
            w.linear(f"{at}attention.self.{part}", h, h)
        w.linear(at + "attention.output.dense", h, h)
        w.norm(at + "attention.output.LayerNorm", h, old)
        w.linear(at + "intermediate.dense", h, inner)
        w.linear(at + "output.dense", inner, h)
        w.norm(at + "output.LayerNorm", h, old)
    w.linear(pre + "pooler.dense", h, h)


def bert_config(arch, hidden, layers, heads, inner, longest):
    return {
        "architectures": [arch], "model_type": "bert",
        "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "hidden_size": hidden, "initializer_range": 0.02,
        "intermediate_size": inner, "layer_norm_eps": 1e-12,
        "max_position_embeddings": longest, "num_attention_heads": heads,
        "num_hidden_layers": layers, "pad_token_id": 0,
        "position_embedding_type": "absolute", "type_vocab_size": 2,
        "use_cache": True, "vocab_size": len(vocabulary()),
    }


def bert_base(repo):
    """google-bert/bert-base-uncased: pre-training heads, gamma and beta."""
    c = bert_config("BertForMaskedLM", 64, 2, 4, 128, 128)
    w = Weights(repo)
    bert_layers(w, "bert.", c, True)
    h, v = c["hidden_size"], c["vocab_size"]
    w.add("cls.predictions.bias", v)
    w.linear("cls.predictions.transform.dense", h, h)
    w.norm("cls.predictions.transform.LayerNorm", h, True)
    w.linear("cls.seq_relationship", h, 2)
    return dict(tokenizer_files(128), **{
        "README.md": readme(repo, "BERT with its pre-training heads"),
        "config.json": pretty(c),
        "model.safetensors": w.safetensors(),
        "pytorch_model.bin": w.torch_zip(),
    })


def minilm(repo):
    """sentence-transformers/all-MiniLM-L6-v2: BERT without heads, and the
    modules that pool and normalise."""
    c = bert_config("BertModel", 48, 6, 12, 96, 128)
    w = Weights(repo)
    bert_layers(w, "", c, False)
    pooling = {"word_embedding_dimension": c["hidden_size"]}
    for mode in ("cls_token", "mean_tokens", "max_tokens",
                 "mean_sqrt_len_tokens"):
        pooling["pooling_mode_" + mode] = mode == "mean_tokens"
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"idx": i, "name": str(i), "path": f"{i}_{k}" if i else "",
                "type": "sentence_transformers.models." + k}
               for i, k in enumerate(kinds)]
    return dict(tokenizer_files(128), **{
        "README.md": readme(repo, "A sentence embedder"),
        "config.json": pretty(c),
        "modules.json": pretty(modules),
        "1_Pooling/config.json": pretty(pooling),
        "sentence_bert_config.json": pretty(
            {"max_seq_length": 128, "do_lower_case": False}),
        "config_sentence_transformers.json": pretty({"__version__": {
            "sentence_transformers": "2.0.0", "transformers": "4.6.1",
            "pytorch": "1.8.1"}}),
        "model.safetensors": w.safetensors(),
    })


def distilbert(repo):
    """A sentiment classifier, as a PyTorch checkpoint only."""
    h, inner, longest = 64, 128, 128
    v = len(vocabulary())
    c = {
        "architectures": ["DistilBertForSequenceClassification"],
        "model_type": "distilbert", "activation": "gelu",
        "attention_dropout": 0.1, "dim": h, "dropout": 0.1,
        "hidden_dim": inner, "initializer_range": 0.02,
        "finetuning_task": "sst-2",
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
        "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
        "max_position_embeddings": longest, "n_heads": 4, "n_layers": 2,
        "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False, "tie_weights_": True, "vocab_size": v,
    }
    w = Weights(repo)
    e = "distilbert.embeddings."
    w.add(e + "word_embeddings.weight", v, h)
    w.add(e + "position_embeddings.weight", longest, h)
    w.norm(e + "LayerNorm", h)
    for i in range(c["n_layers"]):
        at = f"distilbert.transformer.layer.{i}."
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            w.linear(at + "attention." + part, h, h)
        w.norm(at + "sa_layer_norm", h)
        w.linear(at + "ffn.lin1", h, inner)
        w.linear(at + "ffn.lin2", inner, h)
        w.norm(at + "output_layer_norm", h)
    w.linear("pre_classifier", h, h)
    w.linear("classifier", h, 2)
    return dict(tokenizer_files(longest), **{
        "README.md": readme(repo, "A two-label classifier"),
        "config.json": pretty(c),
        "pytorch_model.bin": w.torch_zip(),
    })


MODELS = {
    "google-bert/bert-base-uncased": bert_base,
    "sentence-transformers/all-MiniLM-L6-v2": minilm,
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": distilbert,
}
# Names a repository had before; the hub redirects them.
OLD_NAMES = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "distilbert-base-uncased-finetuned-sst-2-english":
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
}
