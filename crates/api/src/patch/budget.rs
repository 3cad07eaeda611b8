//! What a JSON patch may cost: a few bytes of it can copy the object into itself, again and again.

use json_patch::PatchOperation;
use serde_json::Value;

/// Upstream's limit of what all copies of a patch make together, in bytes of JSON.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// As deep as a body may be: what is deeper could be stored, and never read again.
pub(super) const MAX_DEPTH: usize = 128;
/// Values looked at to see how deep they are, over all operations of a patch: as many as make a second's work.
const MAX_MEASURED: usize = 10_000_000;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget {
    copied_bytes: usize,
    measured: usize,
    /// The object is no deeper than this.
    depth: usize,
}

impl Budget {
    pub(super) fn of(object: &Value) -> Self {
        let mut budget = Self { copied_bytes: 0, measured: 0, depth: 0 };
        budget.depth = budget.depth_of(object);
        budget
    }

    /// Pays for an operation on the object as it is now.
    ///
    /// # Errors
    /// What is too much.
    pub(super) fn pay(&mut self, object: &Value, operation: &PatchOperation) -> Result<(), String> {
        let (place, value, from) = match operation {
            PatchOperation::Add(add) => (&add.path, Some(&add.value), None),
            PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value), None),
            PatchOperation::Copy(copy) => (&copy.path, object.pointer(copy.from.as_str()), None),
            PatchOperation::Move(moved) => (&moved.path, object.pointer(moved.from.as_str()), Some(&moved.from)),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        };
        // An operation without a target fails by itself.
        let Some(value) = value else { return Ok(()) };
        if let PatchOperation::Copy(_) = operation {
            self.copied_bytes = self.copied_bytes.saturating_add(bytes_of(value, MAX_COPIED_BYTES));
            if self.copied_bytes > MAX_COPIED_BYTES {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {MAX_COPIED_BYTES}",
                    self.copied_bytes
                ));
            }
        }
        let at = segments(place.as_str());
        // What is moved is no deeper than the object is below it: most moves need no measuring.
        let known = from.map(|from| at + self.depth.saturating_sub(segments(from.as_str())));
        let depth = known.filter(|depth| *depth <= MAX_DEPTH).unwrap_or_else(|| at + self.depth_of(value));
        if self.measured > MAX_MEASURED {
            return Err(format!("the patch takes looking at more than {MAX_MEASURED} values"));
        }
        self.depth = self.depth.max(depth);
        if self.depth > MAX_DEPTH { Err(format!("the object would be more than {MAX_DEPTH} levels deep")) } else { Ok(()) }
    }

    fn depth_of(&mut self, value: &Value) -> usize {
        self.measured = self.measured.saturating_add(1);
        let below = match value {
            Value::Array(items) => items.iter().map(|item| self.depth_of(item)).max(),
            Value::Object(fields) => fields.values().map(|field| self.depth_of(field)).max(),
            _ => return 0,
        };
        1 + below.unwrap_or(0)
    }
}

/// Levels between the object and what the pointer leads to.
fn segments(pointer: &str) -> usize {
    pointer.matches('/').count()
}

/// The JSON's length, as far as it matters.
fn bytes_of(value: &Value, most: usize) -> usize {
    struct Counter(usize, usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            if self.0 > self.1 { Err(std::io::Error::other("more than matters")) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0, most);
    // It only fails past `most`, and has counted enough by then.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}
