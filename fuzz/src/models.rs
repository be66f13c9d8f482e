//! Readers of models: of language models and of our own.

use candle_core::Device;
use voxelcast::io::safetensors::ColumnsReader;
use voxelcast::nn::tokenizer::WordPieces;
use voxelcast::nn::{Batch, TextPieces, checkpoint, open, shape};
use voxelcast::results::saved;

use super::{answer, answer_of_settings, bounded, file, folder};

/// Between the files of a folder.
pub const BETWEEN: &[u8] = b"\n%%%%\n";

/// Weights that a study wrote, and an encoder's checkpoint.
pub fn safetensors(data: &[u8]) -> bool {
    let path = file("input.safetensors", data);
    let is_read = bounded(data.len(), 200, || {
        let tensors = answer(voxelcast::io::safetensors::read_header(&path)).unwrap_or_default();
        let n_bytes: u64 = tensors.iter().map(|tensor| tensor.n_bytes).max().unwrap_or(0);
        assert!(n_bytes <= data.len() as u64);
        for tensor in tensors.iter().take(8) {
            let [n_rows, n_cols] = tensor.shape[..] else { continue };
            let reader = ColumnsReader::open(&path).expect("it was opened before");
            let columns = 0..n_cols.min(3);
            answer(reader.read_columns(&tensor.name, (n_rows, n_cols), columns));
        }
        !tensors.is_empty()
    });
    let state = bounded(data.len(), 200, || answer(checkpoint::read(&path, &Device::Cpu)));
    is_read || state.is_some()
}

/// A tokenizer.json if it starts with a brace, else a vocab.txt; then words are cut.
pub fn tokenizer(data: &[u8]) -> bool {
    let is_json = data.trim_ascii_start().starts_with(b"{");
    let path = file(if is_json { "tokenizer.json" } else { "vocab.txt" }, data);
    let is_read =
        bounded(data.len(), 2000, || answer(WordPieces::read(&path)).inspect(cut).is_some());
    std::fs::remove_file(path).expect("it was written");
    is_read
}

fn cut(pieces: &WordPieces) {
    let words = ["hello", "", "Zürich", "\u{0}\u{301}", "don't", "[MASK]", "a b", "東京"];
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    if let Some(found) = answer(pieces.pieces(&words)) {
        assert_eq!(found.ids.len(), found.word.len());
        assert!(found.word.iter().all(|&word| (word as usize) < words.len()));
    }
    answer(pieces.text("Stories are told, one word after the other."));
}

/// config.json, vocab.txt and model.safetensors of a checkpoint, [`BETWEEN`] between them.
pub fn model_folder(data: &[u8]) -> bool {
    let mut rest = data;
    for name in ["config.json", "vocab.txt"] {
        let at = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let (part, behind) = match at {
            Some(at) => (&rest[..at], &rest[at + BETWEEN.len()..]),
            None => (rest, &[][..]),
        };
        file(name, part);
        rest = behind;
    }
    file("model.safetensors", rest);
    let folder = folder();
    bounded(data.len(), 2000, || {
        answer(WordPieces::read(&folder.join("vocab.txt"))).inspect(cut);
        let shape = answer_of_settings(shape(&folder));
        let model = answer_of_settings(open(&folder, &Device::Cpu));
        let Some(_) = model else { return false };
        assert!(shape.is_some_and(|shape| shape.width * shape.n_layers <= data.len()));
        true
    })
}

/// A causal model and its tokenizer in one file; where both are whole, pieces are read.
pub fn gguf(data: &[u8]) -> bool {
    let path = file("input.gguf", data);
    bounded(data.len(), 2000, || {
        if let Some(tokenizer) = answer(TextPieces::read(&path)) {
            let words = ["hello", "", "Zürich", "\u{0}\u{301}", "<s>", "a b"].map(str::to_owned);
            let found = answer(tokenizer.story(&words)).unwrap_or_default();
            assert_eq!(found.ids.len(), found.word.len());
            assert!(found.ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        }
        let shape = answer(shape(&path));
        let Some(model) = answer(open(&path, &Device::Cpu)) else { return false };
        let shape = shape.expect("the model was opened");
        assert_eq!((shape.n_layers, shape.width), (model.n_layers(), model.width()));
        // Positions of a short text, whatever the file says of long ones.
        let row: Vec<u32> = (0..model.max_length().min(5) as u32).map(|_| 0).collect();
        answer(model.states(&Batch::padded(&[row], 0), &[shape.n_layers]));
        true
    })
}

/// model.json of a study; written again it says the same.
pub fn saved_model(data: &[u8]) -> bool {
    file("weights.safetensors", b"");
    file("model.json", data);
    let Some(model) = bounded(data.len(), 64, || answer(saved::read(&folder()))) else {
        return false;
    };
    let n_features: usize = model.parts.iter().map(|part| part.n_features).sum();
    assert_eq!(model.n_coefs, n_features * model.delays.len());
    let text = serde_json::to_vec(&model).expect("it can be written");
    file("model.json", &text);
    assert_eq!(saved::read(&folder()).expect("it was written"), model);
    true
}
