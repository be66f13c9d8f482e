//! stderr: sentences, steps, warnings, a bar where there is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::heap;
use crate::reporter::Reporter;
use crate::warning::Warning;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Volume {
    /// Errors only.
    Quiet,
    /// Choices, warnings, bars.
    Normal,
    /// Each step with its shapes and seconds.
    Verbose,
}

/// The reporter of the command line. Everything goes to stderr; stdout belongs to results.
pub struct Console {
    volume: Volume,
    bar: Mutex<Option<ProgressBar>>,
}

impl Console {
    /// A console that says this much.
    pub fn new(volume: Volume) -> Self {
        Self { volume, bar: Mutex::new(None) }
    }

    fn line(&self, text: &str) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let write = || {
            // A closed stderr is nobody's error.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        };
        match bar.as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Reporter for Console {
    fn note(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.line(text);
        }
    }

    fn step(&self, text: &str) {
        if self.volume >= Volume::Verbose {
            self.line(text);
        }
    }

    fn warn(&self, warning: &Warning) {
        if self.volume >= Volume::Normal {
            self.line(&format!("warning: {warning}"));
        }
    }

    fn start(&self, label: &str, total: u64) {
        if self.volume < Volume::Normal || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = if plain { "" } else { ".cyan" };
        let style = format!("{{msg}} {{wide_bar{color}}} {{human_pos}}/{{human_len}} {{eta}}");
        if let Ok(style) = ProgressStyle::with_template(&style) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        *self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(bar);
    }

    fn status(&self, text: &str) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = bar.as_ref() {
            bar.set_message(text.to_owned());
        }
    }

    fn advance(&self, n: u64) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = bar.as_ref() {
            bar.inc(n);
        }
    }

    fn reuses_memory(&self, begins: bool) {
        match begins {
            true => heap::keep_freed_blocks(),
            false => heap::give_back_freed_blocks(),
        }
    }

    fn finish(&self) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes results to stdout; a closed pipe is not an error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
