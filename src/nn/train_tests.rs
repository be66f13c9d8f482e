use rand::Rng;

use super::*;
use crate::nn::schedule::Schedule;

/// Texts of a language in which every text keeps to one topic: context tells which six of eighteen
/// words may follow, ln 18 − ln 6 = 1.1 nats.
fn texts(n: usize) -> Vec<Vec<String>> {
    const TOPICS: [[&str; 6]; 3] = [
        ["red", "sun", "goes", "down", "over", "hills"],
        ["wind", "blows", "cold", "from", "grey", "seas"],
        ["bread", "milk", "salt", "oil", "rice", "corn"],
    ];
    let mut rng = generator(9, Purpose::Order, 0, 0);
    let mut text = |t: usize| {
        (0..40 + t % 3).map(|_| TOPICS[t % 3][rng.random_range(0..6)].to_owned()).collect()
    };
    (0..n).map(&mut text).collect()
}

fn settings() -> TrainSettings {
    TrainSettings {
        vocab_size: 100,
        epochs: 6,
        batch: 4,
        hidden: 16,
        heads: 2,
        layers: 1,
        intermediate: 16,
        max_length: 12,
        lr: 1e-2,
        schedule: Schedule::Linear,
        warmup: 3,
        ..TrainSettings::default()
    }
}

fn corpus(settings: &TrainSettings) -> Corpus {
    let texts = texts(12);
    let words = texts.iter().flatten().map(String::as_str);
    let tokenizer = WordPieces::train(words, settings.vocab_size).unwrap();
    let pieces: Vec<Vec<u32>> =
        texts.iter().map(|words| tokenizer.pieces(words).unwrap().ids).collect();
    Corpus::new(&tokenizer, &pieces[..9], &pieces[9..], settings).unwrap()
}

/// Every bit that a training leaves.
fn bits(trainer: &Trainer<'_>) -> (State, Vec<(String, Vec<u32>)>) {
    let bits = |tensor: Tensor| match tensor.dtype() {
        candle_core::DType::F32 => {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        }
        _ => tensor.to_vec1::<i64>().unwrap().into_iter().map(|n| n as u32).collect(),
    };
    let tensors = trainer.tensors().unwrap().into_iter();
    (trainer.state().clone(), tensors.map(|(name, tensor)| (name, bits(tensor))).collect())
}

fn advance(trainer: &mut Trainer<'_>) {
    match trainer.is_at_epoch_end() {
        true => drop(trainer.finish_epoch().unwrap()),
        false => drop(trainer.step().unwrap()),
    }
}

#[test]
fn the_loss_of_a_language_with_topics_falls_below_the_unigram_baseline() {
    let settings = TrainSettings { epochs: 20, dropout: 0.0, ..settings() };
    let corpus = corpus(&settings);
    let mut trainer = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
    let before = trainer.validate().unwrap();
    // An untrained encoder guesses among all pieces.
    assert!((before - (corpus.vocab_size as f64).ln()).abs() < 0.2, "{before}");
    while !trainer.is_finished() {
        advance(&mut trainer);
    }
    let best = trainer.state().best.unwrap();
    // Most of the 1.1 nats that there are to win.
    assert!(best.val_loss < corpus.unigram_loss - 0.8, "{best:?}, {}", corpus.unigram_loss);
    assert!(best.train_loss < corpus.unigram_loss - 0.5);
}

#[test]
fn a_training_stopped_after_any_step_goes_on_bit_for_bit() {
    let settings = settings();
    let corpus = corpus(&settings);
    let mut whole = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
    let mut kept = Vec::new();
    while !whole.is_finished() {
        kept.push((whole.state().clone(), whole.tensors().unwrap()));
        // `set` writes in place: what is kept must not follow.
        for (_, tensor) in &mut kept.last_mut().unwrap().1 {
            *tensor = tensor.copy().unwrap();
        }
        advance(&mut whole);
    }
    let wanted = bits(&whole);
    for (state, tensors) in kept.into_iter().step_by(7) {
        let mut again = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        again.restore(serde_json::from_str(&text).unwrap(), &tensors).unwrap();
        while !again.is_finished() {
            advance(&mut again);
        }
        assert!(bits(&again) == wanted, "stopped at {state:?}");
    }
}

