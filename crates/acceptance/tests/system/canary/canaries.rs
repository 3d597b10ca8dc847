//! Secrets that are looked for where none may be, in every form that a careless program gives them.

use std::collections::{BTreeSet, HashMap};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for is found by its beginning, so each form has at least so many bytes.
const BEGINNING: usize = 8;

/// Something that was written somewhere, and what may stand in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The kind of canary that belongs here, if any: an address in the table of users.
    pub(crate) allowed: Option<&'static str>,
}

impl Place {
    /// One where nothing may stand.
    pub(crate) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), allowed: None }
    }

    /// One where canaries of this kind may stand.
    pub(crate) fn allowing(self, kind: &'static str) -> Self {
        Self { allowed: Some(kind), ..self }
    }
}

/// All canaries, in all forms.
#[derive(Debug, Default)]
pub(crate) struct Canaries {
    known: Vec<(&'static str, String)>,
    /// Which canary, what form, how it begins and goes on.
    forms: Vec<(usize, &'static str, Vec<u8>)>,
    by_beginning: HashMap<[u8; BEGINNING], Vec<usize>>,
}

impl Canaries {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, kind: &'static str, name: &str, text: &str) {
        let json = json(text);
        let forms = [
            ("JSON", json.clone().into_bytes()),
            ("JSON in JSON", self::json(&json).into_bytes()),
            ("JSON in ASCII", ascii_json(text).into_bytes()),
            ("debug", trimmed(&format!("{text:?}")).into_bytes()),
            ("percent", percent(text, false).into_bytes()),
            ("percent, lower case", percent(text, false).to_lowercase().into_bytes()),
            ("form", percent(text, true).into_bytes()),
            ("SQL", text.replace('\'', "''").into_bytes()),
        ];
        self.add(kind, name, text.as_bytes(), forms.to_vec());
    }

    /// Adds a key.
    pub(crate) fn bytes(&mut self, kind: &'static str, name: &str, bytes: &[u8]) {
        self.add(kind, name, bytes, Vec::new());
    }

    fn add(
        &mut self,
        kind: &'static str,
        name: &str,
        bytes: &[u8],
        mut forms: Vec<(&'static str, Vec<u8>)>,
    ) {
        let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let list = format!("{bytes:?}");
        forms.push(("as it is", bytes.to_vec()));
        forms.push(("hex", hex.to_uppercase().into_bytes()));
        forms.push(("hex", hex.into_bytes()));
        forms.push(("list of bytes", trimmed(&list).into_bytes()));
        for offset in 0..3 {
            forms.push(("base64", base64_within(&STANDARD_NO_PAD, bytes, offset)));
            forms.push(("base64url", base64_within(&URL_SAFE_NO_PAD, bytes, offset)));
        }
        let which = self.known.len();
        self.known.push((kind, name.to_owned()));
        let mut seen = BTreeSet::new();
        for (form, bytes) in forms {
            let beginning = bytes.first_chunk::<BEGINNING>().copied();
            let beginning = beginning.unwrap_or_else(|| panic!("{name} is too short to look for"));
            if seen.insert(bytes.clone()) {
                self.by_beginning.entry(beginning).or_default().push(self.forms.len());
                self.forms.push((which, form, bytes));
            }
        }
    }

    /// Each canary that is where it may not be, with what stands before it.
    pub(crate) fn found<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> Vec<String> {
        // Most positions are ruled out by two bytes.
        let mut pairs = vec![false; 1 << 16];
        for beginning in self.by_beginning.keys() {
            pairs[pair(*beginning)] = true;
        }
        let mut found = Vec::new();
        for place in places {
            let mut here = BTreeSet::new();
            for at in 0..place.bytes.len() {
                let rest = &place.bytes[at..];
                let Some(beginning) = rest.first_chunk::<BEGINNING>() else { break };
                if !pairs[pair(*beginning)] {
                    continue;
                }
                let Some(forms) = self.by_beginning.get(beginning) else { continue };
                let mut forms = forms.iter().map(|form| &self.forms[*form]);
                while let Some((which, form, _)) = forms.find(|form| rest.starts_with(&form.2)) {
                    let (kind, name) = &self.known[*which];
                    if place.allowed != Some(kind) && here.insert((which, form)) {
                        let before = &place.bytes[at.saturating_sub(100)..at];
                        let before = String::from_utf8_lossy(before);
                        let place = &place.name;
                        found.push(format!("{kind} {name}, {form}, in {place} after {before:?}"));
                    }
                }
            }
        }
        found
    }
}

fn pair(beginning: [u8; BEGINNING]) -> usize {
    usize::from(beginning[0]) << 8 | usize::from(beginning[1])
}

/// Without the first and the last character.
fn trimmed(text: &str) -> String {
    let mut characters = text.chars();
    characters.next();
    characters.next_back();
    characters.as_str().to_owned()
}

fn json(text: &str) -> String {
    trimmed(&serde_json::Value::from(text).to_string())
}

fn ascii_json(text: &str) -> String {
    let mut units = [0; 2];
    json(text).chars().fold(String::new(), |escaped, c| {
        if c.is_ascii() {
            return format!("{escaped}{c}");
        }
        let units = c.encode_utf16(&mut units).iter();
        units.fold(escaped, |escaped, unit| format!("{escaped}\\u{unit:04x}"))
    })
}

fn percent(text: &str, form: bool) -> String {
    text.bytes().fold(String::new(), |encoded, byte| match byte {
        b' ' if form => format!("{encoded}+"),
        b'-' | b'.' | b'_' | b'~' => format!("{encoded}{}", char::from(byte)),
        byte if byte.is_ascii_alphanumeric() => format!("{encoded}{}", char::from(byte)),
        byte => format!("{encoded}%{byte:02X}"),
    })
}

/// What is left of it in the base64 of a longer text, in which `offset` bytes come before it.
fn base64_within(engine: &impl base64::Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let mut text = engine.encode([&vec![0; offset], bytes].concat()).into_bytes();
    if !(offset + bytes.len()).is_multiple_of(3) {
        text.pop();
    }
    text.split_off([0, 2, 3][offset])
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "pä\"ss 'w'örd+\\ 0123";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        canaries.text("password", "of ada", SECRET);
        canaries.bytes("key", "that signs", &[7, 200, 13, 0, 99, 255, 1, 2, 3, 4, 5, 6]);
        canaries
    }

    #[track_caller]
    fn assert_found(text: impl Into<Vec<u8>>, expected: bool) {
        let place = Place::new("a log", text);
        let found = canaries().found([&place]);
        assert_eq!(!found.is_empty(), expected, "{place:?}");
    }

    #[test]
    fn a_canary_is_found_in_every_form() {
        let json = serde_json::json!({ "password": SECRET }).to_string();
        let log = serde_json::json!({ "message": json }).to_string();
        for text in [
            format!("a line with {SECRET} in it"),
            json,
            log,
            format!("{SECRET:?}"),
            r#"{"password":"p\u00e4\"ss 'w'\u00f6rd+\\ 0123"}"#.to_owned(),
            "/login?password=p%C3%A4%22ss%20%27w%27%C3%B6rd%2B%5C%200123".to_owned(),
            "password=p%C3%A4%22ss+%27w%27%C3%B6rd%2B%5C+0123&x".to_owned(),
            format!("insert into t values ('{}')", SECRET.replace('\'', "''")),
            STANDARD.encode(format!("ada:{SECRET}")),
            STANDARD.encode(format!("adam:{SECRET}!")),
            URL_SAFE_NO_PAD.encode(format!("{SECRET}!!")),
            "\\x07c80d0063ff010203040506".to_owned(),
            "X'07C80D0063FF010203040506'".to_owned(),
            "[1, 7, 200, 13, 0, 99, 255, 1, 2, 3, 4, 5, 6, 9]".to_owned(),
        ] {
            assert_found(text, true);
        }
        assert_found([0, 7, 200, 13, 0, 99, 255, 1, 2, 3, 4, 5, 6], true);
        assert_found("pä\"ss 'w'örd+\\ 012", false);
        assert_found("", false);
    }

    #[test]
    fn a_canary_that_belongs_in_a_place_is_not_found_there_and_others_are() {
        let canaries = canaries();
        let here = |kind| [Place::new("a table", SECRET).allowing(kind)];
        assert!(canaries.found(&here("password")).is_empty());
        let found = canaries.found(&here("key"));
        assert_eq!(found, [r#"password of ada, as it is, in a table after """#]);
    }
}
