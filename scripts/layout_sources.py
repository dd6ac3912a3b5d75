"""Sources in other projects' layouts, in our own sizes, with random weights: each function writes one and returns its
model.
"""
import json

import numpy
import open_clip
import torch
import transformers
from open_clip.convert import convert_mobile_clip_state_dict
from safetensors.torch import save_file
from torch import nn

from layout_oracle import taught

BLOCK = ["attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias", "ln_1.weight",
         "ln_1.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias", "ln_2.weight", "ln_2.bias"]

VOCABULARY, CONTEXT = 500, 20


def randomize(model, seed):
    """Sets weights that keep values near one, and running statistics like after training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("logit_scale"):
                tensor.fill_(2.5)
            elif not tensor.is_floating_point() or name.endswith("attn_mask"):
                continue
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() > 1 and tensor[0].numel() > 1:
                tensor.normal_(0, tensor[0].numel() ** -0.5)
            else:
                # Branches are summed, and would grow from block to block.
                is_branch = any(part in name for part in (".identity.", ".conv_kxk.", ".conv_scale.", "layer_scale"))
                scale = 0.4 if is_branch else 1.0
                tensor.normal_(scale if name.endswith(("weight", "gamma")) else 0.0, 0.1 * scale)
    return model.eval()


def clip(path, seed, activation, width, heads, text_width, text_heads, side, patch, end, vocabulary=VOCABULARY, begin=498):
    """Writes transformers' CLIPModel."""
    tower = dict(num_hidden_layers=2, hidden_act=activation)
    config = transformers.CLIPConfig(
        text_config=dict(hidden_size=text_width, intermediate_size=3 * text_width, num_attention_heads=text_heads,
                         vocab_size=vocabulary, max_position_embeddings=CONTEXT, eos_token_id=end, bos_token_id=begin, **tower),
        vision_config=dict(hidden_size=width, intermediate_size=2 * width, num_attention_heads=heads, image_size=side,
                           patch_size=patch, **tower),
        projection_dim=24)
    model = randomize(transformers.CLIPModel(config), seed)
    model.save_pretrained(path)
    return model


def siglip(path, seed, activation, width, heads, side, patch, layers=2, vocabulary=VOCABULARY, ratio=2, epsilon=1e-6):
    """Writes transformers' SiglipModel, which is also SigLIP 2 at a fixed resolution."""
    tower = dict(num_hidden_layers=layers, hidden_act=activation, hidden_size=width, num_attention_heads=heads)
    config = transformers.SiglipConfig(
        text_config=dict(intermediate_size=(ratio + 1) * width, vocab_size=vocabulary, max_position_embeddings=CONTEXT, **tower),
        vision_config=dict(intermediate_size=ratio * width, image_size=side, patch_size=patch, layer_norm_eps=epsilon, **tower))
    model = randomize(transformers.SiglipModel(config), seed)
    model.save_pretrained(path)
    return model


class Holder(nn.Module):
    """Modules that hold tensors under their names, for an archive whose code nobody reads."""

    def forward(self, x):
        return x


def archive(state, path):
    """Writes a TorchScript archive of a state dict."""
    root = Holder()
    for name, tensor in state.items():
        *modules, leaf = name.split(".")
        at = root
        for module in modules:
            if module not in at._modules:
                at.add_module(module, Holder())
            at = at._modules[module]
        if tensor.is_floating_point() and not leaf.startswith("running_"):
            at.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
        else:
            at.register_buffer(leaf, tensor)
    torch.jit.script(root).save(path)


def openai(path, seed, layers, width, text_width, half, vocabulary=VOCABULARY):
    """Writes OpenAI's names and order: a TorchScript archive if the file ends in `.pt`, otherwise a state dict."""
    config = {"embed_dim": 24, "quick_gelu": True,
              "vision_cfg": {"image_size": 64, "layers": layers, "width": width, "patch_size": 16, "head_width": 64},
              "text_cfg": {"context_length": CONTEXT, "vocab_size": vocabulary, "width": text_width, "heads": text_width // 64,
                           "layers": 2}}
    if isinstance(layers, list):
        config["vision_cfg"].pop("patch_size")
    model = randomize(open_clip.CLIP(**config), seed)
    own = {name: tensor for name, tensor in model.state_dict().items() if name != "attn_mask"}
    if half:
        own = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in own.items()}
        model.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in own.items()})

    def place(name):
        before, _, rest = name.partition("resblocks.")
        leaf = next((index for index, leaf in enumerate(BLOCK) if name.endswith(leaf)), -1)
        return before, rest.split(".")[0], leaf

    state = {name: own[name] for name in sorted(own, key=place)}
    state.update(input_resolution=torch.tensor(64), context_length=torch.tensor(CONTEXT), vocab_size=torch.tensor(vocabulary))
    if path.suffix == ".pt":
        archive(state, path)
    else:
        torch.save(state, path)
    return model


