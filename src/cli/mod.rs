//! The command line: flags in, exit code out. The only module that prints.

pub mod args;
mod bench;
mod check;
mod console;
mod delay;
mod demo;
mod devices;
#[cfg(feature = "language")]
mod encoder;
mod export;
mod features;
mod flags;
mod heap;
mod init;
mod merge;
mod plan;
mod predict;
mod report;
mod resample;
mod ridge;
mod run;
mod score;
mod settings;
mod show;
mod simulate;
mod slurm;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use heap::give_back_large_blocks;

use args::{Cli, Command};
use console::Console;
use flags::LockArgs;
use settings::CommonSettings;

use crate::error::Result;
use crate::reporter::Reporter;
use crate::resources::Resources;
use crate::study::{RunOptions, Session};

/// What a command prints on stdout.
struct Output {
    /// With `--json`.
    document: serde_json::Value,
    /// Without.
    text: String,
}

impl Output {
    fn array(schema: &str, out: &Path, (rows, cols): (usize, usize)) -> Output {
        Output {
            document: serde_json::json!({ "schema": schema, "out": out, "shape": [rows, cols] }),
            text: format!("{} ({rows}, {cols})\n", out.display()),
        }
    }
}

/// What every command is given.
struct Context {
    settings: CommonSettings,
    console: Console,
    cancel: Arc<AtomicBool>,
}

impl Context {
    /// How a study is run.
    fn run_options(&self, out: PathBuf, force: bool, dry_run: bool, lock: &LockArgs) -> RunOptions {
        RunOptions {
            locking: lock.locking(),
            out,
            force,
            dry_run,
            resources: self.resources(),
            device: self.settings.device.clone(),
            device_is_auto: self.settings.device_is_auto,
        }
    }

    fn resources(&self) -> Resources {
        let CommonSettings { n_threads, memory_bytes, .. } = self.settings;
        Resources { n_threads, memory_bytes }
    }

    fn session(&self) -> Session<'_> {
        Session { reporter: &self.console, cancel: &self.cancel }
    }

    fn announce_device(&self) {
        let CommonSettings { device, device_reason, n_threads, .. } = &self.settings;
        self.console.note(&format!("device: {device}, {n_threads} threads ({device_reason})"));
    }
}

/// Runs what was typed; the exit code of the process.
pub fn run(cli: Cli) -> u8 {
    match dispatch(&cli) {
        Ok(()) => 0,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            error.exit_code()
        }
    }
}

fn dispatch(cli: &Cli) -> Result<()> {
    #[cfg(feature = "language")]
    if matches!(cli.command, Command::Encoder(_)) {
        heap::keep_freed_blocks();
    }
    let settings = CommonSettings::new(&cli.common)?;
    let console = Console::new(settings.volume);
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    // A second Ctrl-C ends the process at once; finished files are whole at any time.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let context = Context { settings, console, cancel };
    let output = match &cli.command {
        Command::Run(args) => match &args.shard {
            Some(shard) => run::shard(args, shard, &context)?,
            None => run::run_study(args, &context)?,
        },
        Command::Plan(args) => plan::plan(args, &context)?,
        Command::Merge(args) => merge::merge_shards(args, &context)?,
        Command::Slurm(args) => slurm::slurm(args, &context)?,
        Command::Predict(args) => predict::predict(args, &context)?,
        Command::Score(args) => score::score(args, &context)?,
        Command::Check(args) => check::check_study(args, &context)?,
        Command::Demo(args) => demo::run_demo(args, &context)?,
        Command::Init(args) => init::init_study(args)?,
        Command::Ridge(args) => ridge::ridge(args, &context)?,
        Command::Resample(args) => resample::resample(args)?,
        Command::Delay(args) => delay::delay(args)?,
        Command::Features(args) => features::features(args, &context)?,
        #[cfg(feature = "language")]
        Command::Encoder(command) => encoder::encoder(command, &context)?,
        Command::Simulate(args) => simulate::simulate(args, &context)?,
        Command::Bench(args) => bench::bench(args, &context)?,
        Command::Devices => devices::devices(&context),
        Command::Export(args) => export::export(args)?,
        Command::Report(args) => report::report(args)?,
        Command::Show(args) => show::show(args)?,
    };
    if context.settings.json {
        let mut text = output.document.to_string();
        text.push('\n');
        console::print(&text);
    } else {
        console::print(&output.text);
    }
    Ok(())
}
