//! What a plan wants said about an object as an Event.

/// `type` of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `Normal`: something happened as it should.
    Normal,
    /// `Warning`: something did not.
    Warning,
}

impl Severity {
    /// The value of `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// An Event to be, without the object it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// `type` of the Event.
    pub severity: Severity,
    /// `reason` of the Event, such as `ScalingReplicaSet`.
    pub reason: &'static str,
    /// `message` of the Event.
    pub message: String,
}

impl Note {
    /// A note that all is well.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason, message: message.into() }
    }

    /// A note that something is not.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason, message: message.into() }
    }
}
