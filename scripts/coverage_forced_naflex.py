"""Image towers for one size that open_clip's main branch trained on images of any proportions (`--use-naflex`); `check_coverage.py`
runs them.

The judge is that branch with `force_naflex_vision`, in a process of its own: `OPEN_CLIP_MAIN` names the `src` of a checkout. Where it
is absent, this kind is skipped. An export is a plain model, which open_clip 3.3.0 loads.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

TEXTS = ["a photo of a cat", "The red BIRD is blue.", "the dog's ball, twice!", "a", "cat " * 40]
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


def timm(name, pool, proj="linear", **changes):
    return {"image_size": 32, "timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool, "timm_proj": proj,
            "timm_model_kwargs": SMALL | changes}


def cases():
    """Config by name."""
    base = {"embed_dim": 48, "text_cfg": TEXT}
    return {
        "open_clip's own": base | {"vision_cfg": VISION},
        "QuickGELU, layer scales": base | {"quick_gelu": True, "vision_cfg": VISION | {"ls_init_value": 0.1}},
        "text tower apart": base | {"custom_text": True, "vision_cfg": VISION},
        "SigLIP of timm": base | {"custom_text": True, "vision_cfg": timm("vit_base_patch16_siglip_224", "map", "none")},
        "CLIP of timm": base | {"custom_text": True, "vision_cfg": timm("vit_base_patch16_clip_224", "token")},
        "registers": base | {"custom_text": True, "vision_cfg": timm("vit_betwixt_patch16_reg4_gap_256", "avg")},
    }


def forced(clipway, name, place, paths, real=False):
    """Each case: clipway's features of the checkpoint and of its export, and those of open_clip 3.3.0 that loads the export."""
    import open_clip
    import torch
    from coverage_open_clip import compared, embedded, exported, of_open_clip
    from PIL import Image
    from safetensors.torch import load_file
    if not os.environ.get("OPEN_CLIP_MAIN"):
        print(f"skipped: {name}, since OPEN_CLIP_MAIN names no checkout of open_clip's main branch", flush=True)
        return []
    problems = []
    for case in ["ViT-B-32", "ViT-B-16-SigLIP", "EVA02-B-16"] if real else cases():
        here = place / case.replace(" ", "-").replace(",", "").replace("'", "")
        (here / "configs").mkdir(parents=True)
        config = "made"
        given = ("--model", here / "configs" / "made.json")
        if real:
            config, given = case, ("--model", case)
            if case == "ViT-B-16-SigLIP":
                import check_coverage
                (here / "files").mkdir()
                check_coverage.byte_pairs(here / "files", 3)
                given += ("--tokenizer", here / "files")
        else:
            (here / "configs" / "made.json").write_text(json.dumps(cases()[case]))
        environment = dict(os.environ, PYTHONPATH=os.environ["OPEN_CLIP_MAIN"])
        arguments = [here, config, json.dumps([str(path) for path in paths])]
        subprocess.run([sys.executable, __file__, *arguments], env=environment, cwd=here, check=True)
        wanted, source = load_file(here / "made.safetensors"), here / "model.pt"
        problems += compared(f"{name}, {case}", wanted, embedded(clipway, here, source, paths, *given))
        out = exported(clipway, here, source, *given)
        problems += compared(f"{name}, {case}, its export", wanted, embedded(clipway, here, out, paths))
        if "timm_model_kwargs" not in (out / "open_clip_config.json").read_text():
            model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{out}")
            with torch.no_grad():
                found = {"image_features": model.eval().encode_image(torch.stack([transform(Image.open(path)) for path in paths]))}
            problems += compared(f"{name}, {case}, its export in open_clip", {"image_features": wanted["image_features"]}, found)
        source.unlink()
    return problems


def judge(place, config, paths):
    """In a process with the main branch: makes the model, saves it as the trainer does, and saves features."""
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    place = Path(place)
    is_real = config != "made"
    if not is_real:
        open_clip.add_model_config(place / "configs")
    torch.manual_seed(5)
    model = open_clip.create_model(config, force_naflex_vision=True).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not key.startswith("logit_"):
                parameter.normal_(float(is_real and parameter.dim() == 1 and key.endswith("weight")), 0.03 if is_real else 0.2)
    torch.save({"epoch": 1, "name": "run", "state_dict": {"module." + key: value for key, value in model.state_dict().items()}}, place / "model.pt")
    if (place / "files").is_dir():
        tokenizer = open_clip.tokenizer.HFTokenizer(str(place / "files"), context_length=64, clean="canonicalize")
    else:
        tokenizer = open_clip.get_tokenizer(config)
    preprocess = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"} if "SigLIP" in config else {}
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=model.visual.image_size, **preprocess), is_train=False)
    with torch.no_grad():
        made = {"image_features": model.encode_image(torch.stack([transform(Image.open(path)) for path in json.loads(paths)])),
                "text_features": model.encode_text(tokenizer(TEXTS))}
    save_file(made, place / "made.safetensors")


KINDS = {"forced NaFlex": forced}

if __name__ == "__main__":
    judge(*sys.argv[1:])
