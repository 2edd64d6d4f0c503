//! A long text in pieces that one call of text to speech takes: cut at the ends of paragraphs and sentences, else at
//! blanks, and only where there is nothing else within a word.

/// Where a sentence ends, in any script.
fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '؟' | '।' | '\n')
}

/// About how long a character is spoken: those that are words are twice as long.
fn weight(c: char) -> usize {
    if matches!(c, '\u{1100}'..='\u{11FF}' | '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
    {
        2
    } else {
        1
    }
}

/// Pieces of at most `most` characters, of which Chinese, Japanese and Korean ones count twice. Together they are the
/// text, without the blanks around the cuts.
pub fn split(text: &str, most: usize) -> Vec<String> {
    let most = most.max(1);
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // The byte after as many as fit, at least one, if there are more.
        let mut length = 0;
        let over = rest.char_indices().find(|(at, c)| {
            length += weight(*c);
            length > most && *at > 0
        });
        let Some((limit, _)) = over else {
            pieces.push(rest.to_owned());
            break;
        };
        let head = &rest[..limit];
        let after = |found: Option<(usize, char)>| found.map(|(at, c)| at + c.len_utf8());
        // An end in the first half would make pieces too short.
        let half = |cut: &usize| *cut > limit / 2;
        let sentence = after(head.char_indices().rev().find(|(_, c)| ends_sentence(*c))).filter(half);
        let blank = || after(head.char_indices().rev().find(|(_, c)| c.is_whitespace())).filter(half);
        let cut = sentence.or_else(blank).unwrap_or(limit);
        let piece = rest[..cut].trim();
        if !piece.is_empty() {
            pieces.push(piece.to_owned());
        }
        rest = rest[cut..].trim_start();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_are_at_the_ends_of_sentences_then_at_blanks_then_anywhere() {
        assert_eq!(split("One two. Three four. Five six.", 20), ["One two. Three four.", "Five six."]);
        assert_eq!(split("one two three four five", 12), ["one two", "three four", "five"]);
        assert_eq!(split("你好。再见。谢谢。", 12), ["你好。再见。", "谢谢。"]);
        assert_eq!(split("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(split(" \n ", 4), Vec::<String>::new());
        assert_eq!(split("👩‍💻", 100), ["👩‍💻"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_piece_is_too_long(text in "[a-z。 .\n你👩]{0,300}", most in 1_usize..40) {
            let pieces = split(&text, most);
            prop_assert!(pieces.iter().all(|piece| piece.chars().count() == 1 || piece.chars().map(weight).sum::<usize>() <= most));
            let dense = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(dense(&pieces.concat()), dense(&text));
        }
    }
}
