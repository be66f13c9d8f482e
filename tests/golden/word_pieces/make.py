"""Word pieces as transformers cuts them, for tokenizers of every kind.

transformers 5.24.0, tokenizers 0.23.3. Run through scripts/golden (scripts/language-venv).
`trained.json` is not made here: voxelcast wrote it, this script opens it.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertTokenizer, AutoTokenizer, BertTokenizerFast, DebertaV2Tokenizer, MPNetTokenizer, PreTrainedTokenizerFast,
)

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = (
    "a the they bee bees hive honey garden walk talk über cafe Cafe Tomas tomas queen it i s t don "
    "##s ##ing ##ed ##er ##y ##den ##keep ##e ##t ##mas 1 9 ##9 ##8 ' - , . ! ? 中 ##中 é ##é"
).split()

# Words as they stand in transcripts, and words that are meant to trip a tokenizer.
WORDS = [
    "The", "bees", "walked", "TALKING", "garden", "don't", "beekeeper", "it's", "Tomas", "they",
    "café", "Cafe\u0301", "Über", "1998", "honey,", "hive-bees", "中中", "zebra", "🐝", "\u200b",
    "", " ", "two words", "[MASK]", "a" * 120, "e\x00e", "naïve", "bee\u00a0bee", "I",
]
TEXTS = ["The bees walked, talking!", "", "It's Tomas' café."]


def bert(path, lower):
    lines = SPECIAL + PIECES + [c for c in "abcdefghijklmnopqrstuvwxyz" if c not in PIECES]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return BertTokenizerFast(vocab=str(path), do_lower_case=lower)


def json_file(path):
    """A tokenizer.json that asks for truncation and padding, which voxelcast ignores."""
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(SPECIAL + PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=32)
    tokenizer.save(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]")


def byte_level(path):
    """RoBERTa's kind: byte-level BPE, words begin with a space (Ġ)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] + alphabet
    merges = [("Ġ", "b"), ("e", "e"), ("Ġb", "ee"), ("t", "h"), ("Ġ", "th"), ("Ġth", "e"), ("Ġbee", "s")]
    vocabulary += [a + b for a, b in merges]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(path))
    # transformers asks for add_prefix_space with words that are split already.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>")


def modernbert(path):
    """Byte-level BPE with BERT's names of special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "b"), ("e", "e"), ("Ġb", "ee"), ("t", "h"), ("Ġ", "th"), ("Ġth", "e"), ("Ġbee", "s")]
    vocabulary = alphabet + [a + b for a, b in merges] + ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ends = [(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(vocabulary[-5:])
    tokenizer.save(str(path))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]")


def unigram(path, kind, special):
    """SentencePiece's unigrams, words begin with ▁; ALBERT mixes both sets of names."""
    letters = "abcdefghijklmnopqrstuvwxyz019'-,!."
    pieces = [(name, 0.0) for name in special] + [("▁", -3.0)]
    pieces += [(piece, -2.5) for piece in ("▁the", "▁The", "▁bee", "▁walk", "ed", "ing", "s", "▁gar", "den", "▁don")]
    pieces += [(letter, -6.0 - i / 16) for i, letter in enumerate(letters) if letter != "s"]
    tokenizer = kind(vocab=pieces)
    tokenizer.backend_tokenizer.save(str(path))
    return tokenizer


def mpnet(path):
    """WordPiece whose vocabulary holds both sets of names."""
    lines = ["<s>", "<pad>", "</s>", "<unk>"] + SPECIAL + ["<mask>"] + PIECES
    lines += [c for c in "abcdefghijklmnopqrstuvwxyz" if c not in PIECES]
    tokenizer = MPNetTokenizer(vocab={piece: i for i, piece in enumerate(lines)})
    tokenizer.backend_tokenizer.save(str(path))
    return tokenizer


def cut(tokenizer):
    words = tokenizer(WORDS, is_split_into_words=True, add_special_tokens=False)
    texts = [tokenizer(text)["input_ids"] for text in TEXTS]
    return {"ids": words["input_ids"], "word": words.word_ids(), "texts": texts}


def trained():
    """voxelcast's own file, opened in both ways that people use."""
    plain = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "trained.json"))
    (HERE / "config.json").write_text('{"model_type": "megatron-bert"}')
    (HERE / "tokenizer.json").write_bytes((HERE / "trained.json").read_bytes())
    auto = AutoTokenizer.from_pretrained(HERE)
    for name in ["config.json", "tokenizer.json"]:
        (HERE / name).unlink()
    assert cut(plain) == cut(auto), "both ways cut alike"
    assert (auto.cls_token_id, auto.sep_token_id, auto.mask_token_id, auto.pad_token_id) == (2, 3, 4, 0)
    return cut(plain)


def main():
    cased = HERE / "cased"
    cased.mkdir(exist_ok=True)
    (cased / "tokenizer_config.json").write_text('{"do_lower_case": false}\n')
    expected = {
        "words": WORDS,
        "text": TEXTS,
        "vocab.txt": cut(bert(HERE / "vocab.txt", lower=True)),
        "cased/vocab.txt": cut(bert(cased / "vocab.txt", lower=False)),
        "tokenizer_truncating.json": cut(json_file(HERE / "tokenizer_truncating.json")),
        "byte_level.json": cut(byte_level(HERE / "byte_level.json")),
    }
    expected["modernbert.json"] = cut(modernbert(HERE / "modernbert.json"))
    albert = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    expected["albert.json"] = cut(unigram(HERE / "albert.json", AlbertTokenizer, albert))
    deberta = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    expected["deberta.json"] = cut(unigram(HERE / "deberta.json", DebertaV2Tokenizer, deberta))
    expected["mpnet.json"] = cut(mpnet(HERE / "mpnet.json"))
    if (HERE / "trained.json").exists():
        expected["trained.json"] = trained()
    text = json.dumps(expected, indent=1, ensure_ascii=True)
    (HERE / "expected.json").write_text(text + "\n")


main()