def write_big_vision(path, model, stacked=False):
    """Writes a SiglipModel, or a Siglip2Model, with big_vision's names and axes."""
    state, out = {name: tensor.numpy() for name, tensor in model.state_dict().items()}, {}

    def attention(target, source, config, fused=None):
        heads = config.num_attention_heads
        width = state[source + "out_proj.weight"].shape[0]
        for index, (theirs, ours) in enumerate((("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"))):
            weight = state[fused + "weight"][index * width:(index + 1) * width] if fused else state[f"{source}{theirs}.weight"]
            bias = state[fused + "bias"][index * width:(index + 1) * width] if fused else state[f"{source}{theirs}.bias"]
            out[f"{target}{ours}/kernel"] = weight.T.reshape(width, heads, -1)
            out[f"{target}{ours}/bias"] = bias.reshape(heads, -1)
        out[f"{target}out/kernel"] = state[source + "out_proj.weight"].T.reshape(heads, -1, width)
        out[f"{target}out/bias"] = state[source + "out_proj.bias"]

    def norm(target, source):
        out[target + "scale"], out[target + "bias"] = state[source + "weight"], state[source + "bias"]

    def linear(target, source):
        out[target + "kernel"], out[target + "bias"] = state[source + "weight"].T, state[source + "bias"]

    for tower, prefix in (("vision_model", "params/img/Transformer/"), ("text_model", "params/txt/Encoder_0/")):
        for index in range(len(getattr(model, tower).encoder.layers)):
            block, source = f"{prefix}encoderblock_{index}/", f"{tower}.encoder.layers.{index}."
            attention(block + "MultiHeadDotProductAttention_0/", source + "self_attn.", getattr(model, tower).config)
            norm(block + "LayerNorm_0/", source + "layer_norm1.")
            norm(block + "LayerNorm_1/", source + "layer_norm2.")
            for number in (0, 1):
                linear(f"{block}MlpBlock_0/Dense_{number}/", f"{source}mlp.fc{number + 1}.")
        norm(prefix + "encoder_norm/", f"{tower}." + ("post_layernorm." if tower == "vision_model" else "final_layer_norm."))
    head = "params/img/MAPHead_0/"
    out[head + "probe"] = state["vision_model.head.probe"]
    attention(head + "MultiHeadDotProductAttention_0/", "vision_model.head.attention.", model.vision_model.config,
              "vision_model.head.attention.in_proj_")
    norm(head + "LayerNorm_0/", "vision_model.head.layernorm.")
    for number in (0, 1):
        linear(f"{head}MlpBlock_0/Dense_{number}/", f"vision_model.head.mlp.fc{number + 1}.")
    patches, positions = (state[f"vision_model.embeddings.{kind}_embedding.weight"] for kind in ("patch", "position"))
    out["params/img/embedding/kernel"] = patches.transpose(2, 3, 1, 0) if patches.ndim == 4 else patches.T
    out["params/img/embedding/bias"] = state["vision_model.embeddings.patch_embedding.bias"]
    side = int(len(positions) ** 0.5)
    out["params/img/pos_embedding"] = positions[None] if patches.ndim == 4 else positions.reshape(side, side, -1)
    out["params/txt/Embed_0/embedding"] = state["text_model.embeddings.token_embedding.weight"]
    out["params/txt/pos_embedding"] = state["text_model.embeddings.position_embedding.weight"][None]
    linear("params/txt/head/", "text_model.head.")
    out["params/t"], out["params/b"] = state["logit_scale"], state["logit_bias"]
    if stacked:
        for name in [name for name in out if "encoderblock_0/" in name]:
            both = [out.pop(name.replace("encoderblock_0", f"encoderblock_{index}")) for index in range(2)]
            out[name.replace("encoderblock_0", "encoderblock")] = numpy.stack(both)
    numpy.savez(path, **out)


def big_vision(path, seed, heads, stacked):
    """Writes a SiglipModel with big_vision's names and axes; stacked blocks share one array."""
    model = siglip(path.with_suffix(""), seed, "gelu", 64, heads, 48, 12)
    write_big_vision(path, model, stacked)
    # No array reveals the activation: clipway uses that of open_clip's SigLIP 2.
    for layer in model.text_model.encoder.layers:
        layer.mlp.activation_fn = nn.GELU(approximate="tanh")
    return model


# Apple's names for open_clip's in the text tower and in FastViT: the inverse of open_clip's and timm's replacements.
TEXT_WORDS = [("text_projection", "projection_layer"), ("token_embedding", "embedding_layer"), ("ln_final", "final_layer_norm"),
              ("transformer.resblocks.", "transformer."), (".ln_1.", ".pre_norm_mha.0."), (".attn.in_proj_", ".pre_norm_mha.1.qkv_proj."),
              (".attn.out_proj.", ".pre_norm_mha.1.out_proj."), (".ln_2.", ".pre_norm_ffn.0."), (".mlp.c_fc.", ".pre_norm_ffn.1."),
              (".mlp.c_proj.", ".pre_norm_ffn.4.")]
