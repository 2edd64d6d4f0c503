//! Marked-up text, as Azure Speech takes it: whether it is well formed, how long it takes to say, and what it costs.
//!
//! Counted as the price list says: every character of the text within voices and of the markup there, but not of
//! `speak` and `voice` themselves; a Chinese character counts twice. A character that is written as an entity is one.

use super::spoken::MILLISECONDS_EACH;

const MOST_VOICES: usize = 50;

/// A break that does not say how long it is.
const BREAK: u64 = 750;
const LONGEST_BREAK: u64 = 20_000;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ssml {
    pub billable: u64,
    /// 60 ms for every character of text, and the breaks.
    pub milliseconds: u64,
}

/// What a character counts.
fn weight(character: char) -> u64 {
    let chinese = matches!(character, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}');
    if chinese { 2 } else { 1 }
}

fn weights(text: &str) -> u64 {
    text.chars().map(weight).sum()
}

/// Text without marks.
pub fn plain(text: &str) -> Ssml {
    Ssml { billable: weights(text), milliseconds: text.chars().count() as u64 * MILLISECONDS_EACH }
}

/// Any locale, so that a product's own table of voices works.
pub fn is_voice(name: &str) -> bool {
    name.split('-').count() >= 3 && name.ends_with("Neural")
}

/// A tag between its brackets.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, String)>,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads all of it, or says what is wrong.
pub fn read(text: &str) -> Result<Ssml, String> {
    let mut reader = Reader::default();
    let mut rest = text.trim_start_matches('\u{FEFF}');
    while !rest.is_empty() {
        let (before, markup) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        reader.text(&decoded(before)?)?;
        rest = match markup {
            "" => "",
            _ if markup.starts_with("<!--") => after(markup, "-->")?.1,
            _ if markup.starts_with("<?") => after(markup, "?>")?.1,
            _ if markup.starts_with("<![CDATA[") => {
                let (data, rest) = after(&markup[9..], "]]>")?;
                reader.text(data)?;
                rest
            }
            _ => {
                let end = end_of_tag(markup)?;
                reader.tag(&markup[..end])?;
                &markup[end..]
            }
        };
    }
    match (reader.open.last(), reader.voices) {
        (Some(open), _) => Err(format!("<{open}> is not closed.")),
        (None, 0) => Err("There is no voice.".to_owned()),
        _ => Ok(reader.ssml),
    }
}

/// What stands before a mark and after it.
fn after<'a>(text: &'a str, mark: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(mark).ok_or_else(|| format!("{mark} is missing."))
}

/// Where a tag ends; a bracket in quotes does not end it.
fn end_of_tag(markup: &str) -> Result<usize, String> {
    let mut quote = None;
    for (at, character) in markup.char_indices() {
        match (quote, character) {
            (None, '>') => return Ok(at + 1),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    Err("A tag has no end.".to_owned())
}

/// Text without entities.
fn decoded(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut parts = text.split('&');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(';').ok_or("An entity has no end.")?;
        let character = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => numbered(name),
        };
        plain.push(character.ok_or_else(|| format!("&{name}; is unknown."))?);
        plain.push_str(rest);
    }
    Ok(plain)
}

fn numbered(name: &str) -> Option<char> {
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[derive(Default)]
struct Reader {
    ssml: Ssml,
    open: Vec<String>,
    voices: usize,
    over: bool,
}

impl Reader {
    fn in_voice(&self) -> bool {
        self.open.iter().any(|name| name == "voice")
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.in_voice() {
            self.ssml.billable += weights(text);
            self.ssml.milliseconds += text.chars().count() as u64 * MILLISECONDS_EACH;
        } else if !text.trim().is_empty() {
            return Err("There is text outside of voices.".to_owned());
        }
        Ok(())
    }

    fn tag(&mut self, markup: &str) -> Result<(), String> {
        let inner = &markup[1..markup.len() - 1];
        if let Some(name) = inner.strip_prefix('/') {
            let name = name.trim_end();
            if self.open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes nothing."));
            }
            self.over = self.open.is_empty();
            self.count(name, markup);
            return Ok(());
        }
        let closed = inner.ends_with('/');
        let tag = tag(inner.strip_suffix('/').unwrap_or(inner))?;
        self.allow(&tag)?;
        self.count(tag.name, markup);
        if tag.name == "break" {
            self.ssml.milliseconds += pause(tag.attribute("time"))?;
        }
        if !closed {
            self.open.push(tag.name.to_owned());
        } else if self.open.is_empty() {
            self.over = true;
        }
        Ok(())
    }

    fn allow(&mut self, tag: &Tag<'_>) -> Result<(), String> {
        if self.over {
            return Err("There is more than one root.".to_owned());
        }
        let root = self.open.is_empty();
        if root != (tag.name == "speak") {
            return Err("The root must be speak, and nothing else.".to_owned());
        }
        if root && (tag.attribute("version").is_none() || tag.attribute("xml:lang").is_none()) {
            return Err("speak must have version and xml:lang.".to_owned());
        }
        if tag.name == "voice" {
            self.voices += 1;
            let name = tag.attribute("name").unwrap_or_default();
            if !is_voice(name) {
                return Err(format!("The voice '{name}' is not supported."));
            }
            if self.voices > MOST_VOICES {
                return Err("There are more than 50 voices.".to_owned());
            }
        }
        Ok(())
    }

    fn count(&mut self, name: &str, markup: &str) {
        if self.in_voice() && name != "voice" {
            self.ssml.billable += weights(markup);
        }
    }
}

