"""CLIP models in the names and folders of fine-tuning code; `check_coverage.py` runs them.

Each function takes the program, a name and an empty folder, makes a source there with weights by chance, compares what clipway
makes of it, and returns what is wrong. Models are small, or of the size of ViT-B/32.
"""
import importlib.util
import json

import numpy
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

import check_coverage
from coverage_open_clip import MODEL, TEXTS, clip_words, compared, drawn, embedded, exported, of_open_clip, said, transform

LONG = 248
KEPT = 20


def both(clipway, name, place, source, paths, wanted, config):
    """What differs in the features of the source and of its export."""
    given = ("--model", said(place, "model.json", config))
    problems = compared(name, wanted, embedded(clipway, place, source, paths, *given))
    out = exported(clipway, place, source, *given)
    return problems + compared(f"{name}, its export", wanted, embedded(clipway, place, out, paths))


def polar(clipway, name, place, paths):
    """Geometric parametrization: matrices of the MLPs as a length for each output and a direction."""
    torch.manual_seed(12)
    model = drawn(open_clip.model.CLIP(**MODEL))
    state = {}
    for key, value in model.state_dict().items():
        if key.endswith(("mlp.c_fc.weight", "mlp.c_proj.weight")):
            length = value.norm(dim=1, keepdim=True)
            # A direction of any length.
            state[key.replace("weight", "theta")] = value / length * torch.rand_like(length).add(0.5)
            state[key.replace("weight", "r")] = length
        else:
            state[key] = value
    torch.save(state, place / "polar.pt")
    return both(clipway, name, place, place / "polar.pt", paths, of_open_clip(model, clip_words(), transform(), paths), MODEL)


def long_clip(clipway, name, place, paths):
    """Long-CLIP's two tables: the first 20 positions of one, and the others of the second."""
    torch.manual_seed(13)
    config = dict(MODEL, text_cfg=dict(MODEL["text_cfg"], context_length=LONG))
    model = drawn(open_clip.model.CLIP(**config))
    state = dict(model.state_dict())
    whole = state["positional_embedding"]
    first, second = torch.randn_like(whole), torch.randn_like(whole)
    first[:KEPT], second[KEPT:] = whole[:KEPT], whole[KEPT:]
    state |= {"positional_embedding": first, "positional_embedding_res": second}
    torch.save(state, place / "long.pt")
    return both(clipway, name, place, place / "long.pt", paths, of_open_clip(model, open_clip.SimpleTokenizer(context_length=LONG), transform(), paths), config)


def sentence_transformers(clipway, name, place, paths):
    """A folder of sentence-transformers around a CLIPModel, by that package."""
    if not importlib.util.find_spec("sentence_transformers"):
        print(f"skipped: {name}, since sentence-transformers is not installed", flush=True)
        return []
    from sentence_transformers import SentenceTransformer
    torch.manual_seed(14)
    (place / "inner").mkdir()
    model, tokenizer, _ = check_coverage.clip(place / "inner")
    check_coverage.drawn(model).save_pretrained(place / "inner")
    check_coverage.clip_processor().save_pretrained(place / "inner")
    (place / "inner" / "modules.json").write_text(json.dumps(
        [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]))
    (place / "inner" / "0_CLIPModel").mkdir()
    for path in list((place / "inner").iterdir()):
        if path.is_file() and path.name != "modules.json":
            path.rename(place / "inner" / "0_CLIPModel" / path.name)
    theirs = SentenceTransformer(str(place / "inner"), device="cpu")
    theirs.save(str(place / "source"))
    wanted = {"image_features": torch.tensor(theirs.encode([Image.open(path) for path in paths])),
              "text_features": torch.tensor(theirs.encode(TEXTS))}
    return compared(name, wanted, embedded(clipway, place, place / "source", paths))


def mlx(clipway, name, place, paths):
    """A CLIPModel as MLX stores it: its convolution has the channels last, in safetensors and in arrays."""
    torch.manual_seed(15)
    source = place / "source"
    source.mkdir()
    model, tokenizer, _ = check_coverage.clip(source)
    check_coverage.drawn(model).save_pretrained(source)
    processor = check_coverage.clip_processor()
    processor.save_pretrained(source)
    wanted = check_coverage.expected(model, tokenizer, "both", processor, paths)
    state = {key: value.permute(0, 2, 3, 1).contiguous() if "patch_embedding" in key else value for key, value in model.state_dict().items()}
    save_file(state, source / "model.safetensors", metadata={"format": "mlx"})
    problems = compared(name, wanted, embedded(clipway, place, source, paths, texts=check_coverage.TEXTS))
    (source / "model.safetensors").unlink()
    numpy.savez(source / "weights.npz", **{key: value.numpy() for key, value in state.items()})
    return problems + compared(f"{name}, arrays", wanted, embedded(clipway, place, source, paths, texts=check_coverage.TEXTS))


KINDS = {"MLX": mlx, "GmP": polar, "Long-CLIP": long_clip, "sentence-transformers": sentence_transformers}
