//! From text to a query. The grammar is Microsoft's (analytics contract 8.1); the faults are ours.

use winnow::Parser;
use winnow::combinator::{alt, opt, preceded, separated};
use winnow::error::{ErrMode, ModalResult, ParserError};
use winnow::stream::{Stream as _, TokenSlice};
use winnow::token;

use super::ast::{At, Comparison, Condition, Literal, Name, OrderKey, Query, Scalar, Test};
use super::fault::{Fault, nearest};
use super::lex::{Lexeme, Token, is_reserved, tokens};
use super::span::Span;
use super::stray::{self, Place};

/// Longer texts are refused, in bytes. All columns of the widest dataset and a list of 500 ids fit in.
pub const LONGEST: usize = 32 * 1024;

type Input<'t, 'i> = TokenSlice<'t, Token<'i>>;
type Parsed<T> = ModalResult<T, Fault>;

impl ParserError<Input<'_, '_>> for Fault {
    type Inner = Self;

    fn from_input(input: &Input<'_, '_>) -> Self {
        // Made at each word that could have been another one, so it costs little. What is reported comes from `wrong`.
        Self::new(input.first().map_or(0..0, |token| token.at.clone()), "This is not expected.")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// A whole query.
pub fn query(text: &str) -> Result<Query, Fault> {
    read(text, whole)
}

/// What stands after WHERE, alone.
pub fn conditions(text: &str) -> Result<Vec<Condition>, Fault> {
    read(text, |input| {
        let found = all(input)?;
        at_end(input, Place::AfterFilter)?;
        Ok(found)
    })
}

fn read<T>(text: &str, grammar: impl Fn(&mut Input<'_, '_>) -> Parsed<T>) -> Result<T, Fault> {
    if text.len() > LONGEST {
        let message = format!("The text has {} bytes. At most {LONGEST} are read.", text.len());
        return Err(Fault::new(LONGEST..LONGEST, message).remedy("Name fewer columns or values."));
    }
    let tokens = tokens(text);
    let mut input = TokenSlice::new(&tokens);
    grammar(&mut input).map_err(|error| match error {
        ErrMode::Backtrack(fault) | ErrMode::Cut(fault) => fault,
        ErrMode::Incomplete(_) => Fault::from_input(&input),
    })
}

fn whole(input: &mut Input<'_, '_>) -> Parsed<Query> {
    required("SELECT", Place::Start).parse_next(input)?;
    let distinct = opt(word("DISTINCT")).parse_next(input)?.is_some();
    let columns = separated(1.., name(Place::Column), word(",")).parse_next(input)?;
    required("FROM", Place::AfterColumns).parse_next(input)?;
    let dataset = dataset(input)?;
    clause_ends(input, Place::AfterDataset)?;
    let conditions = opt(preceded(word("WHERE"), all)).parse_next(input)?.unwrap_or_default();
    clause_ends(input, if conditions.is_empty() { Place::AfterDataset } else { Place::AfterCondition })?;
    let order = opt(preceded(word("ORDER"), order)).parse_next(input)?.unwrap_or_default();
    clause_ends(input, Place::AfterOrder)?;
    let limit = opt(preceded(word("LIMIT"), limit)).parse_next(input)?;
    clause_ends(input, Place::AfterLimit)?;
    let span = opt(preceded(word("TIMESPAN"), span)).parse_next(input)?;
    at_end(input, Place::AfterSpan)?;
    let end = input.first().map_or(0, |token| token.at.start);
    Ok(Query { distinct, columns, dataset, conditions, order, limit, span, end })
}

/// A word or a sign of the language; says nothing where there is another.
fn word<'t, 'i: 't>(word: &'static str) -> impl Parser<Input<'t, 'i>, (), ErrMode<Fault>> {
    token::any.verify(move |token: &&Token<'_>| token.is(word)).void()
}

/// The same, where nothing else may stand.
fn required<'t, 'i: 't>(wanted: &'static str, place: Place) -> impl Parser<Input<'t, 'i>, (), ErrMode<Fault>> {
    move |input: &mut Input<'t, 'i>| match opt(word(wanted)).parse_next(input)? {
        Some(()) => Ok(()),
        None => Err(wrong(input, place)),
    }
}

fn wrong(input: &Input<'_, '_>, place: Place) -> ErrMode<Fault> {
    ErrMode::Cut(stray::fault(input, place))
}

/// Only a clause that may still come, or the end.
fn clause_ends(input: &Input<'_, '_>, place: Place) -> Parsed<()> {
    if stray::clause_may_come(input) { Ok(()) } else { Err(wrong(input, place)) }
}

fn at_end(input: &Input<'_, '_>, place: Place) -> Parsed<()> {
    match input.first() {
        None | Some(Token { lexeme: Lexeme::End, .. }) => Ok(()),
        Some(_) => Err(wrong(input, place)),
    }
}

fn name<'t, 'i: 't>(place: Place) -> impl Parser<Input<'t, 'i>, Name, ErrMode<Fault>> {
    move |input: &mut Input<'t, 'i>| {
        let found = match input.first() {
            Some(Token { lexeme: Lexeme::Word(text), at }) if !is_reserved(text) => {
                Name { value: (*text).to_owned(), at: at.clone() }
            }
            _ => return Err(wrong(input, place)),
        };
        let _ = input.next_token();
        if input.first().is_some_and(|token| token.is("(")) { Err(wrong(input, Place::AfterName)) } else { Ok(found) }
    }
}

