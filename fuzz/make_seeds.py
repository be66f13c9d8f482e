"""Seeds of the fuzz targets, written by the usual writers of each format: fuzz/seeds/TARGET/.

scripts/peers-venv's Python: NumPy 2.4.6, h5py 3.16.0, praatio 6.2.2, transformers 5.24.0. Further
seeds are the files of tests/golden that fuzz/src/lib.rs names, and what fuzzing found (`found_*`),
which stays. The same bytes on every run.
"""

import csv
import gzip
import io
import json
import pickle
import re
import shutil
import struct
import sys
import types
import zipfile
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
rng = np.random.default_rng(8)
matrix = rng.standard_normal((4, 3))


def seed(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def gz(data):
    return gzip.compress(data.encode() if isinstance(data, str) else data, mtime=0)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, text in members.items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, method)
    return out.getvalue()


def npy(values):
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def npz():
    for name, method in [("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)]:
        seed("npz", f"{name}.npz", zipped({"data.npy": npy(matrix), "b.npy": npy(matrix[0])}, method))
        seed("npz", f"{name}_f4.npz", zipped({"arr_0.npy": npy(matrix.astype("f4"))}, method))


def hdf5():
    for name, file_options, options in [
        ("contiguous", {}, {}),
        ("latest", {"libver": "latest"}, {}),
        ("gzip", {}, {"chunks": (2, 2), "compression": "gzip", "shuffle": True}),
        ("v110", {"libver": ("v110", "v110")}, {"chunks": (2, 3), "compression": "gzip"}),
        ("growing", {}, {"chunks": (2, 3), "maxshape": (None, 3), "fletcher32": True}),
        ("scaled", {}, {"chunks": (4, 3), "scaleoffset": 3}),
    ]:
        out = io.BytesIO()
        with h5py.File(out, "w", **file_options) as file:
            values = matrix if name != "scaled" else (100 * matrix).astype("i4")
            file.create_dataset("data", data=values, **options)
            file.create_dataset("individual_repeats", data=np.stack([matrix, matrix]),
                                **({"chunks": (1, 4, 3), "compression": "gzip"} if options else {}))
        seed("hdf5", f"{name}.h5", out.getvalue())
    # A side of 0 hides the others from a product of sizes.
    for name, dataset, shape in [("no_rows", "data", (0, 2**61)), ("no_columns", "data", (2**40, 0)),
                                 ("many_slabs", "individual_repeats", (2**34, 0, 3))]:
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            file.create_dataset(dataset, shape=shape, dtype="f8", chunks=(1,) * len(shape),
                                maxshape=(None,) * len(shape))
        seed("hdf5", f"{name}.h5", out.getvalue())


def pickles():
    # As in the lab's pickle: an instance of a class that only its module has.
    module = types.ModuleType("ridge_utils.DataSequence")
    package = types.ModuleType("ridge_utils")
    DataSequence = type("DataSequence", (), {"__module__": "ridge_utils.DataSequence"})
    module.DataSequence = DataSequence
    package.DataSequence = module
    sys.modules |= {"ridge_utils": package, "ridge_utils.DataSequence": module}

    def story(words, as_array):
        made = DataSequence()
        made.data = np.array(words, dtype=object if as_array == "object" else None) if as_array else words
        made.split_inds = [np.int64(2), np.int64(3)]
        made.data_times = 0.4 * np.arange(len(words))
        made.tr_times = np.array([-9.0, -7.0, -5.0])
        return made

    words = ["i", "", "naïve", "東京", "story"]
    for protocol in range(6):
        stories = {"first": story(words, False), "second": story(words[::-1], False)}
        seed("pickle", f"protocol{protocol}.pkl", pickle.dumps(stories, protocol))
        arrays = {"first": story(words, "text"), "second": story(words, "object")}
        seed("pickle", f"arrays{protocol}.pkl", pickle.dumps(arrays, protocol))
    seed("pickle", "protocol4.pkl.gz", gz(pickle.dumps({"a": story(words, False)}, 4)))


def textgrids():
    from praatio import textgrid
    grid = textgrid.Textgrid()
    for name, entries in [("phone", [(0, 0.1, "h"), (0.1, 0.4, "ay")]), ("word", [(0, 0.4, "hi")])]:
        grid.addTier(textgrid.IntervalTier(name, entries, 0, 1))
    grid.addTier(textgrid.PointTier("tone", [(0.3, "H*")], 0, 1))
    for how in ["long_textgrid", "short_textgrid"]:
        path = SEEDS / "textgrid" / f"{how}.TextGrid"
        path.parent.mkdir(parents=True, exist_ok=True)
        grid.save(str(path), how, includeBlankSpaces=True)
    seed("textgrid", "packed.TextGrid.gz", gz(path.read_bytes()))


def tables():
    rows = [("story", "onset", "offset", "word"), ("a", 0.1, 0.4, "hi"), ("a", 0.5, 0.9, 'say "it", now'),
            ("b", 1e1, 11, "naïve")]
    for name, delimiter in [("words.csv", ","), ("words.tsv", "\t")]:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerows(rows)
        seed("table", name, out.getvalue())
        seed("table", name + ".gz", gz(out.getvalue()))
    seed("table", "bids.tsv", "onset\tduration\ttext\n0.1\t0.3\thi\n0.6\t0.3\t\"\n0.5\t0\t{br}\n")
    seed("table", "bom.csv", "\ufeffWord,Onset,Offset,other\r\nhi,0.1,0.3,x\r\n\r\nyou,0.4,0.5,\r\n")
    utf16 = "\ufeffonset\tduration\tword\n0.5\t0.25\tSo\n0.75\tn/a\tends\n"
    seed("table", "utf16.txt", utf16.encode("utf-16-le"))
    seed("table", "excel.tsv", 'onset\toffset\tword\n0.5\t0.75\t"So, it"\n0.75\t1\t"say ""x"""\n')


def alignments():
    """In the shapes of gentle, WhisperX, R and spreadsheets."""
    words = [{"word": "So", "start": 0.5, "end": 0.75, "score": 0.9}, {"word": "1990"},
             {"word": "ends.", "start": 1.5, "end": 2}]
    whisperx = {"segments": [{"start": 0.5, "end": 0.75, "text": " So", "words": words[:1]},
                             {"start": 1, "end": 2, "words": words[1:]}],
                "word_segments": words, "language": "en"}
    gentle = {"transcript": "So 1990 ends.", "words": [
        {"alignedWord": "so", "case": "success", "phones": [{"duration": 0.1, "phone": "s_B"}], **words[0]},
        {"case": "not-found-in-audio", "startOffset": 3, "endOffset": 7, "word": "1990"},
        {"alignedWord": "<unk>", "case": "success", **words[2]}]}
    for name, document in [("whisperx", whisperx), ("gentle", gentle), ("list", words)]:
        seed("transcript", f"{name}.json", json.dumps(document) + "\n")
    seed("gentle", "align.csv", "So,so,0.5,0.75\nuh,,,\n1990,<unk>,0.75,1.5\nends.,ends,1.5,2.0\n")
    seed("gentle", "windows.csv", b"caf\xe9,cafe,0.5,0.75\ndon\x92t,don\x92t,0.75,1.0\n")
    seed("gentle", "r.txt",
         '"onset" "duration" "word"\n"1" 0.5 0.25 "So"\n"2" NA NA "it"\n"3" 1.5 0.5 "ends"\n')
    seed("gentle", "semicolons.csv", "\ufeffBegin (ms);End (ms);Label;Type\r\n500;750;So;words\r\n"
         "500;600;S;phones\r\n1500,5;2000;ends;words\r\n")


def vectors():
    import gensim.models
    keyed = gensim.models.KeyedVectors(3)
    keyed.add_vectors(["the", "New_York", "東京"], matrix[:3].astype("f4"))
    for target, name, binary in [("word2vec", "small.bin", True), ("word2vec", "small.txt", False)]:
        path = SEEDS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        keyed.save_word2vec_format(str(path), binary=binary)
    text = "the 0.1 -2e-3 3\n<user> 1 2 3\n. . . 1 2 3\nlast 1 2\n"
    seed("glove", "small.txt", text)
    seed("glove", "small.zip", zipped({"g.txt": text}))
    seed("glove", "small.txt.gz", gz(text))
    seed("archive", "stored.zip", zipped({"a/words.txt": "some words", "b.md": "x"}, zipfile.ZIP_STORED))
    seed("archive", "deflated.zip", zipped({"a/words.txt": "some words " * 40}))
    seed("archive", "two.gz", gz("one ") + gz("two"))
    seed("archive", "plain", "plain text\n")


def models():
    import torch
    import transformers
    from safetensors.torch import save

    torch.manual_seed(8)
    weights = {"weights": torch.randn(4, 3), "intercepts": torch.zeros(1, 3)}
    seed("safetensors", "weights.safetensors", save(weights))
    state = torch.tensor(list(b'{"epoch":3}'), dtype=torch.uint8)
    seed("safetensors", "checkpoint.safetensors", save({"state": state, "a": torch.ones(2, 2).half()}))

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "don", "##t", "a", "東", "##京"]
    vocabulary = "\n".join(words) + "\n"
    seed("tokenizer", "vocab.txt", vocabulary)
    small = {"vocab_size": len(words), "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 5, "max_position_embeddings": 6}
    kinds = {
        "bert": (transformers.BertConfig(**small), transformers.BertModel),
        "distilbert": (transformers.DistilBertConfig(
            vocab_size=len(words), dim=4, n_layers=1, n_heads=2, hidden_dim=5, max_position_embeddings=6),
            transformers.DistilBertModel),
        "roberta": (transformers.RobertaConfig(**small), transformers.RobertaModel),
        "megatron": (transformers.MegatronBertConfig(**small), transformers.MegatronBertForMaskedLM),
        "llama": (transformers.LlamaConfig(**small), transformers.LlamaModel),
        "gpt2": (transformers.GPT2Config(vocab_size=11, n_embd=4, n_layer=1, n_head=2, n_positions=6, n_inner=5),
                 transformers.GPT2Model),
    }
    for name, (config, kind) in kinds.items():
        folder = SEEDS / "model_folder" / "tmp"
        kind(config).save_pretrained(folder)
        parts = [(folder / "config.json").read_bytes(), vocabulary.encode(),
                 (folder / "model.safetensors").read_bytes()]
        shutil.rmtree(folder)
        seed("model_folder", name, b"\n%%%%\n".join(parts))


def ggufs():
    """A causal model of one block and width 4, and its tokenizer, in as few bytes as there can be."""
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def value(value):
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, list):
            items = b"".join(map(text, value)) if isinstance(value[0], str) else struct.pack(f"<{len(value)}i", *value)
            return struct.pack("<IIQ", 9, 8 if isinstance(value[0], str) else 5, len(value)) + items
        return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)

    keys = {
        "general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 6, "llama.embedding_length": 4,
        "llama.feed_forward_length": 5, "llama.attention.head_count": 2, "llama.attention.head_count_kv": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 1e4, "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": ["<s>", "h", "e", "l", "o", "he", "ll"],
        "tokenizer.ggml.merges": ["h e", "l l"], "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1],
    }
    shapes = {"token_embd": (4, 7), "output_norm": (4,), "blk.0.attn_norm": (4,), "blk.0.attn_q": (4, 4), "blk.0.attn_k": (4, 2),
              "blk.0.attn_v": (4, 2), "blk.0.attn_output": (4, 4), "blk.0.ffn_norm": (4,), "blk.0.ffn_gate": (4, 5),
              "blk.0.ffn_up": (4, 5), "blk.0.ffn_down": (5, 4)}
    numbers = np.random.default_rng(9)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys))
    head += b"".join(text(key) + value(item) for key, item in keys.items())
    data = b""
    for name, shape in shapes.items():
        head += text(name + ".weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += numbers.standard_normal(int(np.prod(shape))).astype("<f4").tobytes().ljust(-(-4 * int(np.prod(shape)) // 32) * 32, b"\0")
    seed("gguf", "llama.gguf", head.ljust(-(-len(head) // 32) * 32, b"\0") + data)


def settings():
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    seed("study", "README.toml", re.search(r"```toml\n(.*?)```", readme, re.S)[1])
    space = '[[space]]\nkind = "word_rate"\n'
    small = '[stories]\npath = "words.tsv"\n[bold.s]\npath = "{story}.npy"\n'
    seed("study", "small.toml", small + space)
    seed("study", "nifti.toml", '[stories]\npath = "a"\nrespdict = "r.json"\nexclude = ["x"]\n[bold.s]\n'
         'path = "{story}.nii.gz"\nmask = "m.nii"\n' + space)
    seed("study", "others.toml", small + "[split]\ntest = [\"a\", \"b\"]\n[ridge]\nalphas = [1, 10.5, 1e3]\n"
         'folds = [["c"], ["d"]]\nscorer = "r2"\nsolver = "svd"\n[statistics]\npermutations = 10\n'
         "[stability]\nsplits = 2\n[encoder]\nhidden = 8\n[output]\nweights = false\n" + space
         + '[[space]]\nname = "w"\nkind = "word2vec"\nvectors = "v.bin"\n'
         + '[[space]]\nname = "both"\ncombine = ["w", "word_rate"]\n')
    seed("respdict", "small.json", json.dumps({"wheretheressmoke": 300, "a": 0, "naïve": 2**40}))
    for i, text in enumerate(["logspace(0,8,17)", "1, 10,100.5", "logspace(-2.5, 3, 1)", "1e-300,1e300"]):
        seed("alphas", str(i), text)
    part = {"name": "glove", "n_features": 2, "features": {
        "kind": "glove", "path": "../v.txt", "n_bytes": 9, "blake3": "0" * 64},
        "scaling": {"mean": [0.5, -1.0], "inverse_sd": [2.0, 0.0]}}
    bow = {"name": "bow", "n_features": 2, "features": {
        "kind": "bow", "lowercase": True, "vocabulary": ["hi", "東京"]}}
    model = {"schema": "voxelcast.model/1", "version": "0.1.0", "subject": "s", "space": "glove", "lagged": True,
             "delays": [1, 2], "delays_cross_stories": False, "n_voxels": 3, "n_coefs": 8, "tr_s": 2.0,
             "first_tr_s": -9.0, "trim": "10:5", "zscore": "train", "lanczos_window": 3, "cutoff_mult": 1.0,
             "time": "mid", "story_trs": {"a": 40}, "parts": [part, bow]}
    seed("saved_model", "model.json", json.dumps(model))



BETWEEN = "\n%%%%\n"


def folders():
    """Small files of a results folder, one after the other as fuzz/src/folders.rs takes them apart."""
    run = {"schema": "voxelcast.run/1", "version": "0.1.0", "commit": "abc", "device": "cpu", "threads": 2,
           "seed": 214, "split": {"train": ["three", "four"], "test": ["one", "two"]},
           "folds": [["three"], ["four"]], "stability": [{"split": 1, "seed": 215, "train": ["one"], "test": ["four"]}],
           "solver": {"bow-lagged": "gram: quick"}, "warnings": ["alignment: late"], "notes": [],
           "alignment": {"space": "bow", "subjects": {"s1": {"shifts": [-1, 0, 1], "mean_r": [0.1, None, 0.2]}},
                         "verdict": {"curve": {"shifts": [0], "mean_r": [0.1]}, "peak": 1, "stands_out": True,
                                     "better_trim": None}},
           "settings": {"delays": [1, 2], "scorer": "correlation", "statistics": {"q": 0.05}}, "study": {},
           "alphas": [1.0, 10.0, 100.0], "n_train_trs": 50, "n_test_trs": 10, "subjects": {"s1": 4},
           "spaces": [{"name": "bow", "kind": "bow", "n_features": 2}],
           "models": [{"folder": "bow-lagged", "delays": [1, 2], "n_features": 2, "n_coefs": 4, "condition": 2.5,
                       "score_error": 1e-9, "route": "gram"}],
           "voxels": {"s1": {"n_constant": 0, "n_not_finite": 1,
                             "edges": [{"n_low": 0, "n_high": 1, "n_plateau": 1}], "basis_rank": 2, "basis_error": 0.0}},
           "fingerprint": "f", "inputs": [], "timings_s": {"total": 1.5}, "tile_stages_s": {}, "peak_memory_bytes": 1 << 20}
    bow = {"name": "bow", "n_features": 2, "features": {"kind": "bow", "lowercase": True, "vocabulary": ["the", "story"]}}
    model = {"schema": "voxelcast.model/1", "version": "0.1.0", "subject": "s1", "space": "bow", "lagged": True,
             "delays": [1, 2], "delays_cross_stories": False, "n_voxels": 4, "n_coefs": 4, "tr_s": 2.0,
             "first_tr_s": -9.0, "trim": "2:1", "zscore": "story", "lanczos_window": 3, "cutoff_mult": 1.0,
             "time": "mid", "story_trs": {"two": 30}, "parts": [bow]}
    predictions = {"schema": "voxelcast.predictions/1", "intercept": True,
                   "models": [{"subject": "s1", "space": "bow", "lagged": True, "folder": "s1/bow-lagged", "n_voxels": 4,
                               "oov_share": 0.0}], "stories": [["one", 5], ["two", 5]]}
    scores = "mean,median,top1,top5,top1_mean,top5_mean"
    row = "0.2,0.2,0.4,0.4,0.4,0.4"
    tables = [
        f"subject,space,lagged,n_voxels,n_voxels_used,{scores}\ns1,bow,true,4,4,{row}\n",
        f"subject,space,lagged,story,n_voxels,n_voxels_used,{scores}\ns1,bow,true,one,4,4,{row}\ns1,bow,true,two,4,3,NaN,{row[4:]}\n",
        "subject,space,lagged,n_significant,q,permutations,n_voxels_used,p_threshold,block_trs\ns1,bow,true,2,0.05,100,4,0.01,10\n",
        "subject,space_a,space_b,diff_mean,ci_low,ci_high,n_stories,resamples\ns1,bow-lagged,bow,0.1,-0.1,0.2,2,100\n",
        f"subject,space,lagged,split,n_voxels_used,{scores},seed,n_train_stories,n_test_stories\ns1,bow,true,1,4,{row},215,3,1\n",
        f"subject,space,lagged,split,story,n_voxels_used,{scores}\ns1,bow,true,1,four,4,{row}\n",
        "subject,kind,a,b,jaccard,model\ns1,spaces,bow-lagged,bow,0.5,\ns1,splits,1,2,0.25,bow-lagged\n",
        f"subject,space,lagged,n_stories,n_trs,n_voxels_used,{scores}\ns1,bow,true,1,20,4,{row}\ns1,bow,true,2,50,4,{row}\n",
        "subject,space,lagged,n_stories,n_repeats,n_voxels_used,ceiling_mean,ceiling_median,r_mean,normalised_mean,"
        "normalised_median,min_ceiling\ns1,bow,true,1,2.5,4,0.5,0.5,0.2,0.4,0.4,0.1\n",
        "story,n_trs,seconds,n_words,words_per_s,role\none,5,10,12,1.2,test\nthree,25,50,80,1.6,train\n",
        "subject,space,lagged,alpha,mean_cv_score,n_best\ns1,bow,true,1,0.1,1\ns1,bow,true,10,0.2,3\ns1,bow,true,100,NaN,0\n",
    ]
    run = json.dumps(run)
    seed("predict", "whole.txt", BETWEEN.join([run, json.dumps(model)]))
    seed("score", "predictions.json", json.dumps(predictions))
    seed("report", "whole.txt", BETWEEN.join([run, *tables]))
    seed("report", "scores.txt", BETWEEN.join([run, *tables[:2]] + [table.splitlines()[0] + "\n" for table in tables[2:]]))
    seed("export", "run.json", run)


if __name__ == "__main__":
    for old in SEEDS.glob("*/*"):
        if not old.name.startswith("found_"):
            old.unlink()
    npz()
    hdf5()
    pickles()
    textgrids()
    tables()
    alignments()
    vectors()
    models()
    settings()
    folders()
    ggufs()
