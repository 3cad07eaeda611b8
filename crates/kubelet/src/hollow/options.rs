//! What hollow nodes are given: the clock, and how the pods on them fare.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Says how a pod fares, by its name.
pub type Conduct = Arc<dyn Fn(&PodName<'_>) -> Fate + Send + Sync>;

/// Which pod is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodName<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Image of its first container.
    pub image: &'a str,
}

/// How a pod fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// From when it is bound until it is Ready; `None`: it never is.
    pub ready_after: Option<Duration>,
    /// A time in which it is not Ready, afterwards.
    pub lapse: Option<Lapse>,
    /// From when it is asked to go until it is gone.
    pub gone_after: Duration,
}

/// A time in which a pod that was Ready is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapse {
    /// From Ready until it begins.
    pub after: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// Settings of [`super::run`].
#[derive(Clone)]
pub struct Options {
    /// The time of day; a simulation gives its own.
    pub clock: Clock,
    /// How pods fare.
    pub conduct: Conduct,
}

impl Default for Options {
    /// Real time; pods are Ready at once, and gone at once.
    fn default() -> Self {
        let at_once = Fate { ready_after: Some(Duration::ZERO), ..Fate::default() };
        Self { clock: Arc::new(Timestamp::now), conduct: Arc::new(move |_| at_once) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}
