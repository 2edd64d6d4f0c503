//! Forms of several parts, as audio is sent.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use multer::{Multipart, parse_boundary};

use crate::simulator::http::Request;

#[derive(Debug)]
struct Part {
    name: String,
    file_name: Option<String>,
    bytes: Bytes,
}

/// A form that was read to its end.
#[derive(Debug)]
pub struct Form(Vec<Part>);

impl Form {
    /// Nothing, when the body is no such form or is broken.
    pub async fn read(request: &Request) -> Option<Self> {
        let boundary = parse_boundary(request.header("content-type")?).ok()?;
        let body = request.body.clone();
        let mut form = Multipart::new(stream::once(async { Ok::<_, Infallible>(body) }), boundary);
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await.ok()? {
            let name = field.name().unwrap_or_default().to_owned();
            let file_name = field.file_name().map(str::to_owned);
            parts.push(Part { name, file_name, bytes: field.bytes().await.ok()? });
        }
        Some(Self(parts))
    }

    fn parts(&self, name: &str) -> impl Iterator<Item = &Part> {
        self.0.iter().filter(move |part| part.name == name)
    }

    /// The first text of this name that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let texts = self.parts(name).filter_map(|part| std::str::from_utf8(&part.bytes).ok());
        texts.map(str::trim).find(|text| !text.is_empty())
    }

    /// Whether a list has this value; lists are sent with brackets behind their name, or without.
    pub fn lists(&self, name: &str, value: &str) -> bool {
        let bracketed = format!("{name}[]");
        let mut parts = self.parts(name).chain(self.parts(&bracketed));
        parts.any(|part| part.bytes.as_ref() == value.as_bytes())
    }

    pub fn bytes(&self, name: &str) -> Option<Bytes> {
        Some(self.parts(name).next()?.bytes.clone())
    }

    /// What a file is called; empty when it has no name.
    pub fn file_name(&self, name: &str) -> &str {
        self.parts(name).find_map(|part| part.file_name.as_deref()).unwrap_or_default()
    }
}
