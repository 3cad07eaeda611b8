//! `cargo xtask bench`: the figures of the project, with medians, spread and the ratio to what Kubernetes was measured at.

mod containers;
mod figure;
mod hollow;
mod machine;
mod network;
mod start;
mod writes;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use self::figure::Figure;
use crate::{
    process::execute,
    test::{cargo, target_dir},
};

/// What to measure; everything by default.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these figures, such as F1 or F10.
    figures: Vec<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What every measurement is given.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) runs: u32,
}

type Measure = fn(&Bench, &tokio::runtime::Runtime) -> Result<Vec<Figure>>;

/// Figures by the measurement that yields them.
const MEASURES: [(&[&str], Measure); 7] = [
    (&["F1", "F2", "F12"], start::measure),
    (&["F3", "F4", "F5", "F6"], hollow::measure),
    (&["F7", "F8"], containers::rollout),
    (&["F9"], network::kept),
    (&["F10"], containers::start),
    (&["F11"], writes::measure),
    (&["N1"], network::latency),
];

pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = options.binary.clone().map_or_else(build, Ok)?;
    let bench = Bench { binary, runs: options.runs };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (figures, measure) in MEASURES {
        let wanted =
            options.figures.is_empty() || figures.iter().any(|figure| options.figures.iter().any(|asked| asked == figure));
        if wanted {
            for figure in measure(&bench, &runtime).with_context(|| format!("measuring {}", figures.join(", ")))? {
                println!("{figure}");
            }
        }
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    execute(cargo().args(["build", "--release", "--package", "windlass"]))?;
    Ok(target_dir()?.join("release/windlass"))
}
