//! One figure: what was measured, how often, and how it stands to Kubernetes.

use std::fmt;

/// Samples of one quantity.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<f64>,
    /// What Kubernetes 1.36.2 was measured at, in the same unit.
    pub(crate) kubernetes: Option<f64>,
    /// What Windlass must reach, in the same unit.
    pub(crate) target: f64,
}

impl Figure {
    fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, unit) = (self.median(), self.unit);
        let least = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(
            f,
            "{:<4} {:<56} {median:>9.2} {unit}  ({least:.2} to {most:.2}, n={})",
            self.name,
            self.what,
            self.samples.len()
        )?;
        write!(f, "  target {:.2} {unit}", self.target)?;
        match self.kubernetes {
            // Of a rate, more is better.
            Some(kubernetes) if unit.starts_with("1/") => write!(f, "  Windlass / Kubernetes {:.1}", median / kubernetes),
            Some(kubernetes) if median > 0.0 => write!(f, "  Kubernetes / Windlass {:.1}", kubernetes / median),
            Some(kubernetes) => write!(f, "  Kubernetes {kubernetes} {unit}"),
            None => Ok(()),
        }
    }
}
