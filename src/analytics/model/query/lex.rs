//! The words of a query. What is no word of the language becomes the last word, with its fault, so that the parser
//! reports what is wrong before it, or this.

use std::ops::Range;

use winnow::Parser as _;
use winnow::combinator::{alt, opt};
use winnow::error::EmptyError;
use winnow::stream::{LocatingSlice, Location as _, Stream as _};
use winnow::token::{any, one_of, take_while};

use super::fault::Fault;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme<'i> {
    Word(&'i str),
    Number(&'i str),
    /// A value in quotes, without them.
    Text(&'i str),
    Symbol(&'i str),
    Broken(Fault),
    /// After the last word.
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'i> {
    pub lexeme: Lexeme<'i>,
    pub at: Range<usize>,
}

impl Token<'_> {
    /// In any letter case.
    pub fn is(&self, word: &str) -> bool {
        match self.lexeme {
            Lexeme::Word(text) => text.eq_ignore_ascii_case(word),
            Lexeme::Symbol(text) => text == word,
            _ => false,
        }
    }
}

/// Words of the language. They are not names.
pub(super) const RESERVED: [&str; 14] = [
    "SELECT", "DISTINCT", "FROM", "WHERE", "AND", "ORDER", "BY", "ASC", "DESC", "LIMIT", "TIMESPAN", "LIKE", "NOT",
    "IN",
];

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

type Input<'i> = LocatingSlice<&'i str>;
type Lexed<T> = winnow::Result<T, EmptyError>;

/// The last one is the end; what stands behind a broken one is not read.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    let mut end = 0;
    while blank(&mut input).is_ok() {
        let from = input.current_token_start();
        let Ok(lexeme) = lexeme.parse_next(&mut input) else {
            break;
        };
        end = input.current_token_start();
        let broken = matches!(lexeme, Lexeme::Broken(_));
        tokens.push(Token { lexeme, at: from..end });
        if broken {
            break;
        }
    }
    tokens.push(Token { lexeme: Lexeme::End, at: end..end });
    tokens
}

/// Also what comes along when text is copied from a page.
fn blank<'i>(input: &mut Input<'i>) -> Lexed<&'i str> {
    take_while(0.., |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')).parse_next(input)
}

fn lexeme<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    alt((word, number, quoted, double_quoted, symbol)).parse_next(input)
}

fn word<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    let from = input.current_token_start();
    // Names that are copied from a page may have `\_` in them.
    let run = |c: char| c.is_alphanumeric() || matches!(c, '_' | '\\');
    let text = (one_of(|c: char| c.is_alphabetic() || c == '_'), take_while(0.., run)).take().parse_next(input)?;
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.is_ascii() && !text.contains('\\') {
        return Ok(Lexeme::Word(text));
    }
    let fault = Fault::new(from..from + text.len(), format!("`{text}` is not a name."));
    Ok(Lexeme::Broken(fault.remedy("Names begin with a letter and have the letters A to Z, digits and `_`.")))
}

/// Takes in what is written like a number but is none, such as a date without quotes.
fn number<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    let from = input.current_token_start();
    let run = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+' | ':' | '/');
    let text = (opt('-'), one_of(|c: char| c.is_ascii_digit()), take_while(0.., run)).take().parse_next(input)?;
    if is_number(text) {
        return Ok(Lexeme::Number(text));
    }
    let fault = Fault::new(from..from + text.len(), format!("`{text}` is not a number."));
    Ok(Lexeme::Broken(fault.remedy(format!("Put what is not a plain number in quotes: '{text}'."))))
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let bare = text.strip_prefix('-').unwrap_or(text);
    bare.split_once('.').map_or_else(|| digits(bare), |(whole, fraction)| digits(whole) && digits(fraction))
}

/// Typed by word processors and by the samples of Microsoft's documents, where `'` is meant.
fn is_typographic(c: char) -> bool {
    matches!(c, '\u{2018}'..='\u{201b}' | '\u{2032}')
}

/// What begins with `'` ends with `'`; what begins with a typographic quote ends with any.
fn quoted<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    let from = input.current_token_start();
    let open = one_of(|c: char| c == '\'' || is_typographic(c)).parse_next(input)?;
    let closes = |c: char| c == '\'' || is_typographic(open) && is_typographic(c);
    let text = take_while(0.., |c: char| !closes(c) && !c.is_control()).parse_next(input)?;
    if opt(one_of(closes)).parse_next(input)?.is_none() {
        let remedy = if text.contains(is_typographic) {
            "Begin and end it with the same quote: '."
        } else {
            "Put ' at its end. A value stands on one line and has no tabs."
        };
        let fault = Fault::new(from..input.current_token_start(), "This value is not closed.");
        return Ok(Lexeme::Broken(fault.remedy(remedy)));
    }
    let tail = run_on(input.as_ref(), closes);
    if tail.is_empty() {
        return Ok(Lexeme::Text(text));
    }
    input.next_slice(tail.len());
    let pieces = std::iter::once(text).chain(tail.split(closes)).filter(|piece| !piece.is_empty());
    let pattern = pieces.collect::<Vec<_>>().join("%");
    let fault = Fault::new(from..input.current_token_start(), "A value can not have an apostrophe.");
    Ok(Lexeme::Broken(fault.remedy(format!("The language has no way to write one. Use LIKE '{pattern}'."))))
}

