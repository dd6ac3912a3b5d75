"""ModernBERT as open_clip's text tower; `check_coverage.py` runs it.

The judge is transformers' ModernBertModel in open_clip 3.3.0's `HFTextEncoder`, which is told how the main branch pools it, and the
main branch itself where `OPEN_CLIP_MAIN` names the `src` of a checkout.
"""
import json
import os
import subprocess
import sys

import open_clip
import torch
import transformers

import check_coverage
from coverage_open_clip import MODEL, compared, drawn, embedded, exported, of_open_clip, said
from make_architecture_goldens import know_modern_bert

SIZES = {"vocab_size": 300, "hidden_size": 48, "num_hidden_layers": 5, "num_attention_heads": 3, "intermediate_size": 80, "local_attention": 10}
REAL = {"vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152}
TEXTS = ["a photo of a cat", "The red BIRD is blue.", "the dog's ball, twice!", "a", "the cat and a dog " * 60]
LOAD = """
import sys, json, torch, open_clip, safetensors.torch
model = open_clip.create_model("local-dir:" + sys.argv[1]).eval()
tokenizer = open_clip.get_tokenizer("local-dir:" + sys.argv[1])
with torch.no_grad():
    found = model.encode_text(tokenizer(json.loads(sys.argv[2])))
safetensors.torch.save_file({"text_features": found}, "main.safetensors")
"""


def modern_bert(clipway, name, place, paths, real=False):
    """Each pooler and projection, with texts longer than the window of the layers that see near tokens alone."""
    know_modern_bert()
    folder = place / "modern"
    folder.mkdir()
    check_coverage.byte_pairs(folder, 3)
    special = dict(pad_token_id=1, bos_token_id=0, eos_token_id=3, cls_token_id=0, sep_token_id=3)
    transformers.ModernBertConfig(**(REAL if real else SIZES), **special).save_pretrained(folder)
    length = 256 if real else 40
    problems = []
    cases = {"cls, linear": ("cls_pooler", "linear"), "mean, mlp": ("mean_pooler", "mlp"), "first, linear": ("cls_last_hidden_state_pooler", "linear")}
    for case, (pooler, projection) in list(cases.items())[:1 if real else None]:
        text = {"hf_model_name": "modern", "hf_tokenizer_name": "modern", "hf_proj_type": projection, "hf_pooler_type": pooler,
                "context_length": length, "hf_model_pretrained": False}
        config = dict(MODEL, text_cfg=text)
        if real:
            config |= {"embed_dim": 512, "vision_cfg": {"image_size": 256, "layers": 12, "width": 768, "patch_size": 32}}
        here = os.getcwd()
        os.chdir(place)
        torch.manual_seed(9)
        model = open_clip.model.CustomTextCLIP(**json.loads(json.dumps(config)))
        tokenizer = open_clip.tokenizer.HFTokenizer("modern", context_length=length)
        os.chdir(here)
        drawn(model)
        source = place / "model.pt"
        torch.save({"epoch": 1, "state_dict": model.state_dict()}, source)
        size = config["vision_cfg"]["image_size"]
        wanted = of_open_clip(model.eval(), lambda _: tokenizer(TEXTS), open_clip.image_transform(size, is_train=False), paths)
        # Keys of the main branch's config, none of which changes a feature.
        text |= {"variable_text": True, "pad_id": 1, "hf_model_config": {"max_position_embeddings": length}}
        given = ("--model", said(place, "model.json", config), "--tokenizer", folder)
        problems += compared(f"{name}, {case}", wanted, embedded(clipway, place, source, paths, *given, texts=TEXTS))
        out = exported(clipway, place, source, *given)
        problems += compared(f"{name}, {case}, its export", wanted, embedded(clipway, place, out, paths, texts=TEXTS))
        if os.environ.get("OPEN_CLIP_MAIN"):
            environment = dict(os.environ, PYTHONPATH=os.environ["OPEN_CLIP_MAIN"])
            subprocess.run([sys.executable, "-c", LOAD, out, json.dumps(TEXTS)], env=environment, cwd=place, check=True, capture_output=True)
            from safetensors.torch import load_file
            what = f"{name}, {case}, its export in open_clip's main branch"
            problems += compared(what, {"text_features": wanted["text_features"]}, load_file(place / "main.safetensors"))
    return problems


KINDS = {"ModernBERT": modern_bert}
