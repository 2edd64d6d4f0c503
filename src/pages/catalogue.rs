//! The texts of all pages, in one file: `templates/catalogue.json`, key → language → text.

use std::collections::BTreeMap;

/// The languages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    SimplifiedChinese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::SimplifiedChinese];

    /// As in `<html lang>`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::SimplifiedChinese => "zh-Hans",
        }
    }

    pub fn parse(tag: &str) -> Self {
        if tag.trim().to_ascii_lowercase().starts_with("zh") { Self::SimplifiedChinese } else { Self::English }
    }

    /// The first language of an `Accept-Language` header that we speak. Browsers send them in order of preference.
    pub fn preferred(header: &str) -> Self {
        header
            .split(',')
            .filter_map(|part| part.split(';').next())
            .map(|tag| tag.trim().to_ascii_lowercase())
            .find(|tag| tag.starts_with("zh") || tag.starts_with("en"))
            .map_or(Self::English, |tag| Self::parse(&tag))
    }
}

#[derive(Debug)]
pub struct Catalogue(BTreeMap<String, BTreeMap<String, String>>);

const SOURCE: &str = include_str!("../../templates/catalogue.json");

impl Catalogue {
    pub fn load() -> Self {
        // The file is part of the binary; the test below reads it too, so an unreadable one never leaves the desk.
        Self(serde_json::from_str(SOURCE).unwrap_or_default())
    }

    /// The text, in English where the language lacks it.
    pub fn text(&self, key: &str, language: Language) -> Option<&str> {
        let texts = self.0.get(key)?;
        texts.get(language.tag()).or_else(|| texts.get("en")).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_exists_in_every_language_with_the_same_placeholders() {
        let catalogue: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(SOURCE).unwrap();
        assert!(catalogue.len() > 50);
        let placeholders = |text: &str| {
            let mut names: Vec<String> =
                text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect();
            names.sort();
            names
        };
        for (key, texts) in &catalogue {
            for language in Language::ALL {
                let text = texts.get(language.tag()).unwrap_or_else(|| panic!("{key} lacks {}", language.tag()));
                assert!(!text.trim().is_empty(), "{key} is empty in {}", language.tag());
                assert_eq!(placeholders(text), placeholders(&texts["en"]), "{key} in {}", language.tag());
            }
        }
    }

    #[test]
    fn the_browsers_first_known_language_is_taken() {
        assert_eq!(Language::preferred("fr-FR, zh-CN;q=0.9, en;q=0.8"), Language::SimplifiedChinese);
        assert_eq!(Language::preferred("en-GB,zh;q=0.5"), Language::English);
        assert_eq!(Language::preferred(""), Language::English);
    }
}
