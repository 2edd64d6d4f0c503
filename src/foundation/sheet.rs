//! Texts in files that people open with a spreadsheet.

/// A text that a spreadsheet would take for a formula gets an apostrophe in front. Not for numbers of ours.
pub fn cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}
