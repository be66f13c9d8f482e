//! `[encoder]`: how the encoder of a study's `encoder` spaces is trained.

use std::path::PathBuf;

use super::section::Section;
use crate::error::Result;
use crate::nn::TrainSettings;
use crate::nn::examples::Windows;
use crate::nn::schedule::Schedule;

/// The settings, checked. The tokenizer's path is as the file gives it.
/// # Errors
/// `Error::Usage` for a value outside its range.
pub(crate) fn encoder(section: &Section<'_>) -> Result<TrainSettings> {
    let base = TrainSettings::default();
    let count =
        |name, default| Ok::<_, crate::error::Error>(section.count(name)?.unwrap_or(default));
    let number =
        |name, default| Ok::<_, crate::error::Error>(section.number(name)?.unwrap_or(default));
    let settings = TrainSettings {
        tokenizer: section.text("tokenizer")?.map(PathBuf::from),
        vocab_size: count("vocab_size", base.vocab_size)?,
        epochs: count("epochs", base.epochs)?,
        batch: count("batch", base.batch)?,
        hidden: count("hidden", base.hidden)?,
        heads: count("heads", base.heads)?,
        layers: count("layers", base.layers)?,
        intermediate: count("intermediate", base.intermediate)?,
        max_length: count("max_length", base.max_length)?,
        windows: section.word(
            "windows",
            &[("all", Windows::All), ("first", Windows::First)],
            base.windows,
        )?,
        stride: section.count("stride")?,
        lr: number("lr", base.lr)?,
        weight_decay: number("weight_decay", base.weight_decay)?,
        dropout: number("dropout", base.dropout)?,
        p_mlm: number("p_mlm", base.p_mlm)?,
        schedule: section.word(
            "schedule",
            &[
                ("constant", Schedule::Constant),
                ("linear", Schedule::Linear),
                ("cosine", Schedule::Cosine),
            ],
            base.schedule,
        )?,
        warmup: count("warmup", base.warmup)?,
        clip: number("clip", base.clip)?,
        val_fraction: number("val_fraction", base.val_fraction)?,
        patience: count("patience", base.patience)?,
        seed: count("seed", base.seed as usize)? as u64,
    };
    settings.check(&|name| format!("{}, {name}", section.place))?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Result;
    use crate::study_file::keys::of_section;
    use crate::study_file::{Study, from_text};

    fn study(lines: &str) -> Result<Study> {
        let text = format!(
            "[stories]\npath = \"w\"\n[bold.a]\npath = \"{{story}}.npy\"\n\
             [[space]]\nkind = \"word_rate\"\n[encoder]\n{lines}"
        );
        from_text(&text, Path::new("."), "S.toml")
    }

    #[test]
    fn without_keys_an_encoder_has_the_defaults_and_each_default_may_be_written() {
        assert_eq!(study("").unwrap().encoder, TrainSettings::default());
        for key in of_section("encoder") {
            if !matches!(key.name, "tokenizer" | "stride") {
                let line = format!("{} = {}", key.name, key.default);
                let written = study(&line).unwrap_or_else(|e| panic!("{e}")).encoder;
                assert_eq!(written, TrainSettings::default(), "{line}");
            }
        }
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let lines = "tokenizer = \"t.json\"\nvocab_size = 100\nepochs = 3\nbatch = 4\nhidden = 12\n\
                     heads = 3\nlayers = 5\nintermediate = 7\nmax_length = 16\nwindows = \"first\"\n\
                     stride = 9\nlr = 1e-3\nweight_decay = 0\ndropout = 0.5\np_mlm = 0.2\n\
                     schedule = \"cosine\"\nwarmup = 11\nclip = 0\nval_fraction = 0.25\n\
                     patience = 6\nseed = 1";
        let wanted = TrainSettings {
            tokenizer: Some("t.json".into()),
            vocab_size: 100,
            epochs: 3,
            batch: 4,
            hidden: 12,
            heads: 3,
            layers: 5,
            intermediate: 7,
            max_length: 16,
            windows: Windows::First,
            stride: Some(9),
            lr: 1e-3,
            weight_decay: 0.0,
            dropout: 0.5,
            p_mlm: 0.2,
            schedule: Schedule::Cosine,
            warmup: 11,
            clip: 0.0,
            val_fraction: 0.25,
            patience: 6,
            seed: 1,
        };
        assert_eq!(study(lines).unwrap().encoder, wanted);
        assert_eq!(lines.lines().count(), of_section("encoder").count());
    }

    #[test]
    fn a_wrong_value_is_named_with_its_table() {
        for (line, part) in [
            ("heads = 3", "divisor of hidden = 128, got 3"),
            ("p_mlm = 1.0", "p_mlm: expected 0 < p < 1"),
            ("stride = 255", "stride: expected 1 to 254"),
            ("windows = \"last\"", "one of all, first"),
            ("epoch = 3", "did you mean \"epochs\"?"),
        ] {
            let error = study(line).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("S.toml: [encoder]") && text.contains(part), "{text}");
        }
    }
}
