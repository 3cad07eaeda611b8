//! `$(VAR)` in commands, arguments, environment values and paths below volumes.

use std::collections::BTreeSet;

/// Replaces each `$(NAME)` that `lookup` knows; `$$` stands for one `$`, and an unknown name stays as it is written.
pub fn expand<'a>(text: &str, mut lookup: impl FnMut(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some((name, after)) = reference {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    out
}

/// [`expand`]s where every name must have a value, and no empty one: in `subPathExpr`.
///
/// # Errors
/// The names that have none.
pub fn expand_all<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> Result<String, BTreeSet<String>> {
    let mut missing = BTreeSet::new();
    let expanded = expand(text, |name| {
        let value = lookup(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.insert(name.to_owned());
        }
        value
    });
    if missing.is_empty() { Ok(expanded) } else { Err(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_upstream() {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            "NESTED" => Some("$(A)"),
            _ => None,
        };
        for (text, expected) in [
            ("$(A)", "1"),
            ("x-$(A)-y", "x-1-y"),
            ("$(EMPTY)!", "!"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$(NESTED)", "$(A)"),
            ("", ""),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    #[test]
    fn a_path_needs_all_its_values() {
        let lookup =
            |name: &str| [("A", "1"), ("EMPTY", "")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        assert_eq!(expand_all("x/$(A)/$$(NOPE)", lookup), Ok("x/1/$(NOPE)".to_owned()));
        let missing = ["EMPTY", "NOPE"].map(str::to_owned).into();
        assert_eq!(expand_all("$(NOPE)/$(A)/$(EMPTY)/$(NOPE)", lookup), Err(missing));
    }
}
