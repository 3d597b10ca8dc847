//! Where randomness comes from.

/// Random bytes from the operating system's generator.
///
/// # Panics
/// When the operating system has none to give: nothing this service does is safe then.
#[must_use]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A number from 0 to `most`, near enough to uniform for spreading load.
#[must_use]
pub(crate) fn up_to(most: u64) -> u64 {
    u64::from_le_bytes(bytes()) % (most + 1)
}
