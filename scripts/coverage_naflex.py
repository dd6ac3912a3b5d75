"""Image towers for any aspect ratio (NaFlex), at one fixed size and with the proportions of each image; `check_coverage.py` runs them.

Each function takes the program, a name and an empty folder, makes a source there with weights by chance, compares what clipway
makes of it, and returns what is wrong. Models are small, or of real size.
"""
import functools
import json
import math
import subprocess

import numpy
import open_clip
import timm
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import naflex_transforms
from torchvision.transforms.functional import to_tensor

import check_coverage
import layout_sources
from coverage_open_clip import compared, drawn, embedded, exported, of_open_clip, said

create_model = timm.create_model
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
SIGLIP = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
SMALL = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 2.5, "pos_embed_grid_size": [4, 4]}
SIZES = {"base": (768, 12, 12, 3072), "so400m": (1152, 27, 16, 4304)}


def built(config):
    """The model of a config as open_clip builds it; 3.3.0 does not hand `timm_model_kwargs` to timm, later versions do."""
    config = json.loads(json.dumps(config))
    changes = config["vision_cfg"].pop("timm_model_kwargs", {})
    config["vision_cfg"].pop("image_seq_len", None)
    config.pop("custom_text", None)
    timm.create_model = functools.partial(create_model, **changes)
    try:
        return open_clip.model.CustomTextCLIP(**config).eval()
    finally:
        timm.create_model = create_model


