//! The administrator's bearer token, kept across restarts.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

/// Bytes of randomness in a token that we make.
const RANDOM_BYTES: usize = 32;

/// The token asked for, else the one that is kept in the directory, else a new one, which is then kept.
pub(crate) fn choose(asked: Option<&str>, dir: &Path) -> Result<String> {
    if let Some(token) = asked {
        let printable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(printable, "the token given with --token must be printable ASCII without blanks");
        return Ok(token.to_owned());
    }
    let path = dir.join("token");
    let kept = match fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().to_owned()).filter(|token| !token.is_empty()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read the token in {}", path.display())),
    };
    if let Some(token) = kept {
        return Ok(token);
    }
    let bytes: [u8; RANDOM_BYTES] = rand::random();
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    file.write_all(token.as_bytes()).with_context(|| format!("cannot keep the token in {}", path.display()))?;
    Ok(token)
}
