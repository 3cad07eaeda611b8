//! How a session ended, as clients are told.

use serde_json::{Value, json};

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// The command ended with another exit code than 0.
    Exited {
        command: Vec<String>,
        exit_code: i32,
    },
    /// It did not come to that.
    Failed(String),
}

impl Outcome {
    /// A `Status`, as clients expect it from `v4.channel.k8s.io` on.
    pub(super) fn status(&self) -> Value {
        match self {
            Self::Success => json!({ "metadata": {}, "status": "Success" }),
            Self::Exited { exit_code, .. } => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.text(),
                "reason": "NonZeroExitCode",
                "details": { "causes": [{ "reason": "ExitCode", "message": exit_code.to_string() }] },
            }),
            Self::Failed(why) => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.text(),
                "reason": "InternalError",
                "details": { "causes": [{ "message": why }] },
                "code": 500,
            }),
        }
    }

    /// What older clients are told: nothing on success.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Success => String::new(),
            Self::Exited { command, exit_code } => format!(
                "command terminated with non-zero exit code: error executing command [{}], exit code {exit_code}",
                command.join(" ")
            ),
            Self::Failed(why) => format!("Internal error occurred: {why}"),
        }
    }
}