fn tag(inner: &str) -> Result<Tag<'_>, String> {
    let (name, mut rest) = inner.split_at(inner.find(char::is_whitespace).unwrap_or(inner.len()));
    let good = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(char::is_alphabetic)
            && characters.all(|character| character.is_alphanumeric() || "-_.:".contains(character))
    };
    if !good(name) {
        return Err(format!("<{name}> is no tag."));
    }
    let mut attributes: Vec<(&str, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(Tag { name, attributes });
        }
        let broken = || format!("An attribute of <{name}> is broken.");
        let (attribute, value) = rest.split_once('=').ok_or_else(broken)?;
        let (attribute, value) = (attribute.trim_end(), value.trim_start());
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or_else(broken)?;
        let (value, after) = value[1..].split_once(quote).ok_or_else(broken)?;
        let known = attributes.iter().any(|(known, _)| *known == attribute);
        if !good(attribute) || known || value.contains('<') {
            return Err(broken());
        }
        attributes.push((attribute, decoded(value)?));
        rest = after;
    }
}

/// How long a break is.
fn pause(time: Option<&str>) -> Result<u64, String> {
    let Some(time) = time else { return Ok(BREAK) };
    let (number, unit) = match time.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (time.strip_suffix('s').unwrap_or_default(), 1_000.0),
    };
    let length = number.parse::<f64>().ok().filter(|length| *length >= 0.0).map(|length| length * unit);
    let length = length.and_then(|length| std::time::Duration::try_from_secs_f64(length / 1_000.0).ok());
    let length = length.ok_or_else(|| format!("A break can not take '{time}'."))?;
    Ok(u64::try_from(length.as_millis()).unwrap_or(LONGEST_BREAK).min(LONGEST_BREAK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(inner: &str) -> Result<Ssml, String> {
        read(&format!(
            "<speak version=\"1.0\" xml:lang='en-US'>\n<voice name=\"en-US-AvaMultilingualNeural\">{inner}</voice>\n</speak>"
        ))
    }

    #[test]
    fn every_character_is_counted_as_the_price_list_says() {
        for (text, billable, characters) in [
            ("Hello, you.", 11, 11),
            ("\u{4F60}\u{597D}", 4, 2),
            ("Hi \u{4F60}\u{597D}!", 8, 6),
            ("\u{1F600}", 1, 1),
            ("a &amp; b&#x4F60;", 7, 6),
            ("<![CDATA[a<b]]><!-- not me -->", 3, 3),
            ("\u{3042}\u{AC00}", 2, 2),
        ] {
            assert_eq!(spoken(text), Ok(Ssml { billable, milliseconds: characters * 60 }), "{text}");
        }
        let broken = spoken("one<break time=\"1.5s\"/>two").unwrap();
        assert_eq!(broken, Ssml { billable: 6 + 20, milliseconds: 6 * 60 + 1_500 });
        let styled = spoken("<prosody rate='+10%'>a</prosody>").unwrap();
        assert_eq!(styled.billable, 21 + 1 + 10);
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in
            ["a & b", "<b>a", "a</b>", "<break time=1s/>", "<p a='1' a='2'>x</p>", "a < b", "&nbsp;", "<1>a</1>"]
        {
            assert!(spoken(text).is_err(), "{text}");
        }
        let speak = "<speak version='1.0' xml:lang='en-US'>";
        for text in [
            "Hello".to_owned(),
            String::new(),
            "<voice name='en-US-AvaNeural'>a</voice>".to_owned(),
            format!("{speak}Hello</speak>"),
            format!("{speak}</speak>"),
            format!("{speak}<voice name='alloy'>a</voice></speak>"),
            format!("{speak}<voice name='en-US-AvaNeural'>a</voice></speak><speak/>"),
            "<speak><voice name='en-US-AvaNeural'>a</voice></speak>".to_owned(),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
