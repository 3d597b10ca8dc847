//! The trace that a request belongs to, as its caller says (W3C Trace Context §3.2).

use actix_web::http::header::HeaderMap;

use crate::cors::TRACEPARENT;

/// Where a caller is in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traceparent<'a> {
    /// 32 hexadecimal digits, not all zero.
    pub(crate) trace: &'a str,
    /// The span of the caller: 16 of them.
    pub(crate) parent: &'a str,
    /// Whether the caller keeps its own part of the trace.
    pub(crate) sampled: bool,
}

impl<'a> Traceparent<'a> {
    /// What the header says; `None` unless there is exactly one, and it is valid.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT);
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let mut parts = value.to_str().ok()?.splitn(4, '-');
        let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let rest = parts.next()?;
        let flags = rest.get(..2)?;
        // A later version may say more, after another hyphen.
        let ends = rest.len() == 2 || (version != "00" && rest.as_bytes()[2] == b'-');
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let valid = hex(version, 2)
            && version != "ff"
            && hex(trace, 32)
            && hex(parent, 16)
            && hex(flags, 2)
            && ends
            && !zero(trace)
            && !zero(parent);
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        valid.then_some(Self { trace, parent, sampled })
    }
}

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_a_valid_trace_is_continued() {
        for (value, sampled) in [
            (format!("00-{TRACE}-{PARENT}-01"), true),
            (format!("00-{TRACE}-{PARENT}-00"), false),
            (format!("00-{TRACE}-{PARENT}-03"), true),
            (format!("00-{TRACE}-{PARENT}-fe"), false),
            (format!("cc-{TRACE}-{PARENT}-01-later"), true),
        ] {
            let expected = Traceparent { trace: TRACE, parent: PARENT, sampled };
            assert_eq!(Traceparent::of(&headers(&[&value])), Some(expected), "{value}");
        }
        for bad in [
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("cc-{TRACE}-{PARENT}-01.more"),
            format!("00-{TRACE}-{PARENT}-0"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}0-{PARENT}-01"),
            "-".repeat(55),
            String::new(),
        ] {
            assert_eq!(Traceparent::of(&headers(&[&bad])), None, "{bad}");
        }
    }

    #[test]
    fn of_two_traces_none_is_continued() {
        let one = format!("00-{TRACE}-{PARENT}-01");
        assert_eq!(Traceparent::of(&headers(&[&one, &one])), None);
        assert_eq!(Traceparent::of(&headers(&[])), None);
    }
}