/// How the value goes on after what looked like its end. A word of the language may stand there without a blank.
fn run_on(ahead: &str, closes: impl Fn(char) -> bool) -> &str {
    let word = ahead.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(ahead.len());
    let word = &ahead[..word];
    if !ahead.starts_with(&closes) && (word.is_empty() || is_reserved(word)) {
        return "";
    }
    let line = ahead.split(char::is_control).next().unwrap_or_default();
    let ends =
        |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | ';'));
    let end =
        line.char_indices().map(|(at, c)| (c, at + c.len_utf8())).find(|(c, end)| closes(*c) && ends(&line[*end..]));
    let first = ahead.chars().next().map_or(0, char::len_utf8);
    end.map_or_else(|| &ahead[..word.len().max(first)], |(_, end)| &line[..end])
}

fn double_quoted<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    let from = input.current_token_start();
    let quote = |c: char| matches!(c, '"' | '\u{201c}'..='\u{201f}');
    let (_, text, _) = (one_of(quote), take_while(0.., |c: char| !quote(c) && !c.is_control()), opt(one_of(quote)))
        .parse_next(input)?;
    let fault = Fault::new(from..input.current_token_start(), "Double quotes are not in the language.");
    Ok(Lexeme::Broken(fault.remedy(format!(
        "A value stands in single quotes: '{}'. A name stands without quotes.",
        text.replace('\'', "%")
    ))))
}

fn symbol<'i>(input: &mut Input<'i>) -> Lexed<Lexeme<'i>> {
    let long = alt(("!=", "<>", ">=", "<=", "==", "--", "/*", "||", "&&"));
    alt((long, any.take())).map(Lexeme::Symbol).parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> (String, String) {
        let fault = tokens(text).into_iter().find_map(|token| match token.lexeme {
            Lexeme::Broken(fault) => Some(fault),
            _ => None,
        });
        let fault = fault.unwrap();
        (text[fault.at].to_owned(), fault.remedy.unwrap_or_default())
    }

    #[test]
    fn words_numbers_values_and_symbols_have_their_places() {
        let text = "  a_1>= -2.50 \u{2018}x’\u{a0}";
        let found: Vec<_> = tokens(text).into_iter().map(|token| (token.lexeme, token.at)).collect();
        assert_eq!(
            found,
            [
                (Lexeme::Word("a_1"), 2..5),
                (Lexeme::Symbol(">="), 5..7),
                (Lexeme::Number("-2.50"), 8..13),
                (Lexeme::Text("x"), 14..21),
                (Lexeme::End, 21..21),
            ]
        );
    }

    #[test]
    fn an_apostrophe_in_a_value_is_answered_with_a_pattern() {
        for (text, whole, pattern) in [
            ("x = 'O'Brien' AND y = 'z'", "'O'Brien'", "'O%Brien'"),
            ("x = 'O''Brien'", "'O''Brien'", "'O%Brien'"),
            ("x IN ('a', 'b's c')", "'b's c'", "'b%s c'"),
            ("x = 'O'Brien", "'O'Brien", "'O%Brien'"),
            ("x = ‘O’Brien’", "‘O’Brien’", "'O%Brien'"),
        ] {
            let (at, remedy) = broken(text);
            assert_eq!(at, whole);
            assert!(remedy.contains(&format!("LIKE {pattern}")), "{remedy}");
        }
    }

    #[test]
    fn a_typographic_apostrophe_between_plain_quotes_is_part_of_the_value() {
        assert_eq!(tokens("'O’Brien'")[0].lexeme, Lexeme::Text("O’Brien"));
        assert_eq!(tokens("''")[0].lexeme, Lexeme::Text(""));
        assert_eq!(tokens("'a'AND")[0].lexeme, Lexeme::Text("a"));
    }

    #[test]
    fn what_is_neither_name_nor_number_says_so() {
        assert_eq!(broken("x > 2026-02-03").0, "2026-02-03");
        assert_eq!(broken("x = 5.").0, "5.");
        assert_eq!(broken("Größe").0, "Größe");
        assert_eq!(broken("LAST\\_MONTH").0, "LAST\\_MONTH");
        assert_eq!(broken("x = \"saas\"").0, "\"saas\"");
        assert_eq!(broken("x = 'saas\ny").0, "'saas");
    }
}
