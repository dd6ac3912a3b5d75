"""Makes the small sound files from which the fuzz targets start, fuzz/seeds/TARGET/.

Needs torch 2.15, numpy, Pillow 13, pillow-heif and safetensors. Usage: python scripts/make_fuzz_seeds.py
"""

import gzip
import io
import hashlib
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pillow_heif
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors

pillow_heif.register_heif_opener()

SEEDS = Path(__file__).parent.parent / "fuzz" / "seeds"


def write(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def tensors():
    torch.manual_seed(0)
    return {"a.weight": torch.randn(2, 3), "a.bias": torch.randn(3).half(), "step": torch.tensor(7)}


def pytorch():
    plain = tensors()
    base = torch.arange(12.0).reshape(3, 4)
    views = {"t": base.t(), "row": base[1], "same": base, "bf": base.to(torch.bfloat16)}
    training = {"epoch": 3, "name": "run", "state_dict": {f"module.{k}": v for k, v in plain.items()}}
    training["optimizer"] = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    cases = {"plain": plain, "views": views, "training": training}
    for name, value in cases.items():
        write("pytorch_zip", f"{name}.pt", saved(value))
        write("pytorch_legacy", f"{name}.pt", saved(value, _use_new_zipfile_serialization=False))
        write("pickle", f"{name}.pkl", pickle_of(saved(value)))
    for protocol in range(6):
        value = {"a": np.arange(4, dtype=np.float32), "b": [1, -2, 1 << 40, 0.5, None, True, "x", b"y", (1,), {2}]}
        write("pickle", f"numpy_{protocol}.pkl", pickle.dumps(value, protocol=protocol))


def pickle_of(archive):
    """Returns the `data.pkl` of an archive, located by its local header."""
    at = archive.index(b"data.pkl")
    header = archive.rindex(b"PK\x03\x04", 0, at)
    names, extra = struct.unpack_from("<HH", archive, header + 26)
    start = header + 30 + names + extra
    return archive[start : archive.index(b"PK", start)]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.a(x) + torch.ones(3)


def torchscript():
    torch.manual_seed(0)
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(Model()), out)
    write("torchscript", "linear.pt", out.getvalue())
    out = io.BytesIO()
    torch.jit.save(torch.jit.trace(Model(), torch.ones(1, 2)), out)
    write("torchscript", "traced.pt", out.getvalue())


