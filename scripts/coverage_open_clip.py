"""Kinds of source whose judge is open_clip or the model's own code; `check_coverage.py` runs them.

Each function takes the program, a name and an empty folder, makes a source there with weights by chance, compares what clipway
makes of it, and returns what is wrong.
"""
import json
import os
import subprocess
import warnings

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file

LEAST = 0.99999
FARTHEST = 1e-5
TEXTS = ["a photo of a cat", "The red BIRD is blue.", "the dog's ball, twice!", "a", "cat " * 40]
MODEL = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


SCALE = {"all": 0.2, "chinese": 0.1}


def enlarge(scale):
    """Gives the models real sizes: those of ViT-B-32."""
    MODEL.update(embed_dim=512, vision_cfg={"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
                 text_cfg={"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12})
    SCALE.update(all=scale, chinese=scale)


def drawn(model, scale=None):
    """The model with every parameter drawn from a normal distribution. In a large one the factors of norms are near 1, since twelve
    blocks of small ones leave nothing of the input."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                is_factor = is_real() and parameter.dim() == 1 and name.endswith("weight")
                parameter.normal_(float(is_factor), scale or SCALE["all"])
    return model.eval()


def small(sizes=MODEL):
    torch.manual_seed(3)
    return drawn(open_clip.model.CLIP(**sizes))


def is_real():
    return MODEL["vision_cfg"]["layers"] == 12


def clip_words():
    return open_clip.SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])


def transform():
    return open_clip.image_transform(MODEL["vision_cfg"]["image_size"], is_train=False)


def said(place, name, config):
    path = place / name
    path.write_text(json.dumps(config))
    return path


def texts_file(place, texts=TEXTS):
    path = place / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf8")
    return path


def compared(name, wanted, found):
    """What differs: the smallest cosine, and the largest difference as a share of the largest value."""
    problems = []
    for key, theirs in wanted.items():
        ours = found[key].double()
        theirs = theirs.double()
        cosine = float(torch.nn.functional.cosine_similarity(theirs, ours).min())
        farthest = float((theirs - ours).abs().max() / theirs.abs().max())
        print(f"{name}, {key}: smallest cosine {cosine:.7f}, farthest {farthest:.1e}", flush=True)
        if not (cosine >= LEAST and farthest <= FARTHEST):
            problems.append(f"{name}, {key}: {cosine}, {farthest}")
    return problems


def embedded(clipway, place, source, paths, *options, texts=TEXTS):
    """clipway's features of the images and texts."""
    features = place / "features.safetensors"
    given = [*paths, "--texts-file", texts_file(place, texts)]
    subprocess.run([clipway, "embed", source, *given, "--out", features, "--force", "--quiet", *options], check=True)
    return load_file(features)


def exported(clipway, place, source, *options):
    out = place / "out"
    subprocess.run([clipway, "export", source, "--out", out, "--force", "--quiet", *options], check=True, capture_output=True)
    return out


def of_open_clip(model, tokenizer, transform, paths):
    with torch.no_grad():
        return {
            "image_features": model.encode_image(torch.stack([transform(Image.open(path)) for path in paths])),
            "text_features": model.encode_text(tokenizer(TEXTS)),
        }


def split(rank, world, place, scale):
    """One process of several: its parts of every tensor, along the first or the second dimension, or the whole. A process of its own is
    told the scale of a large model, which it makes again; `None` for a small one."""
    import torch.distributed
    import torch.distributed.checkpoint
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29571")
    if scale:
        enlarge(scale)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    tensors = {}
    for number, (name, tensor) in enumerate(small().state_dict().items()):
        whole = tensor.ndim == 0 or number % 3 == 0
        tensors[name] = distribute_tensor(tensor, mesh, [Replicate() if whole else Shard(1 if tensor.ndim > 1 and number % 3 == 1 else 0)])
    state = {"model": tensors, "epoch": 1, "optimizer": {"state": {"moment": torch.ones(3)}}}
    torch.distributed.checkpoint.save(state, checkpoint_id=place)
    torch.distributed.destroy_process_group()


def distributed(clipway, name, place, paths):
    """A checkpoint of `torch.distributed.checkpoint`, by one process and by three."""
    import torch.distributed.checkpoint
    model, config = small(), said(place, "model.json", MODEL)
    wanted = of_open_clip(model, clip_words(), transform(), paths)
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.distributed.checkpoint.save({"model": model.state_dict(), "epoch": 1}, checkpoint_id=place / "one", no_dist=True)
    torch.multiprocessing.spawn(split, (3, place / "three", SCALE["all"] if is_real() else None), 3)
    for source in ("one", "three"):
        problems += compared(f"{name}, by {source}", wanted, embedded(clipway, place, place / source, paths, "--model", config))
        found = load_file(next(exported(clipway, place, place / source, "--model", config).glob("*.safetensors")))
        unequal = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, found.get(key, torch.empty(0)))]
        problems += [f"{name}, by {source}: `{key}` is not equal" for key in unequal]
    return problems


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123)), *("##" + chr(code) for code in range(97, 123)),
         "photo", "of", "cat", "the", ",", ".", "!", "'", "\u4e2d", "\u56fd"]


