//! What is wrong with a query: the words that it is about, what is wrong with them, and what to write instead.

use std::fmt::Write as _;
use std::ops::Range;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// As many cells of a line are shown.
const SHOWN: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text. Empty where something is missing.
    pub at: Range<usize>,
    pub message: String,
    pub remedy: Option<String>,
}

impl Fault {
    pub fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: None }
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The message, the line of `text` with carets under the words, and the remedy.
    pub fn render(&self, text: &str) -> String {
        let from = floor(text, self.at.start);
        let to = floor(text, self.at.end).max(from);
        let start = text[..from].rfind('\n').map_or(0, |at| at + 1);
        let end = text[from..].find('\n').map_or(text.len(), |at| from + at);
        // A word that goes over several lines is marked on its first.
        let before = plain(&text[start..from]);
        let word = plain(&text[from..to.min(end)]);
        let after = plain(&text[to.min(end)..end]);
        let (before, after) = crop(&before, &word, &after);
        let number = (text.contains('\n')).then(|| text[..start].matches('\n').count() + 1);
        let margin = number.map_or_else(String::new, |number| format!("{number} | "));
        let carets = "^".repeat(word.width().clamp(1, SHOWN));
        let indent = " ".repeat(margin.width() + before.width());
        let mut out =
            format!("{}\n{}\n{indent}{carets}", self.message, format!("{margin}{before}{word}{after}").trim_end());
        if let Some(remedy) = &self.remedy {
            let _ = write!(out, "\n{remedy}");
        }
        out
    }
}

/// The offered name that was most likely meant.
pub(super) fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of both lengths, and no name is that long.
    if word.len() > 100 {
        return None;
    }
    let lower = word.to_lowercase();
    let far = (lower.len() / 3).max(1);
    among
        .into_iter()
        .filter(|name| name.len().abs_diff(lower.len()) <= far)
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Control characters have no width that is the same everywhere: a blank stands for each.
fn plain(text: &str) -> String {
    text.trim_end_matches('\r').chars().map(|c| if c.width().is_none() { ' ' } else { c }).collect()
}

/// What is shown of a long line: the word and some of what stands beside it.
fn crop(before: &str, word: &str, after: &str) -> (String, String) {
    if before.width() + word.width() + after.width() <= SHOWN {
        return (before.to_owned(), after.to_owned());
    }
    let room = SHOWN.saturating_sub(word.width()) / 2;
    let fits = |used: &mut usize, c: char| {
        *used += c.width().unwrap_or(0);
        *used <= room
    };
    let (mut left, mut right) = (0, 0);
    let mut kept: String = before.chars().rev().take_while(|c| fits(&mut left, *c)).collect();
    if kept.len() < before.len() {
        kept.push('…');
    }
    let mut rest: String = after.chars().take_while(|c| fits(&mut right, *c)).collect();
    if rest.len() < after.len() {
        rest.push('…');
    }
    (kept.chars().rev().collect(), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str, word: &str) -> String {
        let from = text.find(word).unwrap();
        Fault::new(from..from + word.len(), "Wrong.").remedy("Do this.").render(text)
    }

    #[test]
    fn carets_stand_under_the_word() {
        assert_eq!(render("SELECT a FROM b", "FROM"), "Wrong.\nSELECT a FROM b\n         ^^^^\nDo this.");
    }

    #[test]
    fn the_line_of_the_word_is_shown_with_its_number() {
        assert_eq!(render("SELECT a\r\nFROM b\r\nLIMIT 0", "b"), "Wrong.\n2 | FROM b\n         ^\nDo this.");
    }

    #[test]
    fn tabs_and_wide_characters_do_not_shift_the_carets() {
        assert_eq!(render("\tx = '東京' y", "y"), "Wrong.\n x = '東京' y\n            ^\nDo this.");
        assert_eq!(render("x = '東京'", "東京"), "Wrong.\nx = '東京'\n     ^^^^\nDo this.");
    }

    #[test]
    fn what_is_missing_at_the_end_has_a_caret_behind_the_text() {
        assert_eq!(Fault::new(3..3, "More.").render("abc"), "More.\nabc\n   ^");
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let text = format!("{} here {}", "x".repeat(5_000), "y".repeat(5_000));
        let shown = render(&text, "here");
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[1].width() <= SHOWN + 2, "{shown}");
        let at = lines[2].width() - 4;
        assert_eq!(lines[1].chars().skip(at).take(4).collect::<String>(), "here");
    }

    #[test]
    fn the_nearest_name_is_one_that_could_have_been_meant() {
        let names = ["UsageDate", "OfferName", "CustomerId"];
        assert_eq!(nearest("usagedaet", names), Some("UsageDate"));
        assert_eq!(nearest("Revenue", names), None);
    }

    proptest! {
        #[test]
        fn any_fault_of_any_text_is_rendered(text in ".{0,300}", from in 0_usize..400, long in 0_usize..400) {
            let shown = Fault::new(from..from + long, "Wrong.").render(&text);
            prop_assert!(shown.contains('^'));
        }
    }
}