def tar():
    """Returns a file in PyTorch's layout before 0.1.10: `sys_info`, `pickle`, `storages`, `tensors`."""
    system = {"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    storages = [pickle.dumps(1, protocol=2)]
    storage = pickle.dumps((0, "cpu", torch.FloatStorage), protocol=2)
    storages += [storage]
    storages += [struct.pack("<q", 6), struct.pack("<6f", *range(6))]
    tensor = pickle.dumps((0, 0, torch.FloatStorage), protocol=2).replace(b"FloatStorage", b"FloatTensor")
    table = [pickle.dumps(1, protocol=2), tensor]
    table += [struct.pack("<i", 2), struct.pack("<i", 0), struct.pack("<2q", 2, 3), struct.pack("<2q", 3, 1)]
    table += [struct.pack("<q", 0)]
    main = b"\x80\x02}X\x01\x00\x00\x00wK\x00Qs."
    parts = {"sys_info": pickle.dumps(system, protocol=2), "pickle": main}
    parts |= {"storages": b"".join(storages), "tensors": b"".join(table)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    write("pytorch_tar", "plain.tar", out.getvalue().rstrip(b"\0") + bytes(1536))


def arrays():
    small = {"f4": np.arange(6, dtype="<f4").reshape(2, 3), "i8be": np.arange(4, dtype=">i8").reshape(2, 2)}
    small |= {"half_f": np.asfortranarray(np.arange(6, dtype="<f2").reshape(3, 2)), "bool": np.array(True)}
    for name, array in small.items():
        out = io.BytesIO()
        np.save(out, array)
        write("npy", f"{name}.npy", out.getvalue())
    for name, save in {"stored": np.savez, "deflated": np.savez_compressed}.items():
        out = io.BytesIO()
        save(out, **small)
        write("npz", f"{name}.npz", out.getvalue())


def onnx():
    def varint(value):
        out = b""
        while value >= 0x80:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    def number(field, value):
        return varint(field << 3) + varint(value)

    def text(field, value):
        value = value.encode() if isinstance(value, str) else value
        return varint(field << 3 | 2) + varint(len(value)) + value

    def tensor(name, dtype, shape, *rest):
        return text(5, text(1, b"".join(map(varint, shape))) + number(2, dtype) + text(8, name) + b"".join(rest))

    def entry(key, value):
        return text(13, text(1, key) + text(2, value))

    external = [entry("location", "w.bin"), entry("offset", "4"), entry("length", "8"), number(14, 1)]
    weights = [
        tensor("w", 1, [2, 3], text(9, struct.pack("<6f", *range(6)))),
        tensor("d", 1, [2], text(4, struct.pack("<2f", 1, 2))),
        tensor("i", 7, [3], text(7, b"\x01\x02\x03")),
        tensor("h", 10, [2], text(5, varint(15360) + varint(0))),
        tensor("x", 1, [2], *external),
    ]
    node = text(1, text(1, "w") + text(2, "y") + text(4, "Identity"))
    graph = node + text(2, "g") + b"".join(weights) + text(12, text(1, "y"))
    write("onnx", "all.onnx", number(1, 8) + text(8, number(2, 17)) + text(7, graph))


def safetensors():
    write("safetensors", "plain.safetensors", save_safetensors(tensors(), metadata={"format": "pt"}))
    write("safetensors", "empty.safetensors", save_safetensors({"e": torch.empty(0, 3), "s": torch.tensor(1.0)}))
    index = {"metadata": {"total_size": 30}, "weight_map": {"a": "m-1.safetensors", "b": "s/m-2.safetensors"}}
    write("sharded", "two.json", json.dumps(index, indent=1))


CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 6, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}

HUGGING_FACE = {
    "model_type": "clip",
    "projection_dim": 8,
    "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "vocab_size": 50, "max_position_embeddings": 6, "eos_token_id": 49, "hidden_act": "gelu"},
    "vision_config": {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "image_size": 8, "patch_size": 4, "hidden_act": "gelu"},
}


def configs():
    resnet = CONFIG | {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}, "quick_gelu": True}
    pooled = {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2, "norm_kwargs": {"eps": 1e-6}}
    rich = CONFIG | {"vision_cfg": CONFIG["vision_cfg"] | pooled, "custom_text": True, "init_logit_bias": -10}
    rich["text_cfg"] = CONFIG["text_cfg"] | {"embed_cls": True, "pool_type": "last", "proj_bias": True}
    processing = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}
    write("config", "plain.json", json.dumps(CONFIG))
    write("config", "resnet.json", json.dumps(resnet))
    write("config", "rich.json", json.dumps({"model_cfg": rich, "preprocess_cfg": processing}, indent=1))
    write("hf_config", "small.json", json.dumps(HUGGING_FACE))
    processor = {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}, "resample": 3, "do_resize": True,
                 "image_mean": [0, 0, 0], "image_std": [1, 1, 1], "rescale_factor": 1 / 255, "do_normalize": True}
    write("hf_preprocessor", "small.json", json.dumps(processor))
    write("json", "all.json", '{"a": [1, -2, 3.5e-3, true, false, null], "\\u00e9\\ud83d\\ude00": {"": "\\n"}}')
    write("artifact", "small.json", json.dumps(artifact(), indent=1))


def artifact():
    file = {"bytes": 3, "sha256": "00" * 32}
    key = {"kind": "source_file", "file": "b.json", "key": "quick_gelu"}
    known = lambda value, origin=key: {"value": value, "from": origin}
    processor = {"backend": "torchvision", "over_white": True, "resize": {"to": {"shortest": 9}, "resample": "bicubic"}, "crop": [8, 8],
                 "rescale": 0.5, "normalize": {"mean": [0.5] * 3, "std": [0.5] * 3}, "pad": None}
    rules = {"context_length": 7, "clean": "lower", "tokenizer": {"kind": "clip_bpe"}}
    facts = {
        "artifact_version": 3, "tool_version": "0.1.0", "target": "open_clip",
        "source": {"name": "a.pt", "format": "PyTorch zip", "layout": "open_clip", "path": [], "weights": "raw",
                   "files": {"a.pt": file}, "facts": {"epoch": 3}},
        "model": {"name": None, "config_from": "b.json", "precision": "fp16", "towers": "both", "parameters": 7},
        "contract": {
            "image": {"size": known([8, 8]), "rule": known({"transformers": processor}), "mean": known([0.5] * 3), "std": known([0.5] * 3),
                      "interpolation": known("bicubic"), "resize_mode": known("shortest"), "fill_color": known(0),
                      "epsilon": known([0.5])},
            "text": {"context_length": known(7), "tokenizer": known(rules), "cleaning": known("lower"),
                     "pooling": known("end_token"), "end_token": known(49407), "epsilon": known([0.5])},
            "activation": known("gelu", {"kind": "artifact", "said": {"kind": "assumption", "why": "c"}}),
            "logit_scale": known(100.0, {"kind": "weights", "tensor": "logit_scale"}), "logit_bias": None,
            "license": known("mit", {"kind": "option", "name": "license"}),
        },
        "verification": None, "notes": ["d"],
        "ledger": {"source_tensors": 1, "source_bytes": 2, "written_tensors": 1, "written_bytes": 2,
                   "groups": [{"fate": "written", "rule": "as they are", "tensors": 1, "bytes": 2}]},
        "plan": {"layout": "open_clip", "changed": {"a": {"from": ["b"], "steps": ["cast"]}}, "dropped": {"c": "d"}},
        "weights": {"safetensors": ["open_clip_model.safetensors"]},
        "tensors": {"a": {"dtype": "F16", "sha256": "11" * 32}}, "files": {"README.md": file},
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**facts, "digest": hashlib.sha256(text.encode()).hexdigest()}