fn dataset(input: &mut Input<'_, '_>) -> Parsed<Name> {
    let found = name(Place::Dataset).parse_next(input)?;
    if found.value.contains('_') {
        let message = format!("`{found}` is not a dataset.");
        let fault = Fault::new(found.at, message).remedy("Names of datasets have letters and digits only.");
        return Err(ErrMode::Cut(fault));
    }
    Ok(found)
}

/// Conditions, joined with AND.
fn all(input: &mut Input<'_, '_>) -> Parsed<Vec<Condition>> {
    separated(1.., condition, word("AND")).parse_next(input)
}

fn condition(input: &mut Input<'_, '_>) -> Parsed<Condition> {
    let column = name(Place::ConditionColumn).parse_next(input)?;
    let negated = opt(word("NOT")).parse_next(input)?.is_some();
    if opt(word("IN")).parse_next(input)?.is_some() {
        required("(", Place::ListBegins).parse_next(input)?;
        let values = separated(1.., scalar, word(",")).parse_next(input)?;
        required(")", Place::ListGoesOn).parse_next(input)?;
        return Ok(Condition { column, test: Test::In { negated, values } });
    }
    let comparison = if negated {
        opt(word("LIKE").value(Comparison::NotLike)).parse_next(input)?
    } else {
        opt(comparison).parse_next(input)?
    };
    let Some(comparison) = comparison else {
        return Err(wrong(input, if negated { Place::AfterNot } else { Place::Comparison }));
    };
    let scalar = scalar(input)?;
    Ok(Condition { column, test: Test::Compare(comparison, scalar) })
}

fn comparison(input: &mut Input<'_, '_>) -> Parsed<Comparison> {
    alt((
        word("=").value(Comparison::Equal),
        word("!=").value(Comparison::NotEqual),
        word(">=").value(Comparison::AtLeast),
        word("<=").value(Comparison::AtMost),
        word(">").value(Comparison::Greater),
        word("<").value(Comparison::Less),
        word("LIKE").value(Comparison::Like),
    ))
    .parse_next(input)
}

fn scalar(input: &mut Input<'_, '_>) -> Parsed<Scalar> {
    let found = match input.first() {
        Some(Token { lexeme: Lexeme::Number(text), at }) => {
            Scalar { value: Literal::Number((*text).to_owned()), at: at.clone() }
        }
        Some(Token { lexeme: Lexeme::Text(text), at }) => {
            Scalar { value: Literal::Text((*text).to_owned()), at: at.clone() }
        }
        _ => return Err(wrong(input, Place::Value)),
    };
    let _ = input.next_token();
    Ok(found)
}

fn order(input: &mut Input<'_, '_>) -> Parsed<Vec<OrderKey>> {
    required("BY", Place::AfterOrderWord).parse_next(input)?;
    separated(1.., order_key, word(",")).parse_next(input)
}

fn order_key(input: &mut Input<'_, '_>) -> Parsed<OrderKey> {
    let column = name(Place::OrderColumn).parse_next(input)?;
    let ascending = opt(alt((word("ASC").value(true), word("DESC").value(false)))).parse_next(input)?;
    Ok(OrderKey { column, ascending: ascending.unwrap_or(false) })
}