IMAGE_WORDS = [("se.fc1", "se.reduce"), ("se.fc2", "se.expand"), ("stem", "patch_embed"), ("conv_kxk", "rbr_conv"),
               ("conv_scale", "rbr_scale"), ("identity", "rbr_skip"), ("final_conv", "conv_exp"), ("large_conv", "lkb_origin"),
               (".mlp.", ".convffn."), (".gamma", "")]


def replaced(name, words):
    for ours, theirs in words:
        name = name.replace(ours, theirs)
    return name


def apple_names(state):
    """Renames the tensors of open_clip's FastViT MobileCLIP to Apple's names, with the stages in one list."""
    places = {}
    for name in state:
        if name.startswith("visual.trunk.stages."):
            stage, part = name.split(".")[3:5]
            key = (int(stage), ("downsample", "pos_emb", "blocks").index(part))
            key += (int(name.split(".")[5]),) if part == "blocks" else (0,)
            places[key] = None
    # All blocks of a stage are one entry.
    numbers = {key: number for number, key in enumerate(sorted({key[:2] for key in places}))}
    out = {}
    for name, tensor in state.items():
        if name.startswith("text."):
            theirs = replaced(name.removeprefix("text."), TEXT_WORDS)
            if theirs == "positional_embedding":
                theirs, tensor = "positional_embedding.pos_embed.pos_embed", tensor[None, None]
            out[f"text_encoder.{theirs}"] = tensor
        elif name.startswith("visual.trunk."):
            rest = name.removeprefix("visual.trunk.")
            if rest == "head.fc.bias":
                continue
            if rest == "head.fc.weight":
                rest, tensor = "head.proj", tensor.T
            elif rest.startswith("stages."):
                _, stage, part, *leaf = rest.split(".")
                number = numbers[int(stage), ("downsample", "pos_emb", "blocks").index(part)]
                leaf = ".".join(leaf)
                leaf = {"downsample": leaf, "pos_emb": leaf.replace("pos_enc.", "pe."), "blocks": leaf}[part]
                rest = f"network.{number}.{replaced('.' + leaf, IMAGE_WORDS)[1:]}"
            else:
                rest = replaced(rest, IMAGE_WORDS)
            out[f"image_encoder.model.{rest}"] = tensor
        else:
            out[name] = tensor
    return {name: tensor.contiguous() for name, tensor in out.items()}


def apple_fastvit(path, seed, name):
    """Writes Apple's mobileclip_s1 or s2 from an open_clip model; open_clip's own conversion gives the same weights."""
    model = randomize(open_clip.create_model(name), seed)
    torch.nn.init.zeros_(model.visual.trunk.head.fc.bias)
    state = apple_names(model.state_dict())
    back, own = convert_mobile_clip_state_dict(model, state), model.state_dict()
    assert back.keys() == own.keys() and all(torch.equal(back[key], own[key]) for key in own), "names that open_clip does not know"
    torch.save(state, path)
    return model


def apple_listed(path, listed, weights, config):
    """Writes Apple's mobileclip_b, blt or s0 with its code's names and shapes; the model is open_clip's of `config`."""
    state = {name: weights(name, tuple(shape)) if dtype == "float32" else torch.zeros(shape, dtype=torch.int64)
             for name, dtype, shape in listed}
    torch.save(state, path)
    if config is None:
        return None
    config = json.loads(json.dumps(config))
    config.pop("custom_text")
    with taught():
        model = open_clip.CustomTextCLIP(**config)
    model.load_state_dict(convert_mobile_clip_state_dict(model, state, fastvit=False))
    return model.eval()


def open_clip_odd(path, seed, oddity):
    """Writes a small open_clip CLIP with one oddity, and its config next to it as `CONFIG.json`."""
    config = {"embed_dim": 24, "quick_gelu": oddity == "QuickGELU",
              "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
              "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 48, "heads": 4, "layers": 2}}
    model = randomize(open_clip.CLIP(**config), seed)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "attn_mask"}
    if oddity == "text. names":
        text = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
        state = {f"text.{name}" if name.startswith(text) else name: tensor for name, tensor in state.items()}
    elif oddity == "position_ids":
        state["visual.position_ids"] = torch.arange(10)[None]
        state["transformer.position_ids"] = torch.arange(CONTEXT)[None]
    elif oddity == "1-d logit_scale":
        state["logit_scale"] = state["logit_scale"][None]
    elif oddity == "linear patches":
        state["visual.conv1.weight"] = state["visual.conv1.weight"].flatten(1)
    elif oddity == "split qkv":
        for name in [name for name in state if ".in_proj_" in name]:
            stem, kind = name.split("in_proj_")
            for part, third in zip("qkv", state.pop(name).chunk(3)):
                state[f"{stem}{part}_proj.{kind}"] = third.contiguous()
    elif oddity == "attn_mask":
        state["attn_mask"] = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    path.with_suffix(".json").write_text(json.dumps(config))
    return model


def open_clip_bare(path, seed, name):
    """Writes a registered open_clip model as bare weights."""
    model = randomize(open_clip.create_model(name), seed)
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, path)
    return model
