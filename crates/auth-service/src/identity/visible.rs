//! What a person types and others see: the names of people, their addresses, what they call a device.
//!
//! Such a text shows all that is in it. What hides, or turns the text around it, is refused wherever it stands; the two
//! characters that join and part letters are good where the letters beside them change by it (RFC 5892 A.1, A.2), and
//! where one makes a single picture of several (UAX #29, GB11).

use icu_normalizer::ComposingNormalizer;
use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, ExtendedPictographic, GeneralCategory,
    GraphemeClusterBreak, JoiningType,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Persian parts letters with it.
const NON_JOINER: char = '\u{200c}';
/// Sinhala joins letters with it, and an emoji is made of others with it.
const JOINER: char = '\u{200d}';

/// The text composed (NFC): as long as it looks, on whatever keyboard it was typed.
#[must_use]
pub fn composed(text: &str) -> String {
    ComposingNormalizer::new_nfc().normalize(text).into_owned()
}

/// Whether a text has something to see, nothing that is not seen, and at most this many characters when it is
/// composed.
///
/// There are letters that composing takes apart. Accounts of before have names that were counted as they were typed, so
/// that is good too.
#[must_use]
pub fn is_visible(text: &str, most: usize) -> bool {
    let composed: Vec<char> = composed(text).chars().collect();
    (composed.len() <= most || text.chars().count() <= most)
        && composed.iter().any(|c| !c.is_whitespace() && !is_ignorable(*c))
        && (0..composed.len()).all(|at| {
            let (before, after) = (&composed[..at], &composed[at + 1..]);
            match composed[at] {
                NON_JOINER => follows_virama(before) || is_between_joining(before, after),
                JOINER => follows_virama(before) || is_between_pictures(before, after),
                c => is_seen(c),
            }
        })
}

/// The same of a part of such a text, which may end between a letter and what joins it to the next one.
#[must_use]
pub fn is_part_of_visible(text: &str) -> bool {
    text.chars().all(|c| matches!(c, NON_JOINER | JOINER) || is_seen(c))
}

/// Neither control, format, surrogate, private use nor unassigned.
pub(super) fn is_seen(c: char) -> bool {
    !matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Unassigned
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Whether nothing is drawn for it.
pub(super) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Whether the last letter lacks its vowel by a sign for that, and may so be written together with the next.
fn follows_virama(before: &[char]) -> bool {
    let class = CodePointMapData::<CanonicalCombiningClass>::new();
    before.last().is_some_and(|c| class.get(*c) == CanonicalCombiningClass::Virama)
}

/// Whether the letters on both sides would be joined, marks above and below them left aside.
fn is_between_joining(before: &[char], after: &[char]) -> bool {
    let (first, second) = (joining_type(before.iter().rev()), joining_type(after.iter()));
    matches!(first, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(second, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// How the first letter is joined.
fn joining_type<'a>(text: impl Iterator<Item = &'a char>) -> Option<JoiningType> {
    let joining = CodePointMapData::<JoiningType>::new();
    text.map(|c| joining.get(*c)).find(|kind| *kind != JoiningType::Transparent)
}

/// Whether there is a picture on both sides, colours and the like of the first left aside.
fn is_between_pictures(before: &[char], after: &[char]) -> bool {
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    let breaks = CodePointMapData::<GraphemeClusterBreak>::new();
    let first = before.iter().rfind(|c| breaks.get(**c) != GraphemeClusterBreak::Extend);
    [first, after.first()].iter().all(|c| c.is_some_and(|c| pictures.contains(*c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_joined_and_parted_where_that_shows() {
        for good in [
            // Persian: ya and ra; he and he; marks between.
            "علی\u{200c}رضا",
            "نامه\u{200c}ها",
            "عل\u{64a}\u{64e}\u{200c}\u{650}رضا",
            // Sinhala and Devanagari: after what takes the vowel away.
            "ශ්\u{200d}රී",
            "क्\u{200d}ष",
            "क्\u{200c}ष",
            "👩\u{200d}💻",
            "👩🏽\u{200d}🚀 of Ada",
            "❤\u{fe0f}\u{200d}🔥",
            "👨\u{200d}👩\u{200d}👧",
        ] {
            assert!(is_visible(good, 64), "{good:?}");
        }
        for bad in [
            "a\u{200c}b",
            "a\u{200d}b",
            "\u{200c}علی",
            "علی\u{200c}",
            "علی\u{200c}\u{200c}رضا",
            "علی\u{200c} رضا",
            "علی\u{200d}رضا",
            // Nothing is joined to a letter after it.
            "د\u{200c}ر",
            "ශ\u{200d}රී",
            "\u{200d}",
            "👩\u{200d}",
            "👩\u{200d}a",
            "a\u{200d}💻",
        ] {
            assert!(!is_visible(bad, 64), "{bad:?}");
        }
    }

    #[test]
    fn what_hides_or_turns_the_text_is_not_seen() {
        for c in "\0\n\u{1b}\u{7f}\u{85}\u{ad}\u{61c}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}\u{202a}\u{202e}\u{2060}\
                  \u{2066}\u{2069}\u{feff}\u{fffb}\u{e000}\u{e0041}\u{378}"
            .chars()
        {
            assert!(!is_visible(&format!("a{c}b"), 64), "{c:?}");
            assert!(!is_part_of_visible(&format!("a{c}b")), "{c:?}");
        }
        for nothing in ["", " ", "\u{a0}\u{3000}", "\u{3164}", "\u{fe0f} \u{34f}"] {
            assert!(!is_visible(nothing, 64), "{nothing:?}");
        }
    }

    #[test]
    fn a_text_is_as_long_as_it_looks() {
        for (short, long) in [
            ("e\u{301}".repeat(64), "e\u{301}".repeat(65)),
            // Three code points for each syllable.
            ("\u{1112}\u{1161}\u{11ab}".repeat(64), "\u{1112}\u{1161}\u{11ab}".repeat(65)),
            // Composed it is two.
            ("\u{958}".repeat(64), "\u{958}".repeat(65)),
        ] {
            assert!(is_visible(&short, 64) && !is_visible(&long, 64), "{short}");
        }
    }
}
