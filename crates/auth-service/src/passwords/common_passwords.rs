//! The passwords that are tried first: Django's list (see `common_passwords.LICENSE`), and what
//! people make of one when it is refused.

/// One a line, folded as names are, sorted by bytes.
const LIST: &str = include_str!("common_passwords.txt");
/// Two entries side by side are no better than one. Shorter ones occur in any sentence.
const LEAST_OF_TWO: usize = 4;
/// No entry has more characters.
const LONGEST: usize = 66;
/// So many characters at each end may be the entry's own.
const KEPT: usize = 4;

/// Whether a folded password is an entry, or two, or one again and again, with or without digits,
/// punctuation and spaces around and between.
pub(crate) fn is_variation(password: &str) -> bool {
    let bare: String = password.chars().filter(|c| !is_padding(*c)).collect();
    // Nothing but padding; such entries as 111222 are told by no letter.
    if bare.is_empty() {
        return true;
    }
    is_made_of_entries(&bare) || stripped(password).any(is_made_of_entries)
}

fn is_made_of_entries(text: &str) -> bool {
    let cuts = || text.char_indices().map(|(at, _)| at).skip(1).take(LONGEST);
    let is_long = |part: &str| part.chars().count() >= LEAST_OF_TWO;
    contains(text)
        || cuts().any(|at| repeats(text, at) && contains(&text[..at]))
        || cuts().any(|at| {
            let (one, other) = text.split_at(at);
            is_long(one) && is_long(other) && contains(one) && contains(other)
        })
}

/// Whether `text` is its first `length` bytes, over and over.
fn repeats(text: &str, length: usize) -> bool {
    let text = text.as_bytes();
    text.len().is_multiple_of(length) && text.chunks(length).all(|piece| piece == &text[..length])
}

/// `text` with the padding at its ends taken off, but for a few characters more or less:
/// `trustno1!!!` is padded with three characters and not with four.
fn stripped(text: &str) -> impl Iterator<Item = &str> {
    let core = text.trim_matches(is_padding);
    let from = text.len() - text.trim_start_matches(is_padding).len();
    let to = from + core.len();
    // Padding is ASCII, so that every byte of it is a character.
    let (first, last) = (from.saturating_sub(KEPT), text.len().min(to + KEPT));
    (first..=from).flat_map(move |start| (to..=last).map(move |end| &text[start..end]))
}

fn is_padding(c: char) -> bool {
    c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' '
}

/// Looks the middle line up, again and again. The list needs no memory but the program's.
fn contains(entry: &str) -> bool {
    let mut rest = LIST.as_bytes();
    while !rest.is_empty() {
        let middle = rest.len() / 2;
        let start = rest[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let length = rest[start..].iter().position(|byte| *byte == b'\n');
        let end = length.map_or(rest.len(), |length| start + length);
        match entry.as_bytes().cmp(&rest[start..end]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest = &rest[..start],
            std::cmp::Ordering::Greater => rest = rest.get(end + 1..).unwrap_or_default(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::names;

    #[test]
    fn the_list_is_in_order_and_as_names_are_folded_and_all_of_it_is_found() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.len() > 19_000 && LIST.ends_with('\n'));
        assert!(lines.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "sorted, each once");
        for line in lines {
            assert_eq!(names::fold(line), line);
            assert!(contains(line), "{line}");
            assert!(line.chars().count() <= LONGEST);
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_not_found() {
        for text in ["", "\n", "password\n", "passwor", "passwordd", "zzzzzzzzzzzz", "~", "привет!"]
        {
            assert!(!contains(text), "{text:?}");
        }
        assert!(contains("привет"));
    }

    #[test]
    fn what_people_make_of_one_is_seen_through() {
        for text in [
            "password",
            "password1234567",
            "1234 password !?",
            "p.a.s.s.w.o.r.d",
            "trustno1!!!!!!!!",
            "!!!trustno1 2024",
            "trustno1trustno1",
            "iloveyou iloveyou",
            "letmein-letmein-letmein",
            "sunshine princess 99",
            "sunshineprincess",
            "привет привет 1",
            "8675309 8675309 0",
            "",
        ] {
            assert!(is_variation(text), "{text}");
        }
    }

    #[test]
    fn sentences_and_other_scripts_are_left_alone() {
        for text in [
            "correct horse battery",
            "correct horse battery staple",
            "a quite ordinary sentence",
            "dragon sunshine monkey football",
            "rain cat",
            "ぱすわーどはながいほうがいいです",
            "雨降夜長月清風松竹梅桜花鳥山川",
            "пароль был длинный",
            "password of the month club",
            "every word counts every word counts",
        ] {
            assert!(!is_variation(text), "{text}");
        }
    }
}
