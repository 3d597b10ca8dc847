//! What came of checks.

/// What came of a part.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Lines on what failed, and how where that is known: the log is long, and some see only its end.
    pub(crate) failures: Vec<String>,
    /// What was not checked, and why.
    pub(crate) unchecked: Vec<String>,
    /// How long each part took, seconds.
    pub(crate) took: Vec<String>,
}

impl Outcome {
    /// A part that is one check.
    pub(crate) fn passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// A check that failed.
    pub(crate) fn failed(how: String) -> Self {
        Self { failed: 1, failures: vec![how], ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.unchecked.extend(other.unchecked);
        self.took.extend(other.took);
    }
}
