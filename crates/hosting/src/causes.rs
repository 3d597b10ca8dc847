//! An error with everything that caused it.

use std::error::Error;

/// The error and its causes in one line, for a log. An error of a library often says only what it is one of:
/// "client error (Connect)".
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        // Some messages repeat what caused them.
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the client failed")]
    struct Failed(#[source] Connect);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect: {0}")]
    struct Connect(#[source] io::Error);

    #[test]
    fn every_cause_is_told_and_none_twice() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Failed(Connect(refused));
        assert_eq!(causes(&error), "the client failed: cannot connect: connection refused");
    }
}
