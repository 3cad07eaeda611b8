//! Images from a registry.
use crate::Test;
pub(crate) const TESTS: &[Test] = &[];
