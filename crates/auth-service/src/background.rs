//! What runs beside the answers.

pub(crate) mod clock_watch;
pub(crate) mod housekeeping;
pub(crate) mod supervisor;