def siglip_config(name, real):
    """open_clip's config of a SigLIP 2 for any aspect ratio, or of a small one."""
    width, layers, heads, hidden = SIZES[name] if real else (48, 2, 2, 96)
    vision = {"image_size": 384 if real else 32, "image_seq_len": 576 if real else 16, "timm_model_name": f"naflexvit_{name}_patch16_siglip",
              "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
    if not real:
        vision["timm_model_kwargs"] = SMALL
    # The whole text tower of so400m would take more memory than the image tower that is looked at; base's is whole.
    rows, depth = (256000, layers) if name == "base" else (32000, 2)
    text = {"context_length": 64 if real else 16, "vocab_size": rows if real else 300, "width": width, "heads": heads, "layers": depth,
            "mlp_ratio": 3.7362 if name == "so400m" and real else 4.0, "hf_tokenizer_name": "own", "no_causal_mask": True, "proj_bias": True,
            "tokenizer_kwargs": {"clean": "canonicalize"}, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"}}
    return {"embed_dim": width, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}


def folder_of(place, model, config, preprocess):
    """A folder as open_clip pushes it, with a tokenizer of its own."""
    place.mkdir()
    check_coverage.byte_pairs(place, 3)
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, place / "open_clip_model.safetensors")


def of_folder(place, model, config, preprocess, size, paths):
    """open_clip's features of the images at one size and of the texts."""
    tokenizer = open_clip.tokenizer.HFTokenizer(str(place), context_length=config["text_cfg"].get("context_length", 77),
                                                **config["text_cfg"].get("tokenizer_kwargs", {}))
    transform = image_transform_v2(PreprocessCfg(size=size, **preprocess), is_train=False)
    return of_open_clip(model, lambda _: tokenizer(check_coverage.coverage_open_clip.TEXTS), transform, paths)


def in_open_clip(name, source, wanted, paths, size):
    """What differs where open_clip loads a folder and reads the files of images."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{source}", force_image_size=size)
    with torch.no_grad():
        found = {"image_features": model.eval().encode_image(torch.stack([transform(Image.open(path)) for path in paths]))}
    return compared(name, {"image_features": wanted["image_features"]}, found)


def siglip(clipway, name, place, paths, real=False, of="base"):
    """A folder of open_clip, at its size and at two others."""
    torch.manual_seed(5)
    config = siglip_config(of, real)
    model = drawn(built(config))
    source = place / "source"
    folder_of(source, model, config, SIGLIP)
    own = config["vision_cfg"]["image_size"]
    problems = []
    for size in [own] if real else [own, 48, 24]:
        options = ["--image-size", str(size)] if size != own else []
        wanted = of_folder(source, model, config, SIGLIP, size, paths)
        if size == own:
            problems += compared(f"{name}, {own} pixels", wanted, embedded(clipway, place, source, paths))
        out = exported(clipway, place, source, *options)
        problems += compared(f"{name}, {size} pixels, its export", wanted, embedded(clipway, place, out, paths))
        if real:
            problems += in_open_clip(f"{name}, {size} pixels, its export in open_clip", out, wanted, paths, size)
        out = exported(clipway, place, source, *options, "--to", "transformers")
        loaded, report = transformers.SiglipModel.from_pretrained(out, output_loading_info=True)
        problems += [f"{name}: {key}: {sorted(report[key])[:3]}" for key in ("missing_keys", "unexpected_keys") if report[key]]
        transform = image_transform_v2(PreprocessCfg(size=size, **SIGLIP), is_train=False)
        with torch.no_grad():
            pixels = torch.stack([transform(Image.open(path)) for path in paths])
            found = {"image_features": check_coverage.vector(loaded.eval().get_image_features(pixel_values=pixels))}
        what = f"{name}, {size} pixels, as SiglipModel"
        problems += compared(what, {"image_features": wanted["image_features"]}, found)
    return problems


def vit(clipway, name, place, paths, real=False):
    """`naflex_ViT-B-16` and `-B-32` of open_clip's main branch, and small towers with a class token and other pools."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    small = dict(text, width=32, heads=2, layers=2)
    cases = {"gap": ("base_patch16_gap", "avg", {}), "token": ("base_patch16_gap", "token", {"class_token": True, "reg_tokens": 2}),
             "map": ("base_patch16_map", "map", {}), "so150m2": ("so150m2_patch16_reg1_map", "map", {"attn_pool_mlp_ratio": 3.0}),
             "par": ("base_patch16_par_gap", "avg", {}), "parfac": ("base_patch16_parfac_gap", "avg", {}),
             "factorized": ("base_patch16_map", "map", {"pos_embed": "factorized", "pos_embed_grid_size": [3, 5]}),
             "no positions": ("base_patch16_gap", "avg", {"pos_embed": "none"})}
    if real:
        cases = {"par": ("base_patch16_par_gap", "avg", None), "parfac": ("base_patch16_parfac_gap", "avg", None),
                 "B-16": ("base_patch16_gap", "avg", None), "B-32": ("base_patch16_gap", "avg", {"patch_size": 32, "pos_embed_grid_size": [7, 7]})}
    problems = []
    for case, (trunk, pool, changes) in cases.items():
        torch.manual_seed(6)
        vision = {"image_size": 224 if real else 40, "timm_model_name": f"naflexvit_{trunk}", "timm_model_pretrained": False, "timm_pool": pool}
        if changes is not None:
            vision["timm_model_kwargs"] = changes if real else SMALL | changes
        config = {"embed_dim": 512 if real else 40, "custom_text": True, "vision_cfg": vision, "text_cfg": text if real else small}
        model = drawn(built(config))
        source = place / f"{case}.pt"
        torch.save(model.state_dict(), source)
        path = said(place, f"{case}.json", config)
        size = vision["image_size"]
        wanted = of_open_clip(model, open_clip.SimpleTokenizer(context_length=77), open_clip.image_transform(size, is_train=False), paths)
        problems += compared(f"{name}, {case}", wanted, embedded(clipway, place, source, paths, "--model", path))
        out = exported(clipway, place, source, "--model", path)
        problems += compared(f"{name}, {case}, its export", wanted, embedded(clipway, place, out, paths))
        if changes is None:
            problems += in_open_clip(f"{name}, {case}, its export in open_clip", out, wanted, paths, size)
    return problems


def siglip2(place, real, of="base"):
    """transformers' model, with a tokenizer and a processor."""
    sizes = dict(zip(("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), SIZES[of]))
    vision = dict(sizes, patch_size=16, num_patches=256)
    text = dict(sizes, max_position_embeddings=64, vocab_size=256000)
    if not real:
        vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, patch_size=8, num_patches=16)
        text = dict(check_coverage.TEXT, max_position_embeddings=16)
    text |= dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, projection_size=vision["hidden_size"])
    torch.manual_seed(7)
    model = drawn(transformers.Siglip2Model(transformers.Siglip2Config(vision_config=vision, text_config=text)))
    place.mkdir()
    model.save_pretrained(place)
    tokenizer = check_coverage.byte_pairs(place, 2)
    processor = functools.partial(transformers.Siglip2ImageProcessor, patch_size=vision["patch_size"])
    processor(max_num_patches=vision["num_patches"]).save_pretrained(place)
    return model, tokenizer, processor


def of_transformers(clipway, name, place, paths, real=False, of="base"):
    """`Siglip2Model` at the size of its position table and at others, on square images."""
    model, tokenizer, processor = siglip2(place / "source", real, of)
    paths = check_coverage.images(place, True)
    patch, own = model.config.vision_config.patch_size, model.config.vision_config.num_patches
    of_source, of_exports = None, {}
    for side in (16, 24) if real else (4, 7, 3):
        wanted = check_coverage.expected(model, tokenizer, "both", processor(max_num_patches=side * side), paths)
        if side * side == own:
            of_source = wanted
        # An export's images are prepared as open_clip does; so prepared, transformers' model gets them as patches.
        out = exported(clipway, place, place / "source", *([] if side * side == own else ["--image-size", str(side * patch)]))
        preprocess = json.loads((out / "open_clip_config.json").read_text())["preprocess_cfg"]
        transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        cut = pixels.unflatten(3, (side, patch)).unflatten(2, (side, patch)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.full((len(paths), 2), side)
        with torch.no_grad():
            mask = torch.ones(len(paths), side * side, dtype=torch.long)
            found = model.get_image_features(pixel_values=cut, pixel_attention_mask=mask, spatial_shapes=shapes)
        of_exports[side * patch] = (out.rename(place / f"out-{side}"), {"image_features": check_coverage.vector(found)})
    # A large one leaves its memory to clipway.
    del model
    features = place / "features.safetensors"
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in check_coverage.TEXTS), encoding="utf8")
    given = [*paths, "--texts-file", place / "texts.txt"]
    subprocess.run([clipway, "embed", place / "source", *given, "--out", features, "--quiet"], check=True)
    problems = compared(f"{name}, {math.isqrt(own) * patch} pixels", of_source, load_file(features))
    for size, (out, wanted) in of_exports.items():
        problems += compared(f"{name}, {size} pixels, its export", wanted, embedded(clipway, place, out, paths))
    return problems


def big_vision(clipway, name, place, paths, real=False, of="base"):
    """big_vision's arrays: timm's loader of them for images, transformers' model for texts."""
    model, tokenizer, processor = siglip2(place / "source", real, of)
    patch, own = model.config.vision_config.patch_size, model.config.vision_config.num_patches
    texts = check_coverage.coverage_open_clip.TEXTS
    cleaned = [open_clip.tokenizer.get_clean_fn("canonicalize")(text) for text in texts]
    tokens = tokenizer(cleaned, truncation=True, padding="max_length", max_length=model.config.text_config.max_position_embeddings, return_tensors="pt")
    with torch.no_grad():
        of_texts = check_coverage.vector(model.get_text_features(input_ids=tokens["input_ids"]))
    arrays = place / "a.npz"
    layout_sources.write_big_vision(arrays, model)
    # A large one leaves its memory to clipway.
    del model
    changes = {} if real else dict(patch_size=8, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2.0, pos_embed_grid_size=(4, 4))
    trunk = create_model(f"naflexvit_{of}_patch16_siglip", num_classes=0, **changes)
    timm.models.vision_transformer._load_weights(trunk, str(arrays), "params/img/")
    problems = []
    for side in (16, 24) if real else (4, 7, 3):
        size = side * patch
        transform = image_transform_v2(PreprocessCfg(size=size, **SIGLIP), is_train=False)
        with torch.no_grad():
            wanted = {"image_features": trunk.eval()(torch.stack([transform(Image.open(path)) for path in paths])), "text_features": of_texts}
        options = ["--image-size", str(size)] if side * side != own else []
        out = exported(clipway, place, arrays, "--tokenizer", place / "source", *options)
        problems += compared(f"{name}, {size} pixels, its export", wanted, embedded(clipway, place, out, paths))
    return problems


def drawn_images(place, count):
    """Images of sizes and modes by chance, some very wide or high."""
    draw = numpy.random.default_rng(11)
    paths = []
    for number in range(count):
        width, height = (int(2 ** draw.uniform(0, 9)) for _ in range(2))
        planes = draw.normal(128, 60, (height // 7 + 1, width // 7 + 1, 4)).clip(0, 255).astype("uint8")
        image = Image.fromarray(planes).resize((width, height), Image.Resampling.BICUBIC)
        paths.append(place / f"drawn-{number}.png")
        image.convert(("RGB", "L", "RGBA", "RGB")[number % 4]).save(paths[-1])
    return paths


def native(clipway, name, what, place, source, paths, wanted, most, *options, is_asked=True):
    """The features of a source whose images keep their proportions, and of its export to clipway's own folder. The number of patches
    is asked for, or the source's processor states it."""
    problems = []
    wanted = {"image_features": wanted}
    limited = ["--max-patches", str(most), *options] if is_asked else options
    said = f"{most} patches" if is_asked else f"{most} patches by its processor"
    problems += compared(f"{name}, {what}, {len(paths)} images, {said}", wanted, images_of(clipway, place, source, paths, *limited))
    out = exported(clipway, place, source, "--to", "clipway", *limited)
    return problems + compared(f"{name}, {what}, its export", wanted, images_of(clipway, place, out, paths))


def images_of(clipway, place, source, paths, *options):
    features = place / "images.safetensors"
    subprocess.run([clipway, "embed", source, *paths, *options, "--out", features, "--force", "--quiet"], check=True)
    return load_file(features)


def native_siglip2(clipway, name, place, paths, real=False):
    """`Siglip2Model` and its processor, on images of any size."""
    model, _, processor = siglip2(place / "source", real)
    paths = drawn_images(place, 40 if real else 200)
    problems = []
    for most in (256,) if real else (16, 5, 40):
        found = []
        for path in paths:
            # The processor takes only RGB.
            pixels = processor(max_num_patches=most)(images=[Image.open(path).convert("RGB")], return_tensors="pt")
            with torch.no_grad():
                found.append(check_coverage.vector(model.get_image_features(**pixels)))
        problems += native(clipway, name, "Siglip2Model", place, place / "source", paths, torch.cat(found), most)
        processor(max_num_patches=most).save_pretrained(place / "source")
        problems += native(clipway, name, "Siglip2Model", place, place / "source", paths, torch.cat(found), most, is_asked=False)
        processor(max_num_patches=model.config.vision_config.num_patches).save_pretrained(place / "source")
    return problems


def native_timm(clipway, name, place, paths, real=False):
    """timm's towers behind open_clip's heads, with timm's transform, on images of any size."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    cases = {"siglip": ("base_patch16_siglip", "map", "none", {}), "gap": ("base_patch16_gap", "avg", "linear", {}),
             "token": ("base_patch16_gap", "token", "linear", {"class_token": True, "reg_tokens": 2}),
             "so150m2": ("so150m2_patch16_reg1_map", "map", "linear", {"attn_pool_mlp_ratio": 3.0}),
             "par": ("base_patch16_par_gap", "avg", "linear", {}), "parfac": ("base_patch16_parfac_gap", "avg", "linear", {}),
             "par, another table": ("base_patch16_gap", "avg", "linear", {"pos_embed_ar_preserving": True, "pos_embed_grid_size": [6, 3]}),
             "factorized": ("base_patch16_map", "map", "linear", {"pos_embed": "factorized"})}
    paths = drawn_images(place, 40 if real else 200)
    problems = []
    for case, (trunk, pool, proj, changes) in list(cases.items())[:1 if real else None]:
        torch.manual_seed(8)
        vision = {"image_size": 256 if real else 32, "timm_model_name": f"naflexvit_{trunk}", "timm_model_pretrained": False, "timm_pool": pool,
                  "timm_proj": proj}
        if not real:
            vision["timm_model_kwargs"] = SMALL | changes
        width = 768 if real else SMALL["embed_dim"]
        config = {"embed_dim": width, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
        model = drawn(built(config))
        source = place / f"{case}.pt"
        torch.save(model.state_dict(), source)
        patch = 16 if real else SMALL["patch_size"]
        most = 256 if real else 20
        for interpolation in ("bicubic", "bilinear"):
            resize = naflex_transforms.ResizeToSequence(patch, most, interpolation=interpolation)
            cut = naflex_transforms.Patchify(patch)
            found = []
            for path in paths:
                pixels = to_tensor(resize(Image.open(path).convert("RGB")))
                given = cut((pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])
                with torch.no_grad():
                    found.append(model.visual.head(model.visual.trunk({key: value[None] for key, value in given.items()})))
            options = ["--model", said(place, f"{case}.json", config), "--interpolation", interpolation]
            problems += native(clipway, name, f"{case}, {interpolation}", place, source, paths, torch.cat(found), most, *options)
    return problems


# Differ from a small model of another kind in sizes alone.
REAL_ONLY = ("NaFlex, Siglip2Model so400m", "NaFlex, big_vision so400m")
KINDS = {
    "NaFlex, proportions kept, Siglip2Model": native_siglip2,
    "NaFlex, proportions kept, timm": native_timm,
    "NaFlex, SigLIP 2 base of open_clip": siglip,
    "NaFlex, SigLIP 2 so400m of open_clip": functools.partial(siglip, of="so400m"),
    "NaFlex, ViT of open_clip": vit,
    "NaFlex, Siglip2Model": of_transformers,
    "NaFlex, Siglip2Model so400m": functools.partial(of_transformers, of="so400m"),
    "NaFlex, big_vision": big_vision,
    "NaFlex, big_vision so400m": functools.partial(big_vision, of="so400m"),
}