fn limit(input: &mut Input<'_, '_>) -> Parsed<u64> {
    let count = match input.first() {
        Some(Token { lexeme: Lexeme::Number(text), .. }) if text.starts_with(|c: char| ('1'..='9').contains(&c)) => {
            text.parse().ok()
        }
        _ => None,
    };
    let Some(count) = count else {
        return Err(wrong(input, Place::Limit));
    };
    let _ = input.next_token();
    Ok(count)
}

fn span(input: &mut Input<'_, '_>) -> Parsed<At<Span>> {
    let found = match input.first() {
        Some(Token { lexeme: Lexeme::Word(text), at }) if !is_reserved(text) => {
            let Some(value) = Span::find(text) else {
                let fault = Fault::new(at.clone(), format!("`{text}` is not a time span."));
                return Err(ErrMode::Cut(match nearest(text, Span::ALL.map(Span::name)) {
                    Some(near) => fault.remedy(format!("Did you mean {near}?")),
                    None => fault.remedy(format!("There are {}.", Span::ALL.map(Span::name).join(", "))),
                }));
            };
            At { value, at: at.clone() }
        }
        _ => return Err(wrong(input, Place::Span)),
    };
    let _ = input.next_token();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words at which the text is wrong, and what is said.
    fn wrong_at(text: &str) -> (&str, String) {
        let fault = query(text).unwrap_err();
        (&text[fault.at.clone()], format!("{} {}", fault.message, fault.remedy.unwrap_or_default()))
    }

    #[test]
    fn the_official_forms_are_read() {
        let text = "select distinct OfferName, NormalizedUsage\n from ISVUsage where OfferType IN (\u{2018}SaaS\u{2019}, 'vm core image')
            and SKU not like 'gold%' AND Quantity >= -2.50 order by NormalizedUsage asc, OfferName limit 100 timespan last_3_months";
        let read = query(text).unwrap();
        assert_eq!(
            read.to_string(),
            "SELECT DISTINCT OfferName, NormalizedUsage FROM ISVUsage WHERE OfferType IN ('SaaS', 'vm core image') \
             AND SKU NOT LIKE 'gold%' AND Quantity >= -2.50 ORDER BY NormalizedUsage ASC, OfferName DESC LIMIT 100 \
             TIMESPAN LAST_3_MONTHS"
        );
        assert_eq!(&text[read.columns[1].at.clone()], "NormalizedUsage");
        assert_eq!(&text[read.span.unwrap().at], "last_3_months");
        assert_eq!(query("SELECT Date FROM ISVMarketplaceInsights").unwrap().end, 39);
    }

    #[test]
    fn each_thing_that_is_not_in_the_language_is_named_at_its_word() {
        for (text, at, said) in [
            ("", "", "There is no text."),
            (" \n\t", "", "There is no text."),
            ("SELECT * FROM x", "*", "Name the columns"),
            ("FROM x", "FROM", "SELECT is missing"),
            ("SELECT a", "", "a comma or FROM is missing"),
            ("SELECT FROM x", "FROM", "the name of a column is missing"),
            ("SELECT a, FROM x", "FROM", "the name of a column is missing"),
            ("SELECT a WHERE b = 1", "WHERE", "FROM is missing"),
            ("SELECT a AS b FROM x", "AS", "Other names"),
            ("SELECT a b FROM x", "b", "other names"),
            ("SELECT TOP 10 a FROM x", "10", "LIMIT"),
            ("SELECT 'a' FROM x", "'a'", "no quotes"),
            ("SELECT SUM(a) FROM x", "SUM(a)", "summed by itself"),
            ("SELECT COUNT(*) FROM x", "COUNT(*)", "summed by itself"),
            (
                "SELECT EstimatedExtendedCharge(CC) FROM x",
                "EstimatedExtendedCharge(CC)",
                "Write EstimatedExtendedChargeCC",
            ),
            ("SELECT a FROM x ORDER BY RevenueGenerated(USD)", "RevenueGenerated(USD)", "can not be asked for"),
            ("SELECT x.a FROM x", ".", "prefix"),
            ("SELECT a FROM x y", "y", "other names"),
            ("SELECT a FROM x, y", ",", "one dataset"),
            ("SELECT a FROM x_y", "x_y", "not a dataset"),
            ("SELECT a FROM x JOIN y", "JOIN", "one query for each"),
            ("SELECT a FROM x GROUP BY a", "GROUP", "by themselves"),
            ("SELECT a FROM x;", ";", "semicolon"),
            ("SELECT a FROM x WHERE a = 1 OR b = 2", "OR", "IN ('a', 'b')"),
            ("SELECT a FROM x WHERE (a = 1)", "(", "Parentheses"),
            ("SELECT a FROM x WHERE a = 1, b = 2", ",", "AND"),
            ("SELECT a FROM x WHERE a <> 1", "<>", "!="),
            ("SELECT a FROM x WHERE a IS NULL", "IS", "Empty cells"),
            ("SELECT a FROM x WHERE a = NULL", "NULL", "Empty cells"),
            ("SELECT a FROM x WHERE a BETWEEN 1 AND 2", "BETWEEN", ">="),
            ("SELECT a FROM x WHERE NOT a = 1", "NOT", "!="),
            ("SELECT a FROM x WHERE a NOT 1", "1", "LIKE or IN"),
            ("SELECT a FROM x WHERE a = saas", "saas", "'saas'"),
            ("SELECT a FROM x WHERE a = \"saas\"", "\"saas\"", "'saas'"),
            ("SELECT a FROM x WHERE a = 'O'Brien'", "'O'Brien'", "LIKE 'O%Brien'"),
            ("SELECT a FROM x WHERE a > 2026-02-03", "2026-02-03", "'2026-02-03'"),
            ("SELECT a FROM x WHERE a IN ()", ")", "no value"),
            ("SELECT a FROM x WHERE a IN (SELECT b FROM y)", "SELECT", "Inner queries"),
            ("SELECT a FROM x WHERE a IN ('b'", "", "a comma or `)` is missing"),
            ("SELECT a FROM x WHERE a", "", "a comparison"),
            ("SELECT a FROM x WHERE a =", "", "a value"),
            ("SELECT a FROM x AND b = 1", "AND", "Write WHERE"),
            ("SELECT a FROM x LIMIT 0", "0", "from 1"),
            ("SELECT a FROM x LIMIT 99999999999999999999", "99999999999999999999", "from 1"),
            ("SELECT a FROM x LIMIT 10, 20", ",", "skipped"),
            ("SELECT a FROM x LIMIT 5 WHERE b = 1", "WHERE", "too late"),
            ("SELECT a FROM x TIMESPAN LIFETIME LIMIT 5", "LIMIT", "too late"),
            ("SELECT a FROM x LIMIT 5 LIMIT 6", "LIMIT", "twice"),
            ("SELECT a FROM x TIMESPAN LAST_3_MONTH", "LAST_3_MONTH", "LAST_3_MONTHS"),
            ("SELECT a FROM x TIMESPAN SOMETIME_AGO", "SOMETIME_AGO", "There are TODAY"),
            ("SELECT a FROM x TIMESPAN 'LIFETIME'", "'LIFETIME'", "no quotes"),
            ("SELECT a FROM x TIMESPAN LIFETIME -- all", "--", "Comments"),
            ("SELECT a FROM x WHERE a = 1 \u{0}", "\u{0}", "not expected"),
        ] {
            let (found, message) = wrong_at(text);
            assert_eq!(found, at, "{text}: {message}");
            assert!(message.contains(said), "{text}: {message}");
        }
    }

    #[test]
    fn conditions_are_read_alone() {
        assert_eq!(conditions("a = 1 AND b LIKE 'x%'").unwrap().len(), 2);
        for (text, at) in [("WHERE a = 1", 0..5), ("a = 1 LIMIT 5", 6..11), ("", 0..0), ("a = 1 b", 6..7)] {
            assert_eq!(conditions(text).unwrap_err().at, at, "{text}");
        }
        assert!(conditions("a IN (SELECT b FROM c)").unwrap_err().message.contains("Inner queries"));
    }

    #[test]
    fn a_text_that_is_too_long_is_not_read() {
        let text = format!("SELECT a FROM x WHERE a = '{}'", "é".repeat(LONGEST));
        let fault = query(&text).unwrap_err();
        assert!(fault.message.contains("bytes"));
        assert!(fault.render(&text).contains('^'));
    }
}