def names():
    def linear(name, *shape):
        return [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]

    hf = [("logit_scale", ()), ("visual_projection.weight", (8, 16)), ("text_projection.weight", (8, 16)),
          ("vision_model.embeddings.class_embedding", (16,)),
          ("vision_model.embeddings.patch_embedding.weight", (16, 3, 4, 4)),
          ("vision_model.embeddings.position_embedding.weight", (5, 16)),
          ("text_model.embeddings.token_embedding.weight", (50, 16)),
          ("text_model.embeddings.position_embedding.weight", (6, 16))]
    for norm in ["vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"]:
        hf += linear(norm, 16)
    for block, mlp in [("vision_model.encoder.layers.0", 64), ("vision_model.encoder.layers.1", 64),
                       ("text_model.encoder.layers.0", 32)]:
        for part in ["k_proj", "v_proj", "q_proj", "out_proj"]:
            hf += linear(f"{block}.self_attn.{part}", 16, 16)
        hf += linear(f"{block}.layer_norm1", 16) + linear(f"{block}.layer_norm2", 16)
        hf += linear(f"{block}.mlp.fc1", mlp, 16) + linear(f"{block}.mlp.fc2", 16, mlp)
    own = [("positional_embedding", (6, 128)), ("text_projection", (128, 8)), ("logit_scale", ()),
           ("visual.class_embedding", (128,)), ("visual.positional_embedding", (5, 128)), ("visual.proj", (128, 8)),
           ("visual.conv1.weight", (128, 3, 4, 4))] + linear("visual.ln_pre", 128)
    for block in ["visual.transformer.resblocks.0", "transformer.resblocks.0"]:
        own += linear(f"{block}.ln_1", 128)
        own += [(f"{block}.attn.in_proj_weight", (384, 128)), (f"{block}.attn.in_proj_bias", (384,))]
        own += linear(f"{block}.attn.out_proj", 128, 128) + linear(f"{block}.ln_2", 128)
        own += linear(f"{block}.mlp.c_fc", 512, 128) + linear(f"{block}.mlp.c_proj", 128, 512)
    own += linear("visual.ln_post", 128) + [("token_embedding.weight", (50, 128))] + linear("ln_final", 128)
    custom = [(f"text.{n}" if not n.startswith(("visual", "logit")) else n, s) for n, s in own]
    module = [(f"module.{n}", s) for n, s in own]
    for name, listed in {"transformers": hf, "open_clip": own, "custom_text": custom, "module": module}.items():
        lines = (" ".join([tensor, *map(str, shape)]) for tensor, shape in listed)
        write("names", f"{name}.txt", "\n".join(lines) + "\n")


def tokenizers():
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 3, "content": "<x>", **token}, {"id": 4, "content": "[PAD]", **token}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a-z]+|\\s+(?!\\S)"}, "behavior": "Isolated",
                          "invert": False},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}},
                                      {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<x>": {"id": "<x>", "ids": [3], "tokens": ["<x>"]}}},
        "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
    }
    write("tokenizer_json", "small.json", json.dumps(file))
    pieces = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}}
    bert = file | {"normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                  "strip_accents": None, "lowercase": True},
                   "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "model": pieces}
    write("tokenizer_json", "wordpiece.json", json.dumps(bert))
    unigram = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["<unk>", 0.0], ["a", -1.5], ["b", -2]]}
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    xlm = file | {"normalizer": None, "pre_tokenizer": metaspace, "post_processor": None, "model": unigram}
    write("tokenizer_json", "unigram.json", json.dumps(xlm))
    config = {"tokenizer_class": "T5Tokenizer", "pad_token": "[PAD]", "padding_side": "right", "model_max_length": 77}
    write("tokenizer_config", "config.json", b"\0" + json.dumps(config).encode())
    write("tokenizer_config", "special.json", b"\1" + json.dumps({"pad_token": {"content": "[PAD]"}}).encode())
    text = {"hf_tokenizer_name": "a/b", "context_length": 9, "tokenizer_kwargs": {"clean": "canonicalize"}}
    write("tokenizer_config", "text.json", b"\2" + json.dumps(text).encode())
    write("vocabulary", "short.gz", gzip.compress("\"bpe\"\ni n\nt h\na n\n".encode(), mtime=0))


