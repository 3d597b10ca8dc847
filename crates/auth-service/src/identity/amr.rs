//! How somebody proved who they are, in the words of RFC 8176.

use std::collections::BTreeSet;
use std::fmt;

/// One method of authentication. Its name is written here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Password,
    OneTimePassword,
    /// More than one factor. It is never given: it follows from the others.
    MultipleFactors,
}

impl Method {
    /// The reference value of RFC 8176.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::MultipleFactors => "mfa",
        }
    }
}

/// The methods by which somebody proved who they are: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amr(BTreeSet<Method>);

impl From<Method> for Amr {
    fn from(method: Method) -> Self {
        Self(BTreeSet::from([method]))
    }
}

impl Amr {
    /// With one method more. Two different ones are several factors, and RFC 8176 has a word for that.
    #[must_use]
    pub fn and(mut self, method: Method) -> Self {
        self.0.insert(method);
        if self.0.len() > 1 {
            self.0.insert(Method::MultipleFactors);
        }
        self
    }

    /// Whether they used this method.
    #[must_use]
    pub fn contains(&self, method: Method) -> bool {
        self.0.contains(&method)
    }
}

/// With spaces between, as the database has it.
impl fmt::Display for Amr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, method) in self.0.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{}", method.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_methods_are_several_factors_and_the_same_one_twice_is_not() {
        let password = Amr::from(Method::Password);
        assert_eq!(password.to_string(), "pwd");
        assert_eq!(password.clone().and(Method::Password), password);
        let both = password.and(Method::OneTimePassword);
        assert_eq!(both.to_string(), "pwd otp mfa");
        assert!(both.contains(Method::MultipleFactors));
    }
}