#[test]
fn patience_ends_a_training_that_gets_no_better_and_the_best_weights_are_kept() {
    // Far too high a rate: the loss goes up and down.
    let settings = TrainSettings { epochs: 200, lr: 0.5, patience: 2, ..settings() };
    let corpus = corpus(&settings);
    let mut trainer = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
    while !trainer.is_finished() {
        advance(&mut trainer);
    }
    let State { epoch, best, last, .. } = trainer.state().clone();
    let best = best.unwrap();
    assert!(trainer.stopped_early() && epoch < 200);
    assert_eq!((epoch, last.unwrap().epoch), (best.epoch + 2, epoch));
    assert!(last.unwrap().val_loss >= best.val_loss);
    assert_ne!(trainer.validate().unwrap(), best.val_loss);
    trainer.take_best().unwrap();
    assert_eq!(trainer.validate().unwrap(), best.val_loss);
}

#[test]
fn validation_is_the_same_whatever_training_masks() {
    let base = settings();
    let other = TrainSettings { p_mlm: 0.5, epochs: 9, lr: 1e-3, heads: 4, ..base.clone() };
    let (a, b) = (corpus(&base), corpus(&other));
    assert_eq!(a.validation, b.validation);
    assert_eq!(a.unigram_loss, b.unigram_loss);
    // Windows keep their masks in batches of another size.
    let wide = corpus(&TrainSettings { batch: 100, ..base.clone() });
    let labels = |corpus: &Corpus| -> Vec<u32> {
        corpus.validation.iter().flat_map(|(_, targets)| targets.labels.clone()).collect()
    };
    assert_eq!(labels(&wide), labels(&a));
    let seeded = corpus(&TrainSettings { seed: 5, ..base });
    assert_ne!(seeded.validation, a.validation);
}

#[test]
fn every_setting_of_the_optimiser_changes_the_weights() {
    let base = TrainSettings { epochs: 1, ..settings() };
    let corpus = corpus(&base);
    let run = |settings: &TrainSettings| {
        let mut trainer = Trainer::new(&corpus, settings, &Device::Cpu).unwrap();
        while !trainer.is_finished() {
            advance(&mut trainer);
        }
        bits(&trainer).1
    };
    let wanted = run(&base);
    assert!(run(&base) == wanted);
    let changed: [fn(&mut TrainSettings); 9] = [
        |s| s.lr = 2e-2,
        |s| s.weight_decay = 0.5,
        |s| s.clip = 1e-3,
        |s| s.warmup = 0,
        |s| s.schedule = Schedule::Constant,
        |s| s.dropout = 0.0,
        |s| s.p_mlm = 0.3,
        |s| s.seed = 1,
        |s| s.batch = 3,
    ];
    for (i, change) in changed.into_iter().enumerate() {
        let mut settings = base.clone();
        change(&mut settings);
        assert!(run(&settings) != wanted, "change {i}");
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training() {
    let settings = TrainSettings { lr: 1e38, clip: 0.0, epochs: 50, ..settings() };
    let corpus = corpus(&settings);
    let mut trainer = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
    let error = loop {
        let done = match trainer.is_at_epoch_end() {
            true => trainer.finish_epoch().map(drop),
            false => trainer.step().map(drop),
        };
        match done {
            Ok(()) if trainer.is_finished() => panic!("it went on to the end"),
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.exit_code(), 1);
}

#[cfg(feature = "cuda")]
#[test]
fn a_training_on_a_card_follows_the_one_on_the_cpu() {
    let Some(card) = crate::nn::card_tests::card() else { return };
    let settings = settings();
    let corpus = corpus(&settings);
    let mut on_cpu = Trainer::new(&corpus, &settings, &Device::Cpu).unwrap();
    let mut on_card = Trainer::new(&corpus, &settings, &card).unwrap();
    // The same weights, rows, masks and dropout: what differs is the rounding of f32, which Adam
    // makes larger where gradients are small.
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-5 * a, "{a} on the CPU, {b}");
    for _ in 0..8 {
        if on_cpu.is_at_epoch_end() {
            let (a, b) = (on_cpu.finish_epoch().unwrap(), on_card.finish_epoch().unwrap());
            near(a.val_loss, b.val_loss);
        }
        let (a, b) = (on_cpu.step().unwrap(), on_card.step().unwrap());
        assert_eq!((a.n_tokens, a.lr), (b.n_tokens, b.lr));
        near(a.loss, b.loss);
    }
    // Stopped and gone on from: weights and moments are on the card again.
    let tensors = on_card.tensors().unwrap().into_iter().collect();
    let mut again = Trainer::new(&corpus, &settings, &card).unwrap();
    again.restore(on_card.state().clone(), &tensors).unwrap();
    for _ in 0..2 {
        near(again.step().unwrap().loss, on_card.step().unwrap().loss);
    }
}
