//! What came of checks.

/// What came of a part.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// What was not checked, and why.
    pub(crate) unchecked: Vec<String>,
}

impl Outcome {
    /// A part that is one check.
    pub(crate) fn passed() -> Self {
        Self::one(true)
    }

    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.unchecked.extend(other.unchecked);
    }
}
