"""clipway: CLIP models, from any OpenCLIP checkpoint to features, without PyTorch.

>>> import clipway
>>> clipway.export("model.pt", "out/model", model="ViT-B-32")   # verified, or an error
>>> model = clipway.Model.load("out/model")
>>> images = model.encode_image(["cat.jpg", "dog.jpg"])         # float32 [2, dims], each of length 1
>>> texts = model.encode_text(["a cat", "a dog"])
>>> cosines = images @ texts.T

`clipway.open_clip` stands in for open_clip in scripts that run models. Errors are `ClipwayError`, with a stable `code` and
often a `hint`.
"""

from clipway._clipway import Index, Model, Tokenizer, __version__
from clipway._commands import export, inspect, load_options, verify
from clipway._errors import ClipwayError, ClipwayWarning

__all__ = [
    "ClipwayError",
    "ClipwayWarning",
    "Index",
    "Model",
    "Tokenizer",
    "__version__",
    "export",
    "inspect",
    "load_options",
    "verify",
]