def vocabulary(folder, size):
    """A BERT's words in `vocab.txt`, and nothing else."""
    folder.mkdir(exist_ok=True)
    words = WORDS + [f"[unused{number}]" for number in range(size - len(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf8")


def chinese(clipway, name, place, paths):
    """Chinese-CLIP in its own names, with and without `module.`, against the package `cn_clip`."""
    import importlib.util
    if not importlib.util.find_spec("cn_clip"):
        print(f"skipped: {name}, since cn_clip is not installed")
        return []
    from cn_clip.clip import bert_tokenizer
    from cn_clip.clip.model import CLIP
    from cn_clip.clip.utils import image_transform
    real = is_real()
    rows = 21128 if real else 300
    vocabulary(place / "words", rows)
    tokenizer = bert_tokenizer.FullTokenizer(vocab_file=str(place / "words" / "vocab.txt"))
    problems = []
    # Each image tower with the layers of its text tower.
    towers = {"vit": (2, dict(vision_layers=3, vision_width=128, vision_patch_size=8, image_resolution=32)),
              "resnet": (2, dict(vision_layers=[1, 1, 1, 1], vision_width=64, vision_patch_size=None, image_resolution=64))}
    width, embed, ratio = (768, 512, 4) if real else (128, 48, 2)
    if real:
        towers = {"vit": (12, dict(vision_layers=12, vision_width=768, vision_patch_size=16, image_resolution=224)),
                  "resnet": (3, dict(vision_layers=[3, 4, 6, 3], vision_width=64, vision_patch_size=None, image_resolution=224))}
    for kind, (layers, tower) in towers.items():
        torch.manual_seed(4)
        model = CLIP(embed_dim=embed, **tower, vocab_size=rows, text_attention_probs_dropout_prob=0.1, text_hidden_act="gelu",
                     text_hidden_dropout_prob=0.1, text_hidden_size=width, text_initializer_range=0.02, text_intermediate_size=ratio * width,
                     text_max_position_embeddings=512 if real else 64, text_num_attention_heads=width // 64, text_num_hidden_layers=layers,
                     text_type_vocab_size=2, tokenizer=tokenizer)
        for key, parameter in model.named_parameters():
            if key != "logit_scale" and "bn" not in key and "downsample.1" not in key:
                parameter.data.normal_(float(real and parameter.dim() == 1 and key.endswith("weight")), SCALE["chinese"])
        model.eval()
        ids_of = torch.zeros(len(TEXTS), 52, dtype=torch.long)
        for row, text in zip(ids_of, TEXTS):
            ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))[:50]
            ids = [tokenizer.vocab["[CLS]"], *ids, tokenizer.vocab["[SEP]"]]
            row[:len(ids)] = torch.tensor(ids)
        with torch.no_grad():
            pixels = torch.stack([image_transform(tower["image_resolution"])(Image.open(path)) for path in paths])
            wanted = {"image_features": model.encode_image(pixels), "text_features": model.encode_text(ids_of)}
        for prefix in ("", "module."):
            state = {prefix + key: value for key, value in model.state_dict().items()}
            source = place / f"{kind}{prefix}.pt"
            torch.save({"epoch": 1, "step": 2, "name": "finetune", "state_dict": state, "optimizer": {}}, source)
            what = f"{name}, {kind}, prefix '{prefix}'"
            given = ("--tokenizer", place / "words")
            problems += compared(what, wanted, embedded(clipway, place, source, paths, *given))
            problems += compared(what + ", its export", wanted, embedded(clipway, place, exported(clipway, place, source, *given), paths))
    return problems


def bert(clipway, name, place, paths):
    """An open_clip model whose text model is a local folder with `config.json` and `vocab.txt`, or known by shapes alone."""
    import transformers
    problems = []
    folder = place / "bert"
    # BiomedCLIP's sizes.
    rows, positions, length = (30522, 512, 256) if is_real() else (300, 64, 20)
    width, layers = (768, 12) if is_real() else (128, 2)
    hidden = 4 * width if is_real() else 3 * width // 2
    vocabulary(folder, rows)
    here = os.getcwd()
    for by, heads in (("the folder", width // 32), ("shapes", width // 64)):
        torch.manual_seed(5)
        transformers.BertConfig(vocab_size=rows, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                                intermediate_size=hidden, max_position_embeddings=positions).save_pretrained(folder)
        config = dict(MODEL, text_cfg={"hf_model_name": "bert", "hf_tokenizer_name": "bert", "hf_proj_type": "mlp", "context_length": length,
                                       "hf_pooler_type": "cls_last_hidden_state_pooler", "hf_model_pretrained": False})
        os.chdir(place)
        model = drawn(open_clip.model.CustomTextCLIP(**config))
        os.chdir(here)
        source = place / f"{heads}.pt"
        torch.save({"epoch": 1, "state_dict": model.state_dict()}, source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ids = tokenizer([" ".join(text.split()) for text in TEXTS], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        wanted = of_open_clip(model, lambda _: ids["input_ids"], transform(), paths)
        if by == "shapes":
            # Another name, of which nothing is known: the config lies in a folder without one of the text model.
            (place / "alone").mkdir()
            config["text_cfg"]["hf_model_name"] = "some/bert"
            path = said(place / "alone", "model.json", config)
        else:
            path = said(place, "model.json", config)
        given = ("--model", path, "--tokenizer", folder)
        problems += compared(f"{name}, by {by}", wanted, embedded(clipway, place, source, paths, *given))
        problems += compared(f"{name}, by {by}, its export", wanted, embedded(clipway, place, exported(clipway, place, source, *given), paths))
    return problems


def words(clipway, name, place, paths):
    """Texts drawn from many alphabets, tokenized by a `vocab.txt` alone: the ids of transformers' BertTokenizer."""
    import random
    import transformers
    folder = place / "bert"
    vocabulary(folder, 400)
    draw = random.Random(9)
    pools = ["abcdefghij xyz", "ABC Def", "\u00e9\u00fc\u0130\u00df\u1e9b ", "\u4e2d\u56fd\u65e5 ", "!',.-_()[]{} ", "\u0301\u200b\ufeff\u00ad", "[SEP][MASK] ", "photo of the cat ",
             "\U0001f600\u0915\u094d ", "\t\u00a0\u3000 "]
    texts = ["".join(draw.choice(draw.choice(pools)) for _ in range(draw.randrange(1, 40))) for _ in range(1500)]
    texts = [text.replace("\n", " ") for text in texts if text.strip()]
    torch.manual_seed(6)
    transformers.BertConfig(vocab_size=400, hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128,
                            max_position_embeddings=64).save_pretrained(folder)
    config = dict(MODEL, text_cfg={"hf_model_name": "bert", "hf_tokenizer_name": "bert", "hf_proj_type": "linear", "context_length": 48,
                                   "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False, "tokenizer_kwargs": {"clean": "whitespace"}})
    here = os.getcwd()
    os.chdir(place)
    model = drawn(open_clip.model.CustomTextCLIP(**config))
    tokenizer = open_clip.tokenizer.HFTokenizer("bert", context_length=48, clean="whitespace")
    os.chdir(here)
    torch.save(model.state_dict(), place / "words.pt")
    with torch.no_grad():
        wanted = {"text_features": model.encode_text(tokenizer(texts))}
    path = place / "drawn.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf8")
    features = place / "features.safetensors"
    subprocess.run([clipway, "embed", place / "words.pt", "--model", said(place, "model.json", config), "--tokenizer", folder, "--texts-file", path,
                    "--out", features, "--quiet"], check=True)
    return compared(f"{name}, {len(texts)} texts", wanted, load_file(features))


def prefixed(clipway, name, place, paths):
    """Towers under prefixes of their own, as wrappers and TinyCLIP's code save them, and averaged weights under one."""
    # Of real size, TinyCLIP-ViT-40M-32-Text-19M's.
    tiny = dict(MODEL, vision_cfg=dict(MODEL["vision_cfg"], width=512), text_cfg=dict(MODEL["text_cfg"], layers=6))
    sizes = tiny if is_real() else MODEL
    model, config = small(sizes), said(place, "model.json", sizes)
    wanted = of_open_clip(model, clip_words(), transform(), paths)
    other = {key: value + 1 for key, value in model.state_dict().items()}
    is_image = lambda key: key.startswith("visual.")
    spellings = {
        "two prefixes": lambda key: ("image_model." if is_image(key) else "text_model_." if key != "logit_scale" else "") + key,
        "bare image tower": lambda key: key.replace("visual.", "image_encoder.", 1) if is_image(key) else "text_encoder." + key,
        "TinyCLIP": lambda key: ("_image_encoder." if is_image(key) else "_logit_scale." if key == "logit_scale" else "_text_encoder.") + key,
        "TinyCLIP, parallel": lambda key: ("_image_encoder.module." if is_image(key) else "_logit_scale.module." if key == "logit_scale"
                                           else "_text_encoder.module.") + key,
        "ema": lambda key: "model_ema.clip." + key,
    }
    problems = []
    for spelling, rename in spellings.items():
        state = {rename(key): value for key, value in model.state_dict().items()}
        state |= {"head.weight": torch.ones(3), "head.bias": torch.ones(3)}
        options = ["--model", config]
        if spelling == "ema":
            state |= {"model.clip." + key: value for key, value in other.items()}
            options += ["--weights", "ema"]
        torch.save({"state_dict": state}, place / "split.pt")
        problems += compared(f"{name}, {spelling}", wanted, embedded(clipway, place, place / "split.pt", paths, *options))
    return problems


def towers_of_transformers(clipway, name, place, paths):
    """Towers alone, written with `--to transformers` and loaded by transformers' classes of one tower."""
    import transformers
    import check_coverage
    problems = []
    for kind in ("CLIP", "Siglip"):
        source = place / kind
        source.mkdir()
        torch.manual_seed(8)
        if kind == "CLIP":
            config = transformers.CLIPConfig(vision_config=check_coverage.VISION, text_config=check_coverage.text(3), projection_dim=20)
            model, processor = transformers.CLIPModel(config), check_coverage.clip_processor()
        else:
            text = dict(check_coverage.text(3), projection_size=check_coverage.VISION["hidden_size"])
            config = transformers.SiglipConfig(vision_config=check_coverage.VISION, text_config=text)
            model = transformers.SiglipModel(config)
            side = check_coverage.VISION["image_size"]
            processor = transformers.SiglipImageProcessor(size={"height": side, "width": side})
        tokenizer = check_coverage.byte_pairs(source, 3)
        check_coverage.drawn(model).save_pretrained(source)
        processor.save_pretrained(source)
        wanted = check_coverage.expected(model, tokenizer, "both", processor, paths)
        classes = {"image": "VisionModelWithProjection" if kind == "CLIP" else "VisionModel",
                   "text": "TextModelWithProjection" if kind == "CLIP" else "TextModel"}
        for tower, ending in classes.items():
            out = exported(clipway, place, source, "--tower", tower, "--to", "transformers")
            loaded, report = getattr(transformers, kind + ending).from_pretrained(out, output_loading_info=True)
            missing = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]]
            problems += [f"{name}, {kind}, {tower}: {key}: {sorted(report[key])[:3]}" for key in missing]
            own = transformers.AutoImageProcessor.from_pretrained(out) if tower == "image" else None
            theirs = transformers.AutoTokenizer.from_pretrained(out) if tower == "text" else None
            found = check_coverage.expected(loaded.eval(), theirs, tower, own, paths)
            problems += compared(f"{name}, {kind}{ending}", {key: wanted[key] for key in found}, found)
    return problems


def end_token(clipway, name, place, paths):
    """What is written for `pool_type` `eos` states `eos_id`, which open_clip's main branch demands, has no key that 3.3.0 does not
    know, and loads in both; `OPEN_CLIP_MAIN` names the `src` of a checkout of the former."""
    problems = []
    config = dict(MODEL, text_cfg=dict(MODEL["text_cfg"], pool_type="eos", eos_id=49407, text_arch="clip", variable_text=False),
                  vision_cfg=dict(MODEL["vision_cfg"], image_seq_len=16))
    model = small()
    torch.save(model.state_dict(), place / "model.pt")
    out = exported(clipway, place, place / "model.pt", "--model", said(place, "model.json", config))
    text = json.loads((out / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    if text.get("eos_id") != 49407:
        problems.append(f"{name}: eos_id is {text.get('eos_id')}")
    load = ("import sys, open_clip, torch\n"
            "model, _, _ = open_clip.create_model_and_transforms('local-dir:' + sys.argv[1])\n"
            "print(open_clip.__version__, sum(value.double().sum().item() for value in model.state_dict().values()))\n")
    total = sum(value.double().sum().item() for value in model.state_dict().values())
    import sys
    for branch in filter(None, ("3.3.0", os.environ.get("OPEN_CLIP_MAIN"))):
        environment = dict(os.environ, PYTHONPATH="" if branch == "3.3.0" else branch)
        ran = subprocess.run([sys.executable, "-c", load, out], env=environment, capture_output=True, text=True)
        words = ran.stdout.split()
        print(f"{name}: {' '.join(words) or ran.stderr[-300:]}", flush=True)
        if ran.returncode or abs(float(words[-1]) - total) > 1e-6 * abs(total):
            problems.append(f"{name}, {branch}: {ran.stderr[-300:]}")
    return problems


KINDS = {
    "a distributed checkpoint": distributed,
    "Chinese-CLIP in its own names": chinese,
    "another BERT": bert,
    "vocab.txt": words,
    "prefixes": prefixed,
    "towers for transformers": towers_of_transformers,
    "eos_id": end_token,
}