def images():
    values = np.arange(7 * 5 * 4, dtype=np.uint8).reshape(5, 7, 4) * 1
    rgb, rgba, gray = Image.fromarray(values[..., :3]), Image.fromarray(values, "RGBA"), Image.fromarray(values[..., 0])
    palette = rgb.quantize(8)
    cases = {
        "jpeg": [("rgb", rgb, {}), ("gray", gray, {}), ("cmyk", rgb.convert("CMYK"), {}),
                 ("progressive", rgb, {"progressive": True})],
        "png": [("rgb", rgb, {}), ("rgba", rgba, {}), ("gray", gray, {}), ("palette", palette, {"transparency": 0}),
                ("bits", gray.convert("1"), {}), ("deep", gray.convert("I;16"), {})],
        "gif": [("palette", palette, {}), ("clear", palette, {"transparency": 1})],
        "webp": [("lossy", rgb, {}), ("lossless", rgba, {"lossless": True})],
        "bmp": [("rgb", rgb, {}), ("palette", palette, {}), ("bits", gray.convert("1"), {}), ("rgba", rgba, {})],
        "tiff": [("raw", rgb, {}), ("lzw", rgb, {"compression": "tiff_lzw"}), ("bits", gray.convert("1"), {}),
                 ("packbits", gray, {"compression": "packbits"}), ("deflate", rgba, {"compression": "tiff_deflate"}),
                 ("palette", palette, {}), ("deep", gray.convert("I;16"), {}), ("float", gray.convert("F"), {})],
    }
    tiles = Image.fromarray(np.tile(values[..., :3], (4, 20, 1)))
    for name, image, options in [("rgb", rgb, {}), ("gray", gray, {}), ("alpha", rgba, {}), ("grid", tiles, {"tile_size": 64})]:
        out = io.BytesIO()
        image.save(out, "HEIF", quality=80, **options)
        write("heic", f"{name}.heic", out.getvalue())
    for name, image, options in [("rgb", rgb, {}), ("gray", gray, {"subsampling": "4:0:0"}), ("alpha", rgba, {"subsampling": "4:4:4"}),
                                 ("grain", rgb, {"advanced": {"film-grain-test": "1"}}), ("parts", tiles, {"tile_cols": 1})]:
        out = io.BytesIO()
        image.save(out, "AVIF", quality=60, speed=8, **options)
        write("avif", f"{name}.avif", out.getvalue())
    for form, listed in cases.items():
        for name, image, options in listed:
            out = io.BytesIO()
            image.save(out, form.upper(), **options)
            write(form, f"{name}.{form}", out.getvalue())


def requests():
    image = "data:image/png;base64,AAAA"
    write("serve_request", "head", b"\0POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello")
    write("serve_request", "chunked", b"\0POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    parts = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": ""}]
    bodies = {
        1: {"model": "m", "input": ["a", {"image": image}, {"text": "b"}], "encoding_format": "base64", "dimensions": 4},
        2: {"inputs": ["a", "b"], "truncate": True, "normalize": False},
        3: {"model": "m", "inputs": [{"content": parts[:1]}], "embedding_types": ["float", "base64"], "truncate": "NONE"},
        4: {"images": [image], "labels": ["a", "b"], "templates": ["a {}", "{} b"]},
    }
    for kind, body in bodies.items():
        write("serve_request", f"body{kind}.json", bytes([kind]) + json.dumps(body).encode())
    messages = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    write("serve_request", "messages.json", b"\1" + json.dumps(messages).encode())
    form = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    visual = json.dumps({"clip": {"visual": {"modelName": "m"}}}).encode()
    textual = json.dumps({"clip": {"textual": {"modelName": "m", "options": {"language": "en"}}}}).encode()
    write("serve_request", "visual", b"\5" + form % (b"entries", visual) + form % (b"image", b"PNG") + b"--b--\r\n")
    write("serve_request", "textual", b"\5" + form % (b"entries", textual) + form % (b"text", b"lion") + b"--b--\r\n")


if __name__ == "__main__":
    for make in [pytorch, torchscript, tar, arrays, onnx, safetensors, configs, names, tokenizers, images, requests]:
        make()
