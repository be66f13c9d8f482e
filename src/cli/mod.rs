//! The command line: flags in, exit code out. The only module that prints.

pub mod args;
mod arrays;
mod bench;
mod cluster;
pub mod cluster_args;
mod console;
mod demo;
mod devices;
#[cfg(feature = "language")]
mod encoder;
#[cfg(feature = "language")]
pub mod encoder_args;
mod export;
mod features;
mod heap;
mod init;
mod predict;
mod report;
mod ridge;
mod settings;
pub mod show;
mod study;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use heap::give_back_large_blocks;

use args::{Cli, Command, LockArgs};
use console::Console;
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
            Some(shard) => cluster::shard(args, shard, &context)?,
            None => study::run_study(args, &context)?,
        },
        Command::Plan(args) => cluster::plan(args, &context)?,
        Command::Merge(args) => cluster::merge_shards(args, &context)?,
        Command::Slurm(args) => cluster::slurm(args, &context)?,
        Command::Predict(args) => predict::predict(args, &context)?,
        Command::Score(args) => predict::score(args, &context)?,
        Command::Check(args) => study::check_study(args, &context)?,
        Command::Demo(args) => demo::run_demo(args, &context)?,
        Command::Init(args) => init::init_study(args)?,
        Command::Ridge(args) => ridge::ridge(args, &context)?,
        Command::Resample(args) => arrays::resample(args)?,
        Command::Delay(args) => arrays::delay(args)?,
        Command::Features(args) => features::features(args, &context)?,
        #[cfg(feature = "language")]
        Command::Encoder(command) => encoder::encoder(command, &context)?,
        Command::Simulate(args) => features::simulate(args, &context)?,
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
