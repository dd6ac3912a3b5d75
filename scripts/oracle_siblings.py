"""transformers CLIPModel folders with tokenizers other than CLIP's: one of each kind and oddity, read by transformers.

`check_oracle.py CLIPWAY --siblings` compares them. Each has its own vocabulary, drawn from the sentences of
`oracle_sources.py`, and ends its texts with the token by which the model pools.
"""
import json

import tokenizers
import transformers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

import layout_sources
from layout_sources import CONTEXT
from oracle_sources import Source, image_processor, of_transformers, sentences

ROWS = 900


def folder_with(place, tokenizer, end=None, change=None, processor=None, **padding):
    """Writes a CLIPModel whose texts this tokenizer reads, saved by transformers; `change` edits the saved files."""
    folder = place / "ft"
    end = tokenizer.convert_tokens_to_ids(end or tokenizer.eos_token or tokenizer.sep_token)
    layout_sources.clip(folder, 21, "gelu", 64, 2, 48, 4, 48, 12, end, vocabulary=ROWS, begin=0)
    tokenizer.model_max_length = CONTEXT
    tokenizer.save_pretrained(folder)
    image_processor(folder, "CLIPImageProcessor", 48, "v4")
    if processor:
        edit(folder / "preprocessor_config.json", lambda keys: keys.update(processor))
    if change:
        change(folder)
    return Source(folder, of_transformers(folder, **padding), "transformers", targets=("open_clip", "transformers"))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def trained(model, trainer, pre_tokenizer=None, normalizer=None):
    tokenizer = tokenizers.Tokenizer(model)
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


def word_piece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    return trained(models.WordPiece(unk_token="[UNK]"), trainer, pre_tokenizers.BertPreTokenizer(), normalizers.NFC()).get_vocab()


def byte_pairs(special, **options):
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made = trained(models.BPE(**options), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False))
    model = json.loads(made.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def pieces(special):
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    made = trained(models.Unigram(), trainer, pre_tokenizers.Metaspace())
    return [(piece, score) for piece, score in json.loads(made.to_str())["model"]["vocab"]]


def bert(folder, change=None, **options):
    return folder_with(folder, transformers.BertTokenizer(vocab=word_piece(), **options), "[SEP]", change)


def roberta(folder, change=None, **options):
    vocab, merges = byte_pairs(["<s>", "<pad>", "<unk>", "</s>", "<mask>"])
    return folder_with(folder, transformers.RobertaTokenizer(vocab=vocab, merges=merges, **options), "</s>", change)


def gpt2(folder):
    vocab, merges = byte_pairs(["<|endoftext|>"])
    tokenizer = transformers.GPT2Tokenizer(vocab=vocab, merges=merges, pad_token="<|endoftext|>")
    source = folder_with(folder, tokenizer)
    # transformers pools at the first padding, and at the first token of a text that fills the context: a refusal is safer.
    source.refused = "contradiction"
    return source


def xlm_roberta(folder, change=None, **options):
    tokenizer = transformers.XLMRobertaTokenizer(vocab=pieces(["<s>", "<pad>", "<mask>", "<unk>", "</s>"]), **options)
    return folder_with(folder, tokenizer, "</s>", change)


def t5(folder):
    tokenizer = transformers.T5Tokenizer(vocab=pieces(["<pad>", "</s>", "<unk>"]), extra_ids=10)
    return folder_with(folder, tokenizer, "</s>")


def gemma(folder, change=None, **padding):
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:!?'-0123456789’é"
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters]
    pairs = [("▁", "a"), ("c", "a"), ("ca", "t"), ("o", "f"), ("t", "h"), ("th", "e"), ("▁", "the")]
    words += ["".join(pair) for pair in pairs]
    tokenizer = transformers.GemmaTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=pairs)
    tokenizer.add_eos_token = True
    return folder_with(folder, tokenizer, "<eos>", change, **padding)


def plain(folder, change=None, normalizer=None, pre_tokenizer=None, tokens=(), **options):
    """Writes a folder with a `PreTrainedTokenizerFast` of whole words; its `tokenizer.json` specifies everything."""
    trainer = trainers.WordLevelTrainer(vocab_size=500, special_tokens=["<pad>", "<unk>", "<none>", "<end>"], show_progress=False)
    made = trained(models.WordLevel(unk_token="<unk>"), trainer, pre_tokenizer or pre_tokenizers.Whitespace(), normalizer)
    made.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 3)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", **options)
    if tokens:
        tokenizer.add_tokens(list(tokens))
    return folder_with(folder, tokenizer, "<end>", change)


def keys(file, **values):
    """Returns a change to the keys of a JSON file."""
    return lambda folder: edit(folder / file, lambda value: value.update(values))


ADDED = [AddedToken("photo", normalized=False), AddedToken("cat", lstrip=True), AddedToken("CAT.", rstrip=True, normalized=True),
         AddedToken("ver", single_word=True), AddedToken("<new one>", special=True)]

SIBLINGS = {
    "BERT": lambda place: bert(place),
    "BERT, capitals kept": lambda place: bert(place, do_lower_case=False),
    "BERT, accents kept": lambda place: bert(place, strip_accents=False, tokenize_chinese_chars=False),
    "BERT, a config that says otherwise": lambda place: bert(place, keys("tokenizer_config.json", do_lower_case=False)),
    "BERT, a file that says otherwise": lambda place: bert(place, keys("tokenizer.json", normalizer={"type": "NFC"})),
    "RoBERTa": lambda place: roberta(place),
    "RoBERTa, a space in front": lambda place: roberta(place, add_prefix_space=True),
    "RoBERTa, a file that says otherwise": lambda place: roberta(place, keys("tokenizer.json", normalizer={"type": "Lowercase"})),
    "GPT-2": gpt2,
    "XLM-RoBERTa": lambda place: xlm_roberta(place),
    "XLM-RoBERTa, a file that says otherwise": lambda place: xlm_roberta(place, keys("tokenizer.json", normalizer={"type": "NFKC"})),
    "T5": t5,
    "Gemma, padded right": lambda place: gemma(place, keys("tokenizer_config.json", padding_side="right")),
    "Gemma, padded left": lambda place: gemma(place, keys("tokenizer_config.json", padding_side="left")),
    "words": lambda place: plain(place),
    "words, normalizers": lambda place: plain(place, normalizer=normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace("&", " and ")])),
    "words, split otherwise": lambda place: plain(place, pre_tokenizer=pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation("isolated")])),
    "words, added tokens": lambda place: plain(place, tokens=ADDED, normalizer=normalizers.Lowercase()),
    "words, cut and padded left": lambda place: plain(place, truncation_side="left", padding_side="left"),
    "words, a shorter length": lambda place: plain(place, keys("tokenizer_config.json", model_max_length=9)),
}
