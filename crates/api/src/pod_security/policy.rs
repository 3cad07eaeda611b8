//! What the labels of a namespace say: which level holds, of which version, for whom it refuses and whom it warns.

use std::fmt;

use serde_json::Value;

use crate::validation::{Cause, FieldError};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is asked of pods; the later, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Privileged,
    /// No known way to more privileges than a pod has by default.
    Baseline,
    /// Best practice, too.
    Restricted,
}

/// As of which Kubernetes 1.x the standards are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// That minor version; one that is still to come means the newest that is known.
    Minor(u64),
    /// The newest.
    Latest,
}

/// A level as of a version, shown as `restricted:latest` or `baseline:v1.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelVersion {
    /// How much is asked.
    pub level: Level,
    /// As of when.
    pub version: Version,
}

/// What holds in a namespace. `audit` is checked for mistakes, and nothing else comes of it: there is no log of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break it are refused.
    pub enforce: LevelVersion,
    /// Who makes what breaks it is warned.
    pub warn: LevelVersion,
}

impl Level {
    const ALL: [Self; 3] = [Self::Privileged, Self::Baseline, Self::Restricted];

    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let minor: i64 = digits.parse().ok().filter(|_| plain)?;
        u64::try_from(minor).ok().map(Self::Minor)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level.name()),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
        }
    }
}

impl Policy {
    /// What these labels of a namespace say, and what is wrong with them. Where nothing is said, nothing is asked; where it is
    /// said wrongly, pods are refused by the strictest level, and nobody is warned.
    pub fn of(labels: &Value) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let enforce = mode(labels, "enforce", Level::Restricted, &mut errors);
        mode(labels, "audit", Level::Privileged, &mut errors);
        let warn = mode(labels, "warn", Level::Privileged, &mut errors);
        (Self { enforce, warn }, errors)
    }
}

/// What is said of one mode; `doubt` is the level where that cannot be understood.
fn mode(labels: &Value, mode: &str, doubt: Level, errors: &mut Vec<FieldError>) -> LevelVersion {
    let mut wrong = |label: &str, text: &str, detail: &str| {
        let field = format!("metadata.labels[{label}]");
        errors.push(FieldError { cause: Cause::Invalid, field, bad_value: text.into(), detail: detail.to_owned() });
    };
    let mut said = LevelVersion { level: Level::Privileged, version: Version::Latest };
    let label = format!("{PREFIX}{mode}");
    if let Some(text) = labels[&label].as_str() {
        said.level = Level::ALL.into_iter().find(|level| level.name() == text).unwrap_or_else(|| {
            wrong(&label, text, "must be one of privileged, baseline, restricted");
            doubt
        });
    }
    let label = format!("{PREFIX}{mode}-version");
    if let Some(text) = labels[&label].as_str() {
        said.version = Version::parse(text).unwrap_or_else(|| {
            wrong(&label, text, "must be \"latest\" or \"v1.x\"");
            Version::Latest
        });
    }
    said
}
