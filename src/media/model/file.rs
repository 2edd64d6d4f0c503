//! A customer's file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::foundation::ids::FileId;

pub const LONGEST_NAME: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub id: FileId,
    pub name: String,
    /// `user_data`, `media_input`, ... as it was sent; `media_output` for a job's result.
    pub purpose: String,
    pub bytes: u64,
    pub content_type: String,
    pub created: Timestamp,
    pub expires: Timestamp,
}

/// A direct upload that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DirectUpload {
    pub id: FileId,
    pub name: String,
    pub purpose: String,
    /// Of its link.
    pub until: Timestamp,
    /// Of the file that it becomes.
    pub expires: Timestamp,
}

impl File {
    /// OpenAI's file object.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "file", "bytes": self.bytes, "created_at": self.created.as_second(),
            "expires_at": self.expires.as_second(), "filename": self.name, "purpose": self.purpose, "status": "processed",
            "status_details": null,
        })
    }
}

/// A name that may stand in a header and on a page; what else there was is left out.
pub fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String =
        last.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '<' | '>')).take(LONGEST_NAME).collect();
    if clean.trim().is_empty() { "file".to_owned() } else { clean.trim().to_owned() }
}

/// The type of a file by its first bytes, and where those say nothing, by its name.
pub fn content_type(head: &[u8], name: &str) -> &'static str {
    if let Ok(format) = image::guess_format(head) {
        return format.to_mime_type();
    }
    let starts = |mark: &[u8]| head.starts_with(mark);
    if starts(b"RIFF") && head.get(8..12) == Some(b"WAVE") {
        return "audio/wav";
    }
    if starts(b"OggS") {
        return "audio/ogg";
    }
    if starts(b"fLaC") {
        return "audio/flac";
    }
    if starts(b"ID3") || starts(&[0xFF, 0xFB]) || starts(&[0xFF, 0xF3]) {
        return "audio/mpeg";
    }
    if starts(&[0x1A, 0x45, 0xDF, 0xA3]) {
        return "audio/webm";
    }
    if head.get(4..8) == Some(b"ftyp") {
        return "audio/mp4";
    }
    match name.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("txt" | "srt" | "vtt" | "md") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("jsonl") => "application/jsonl",
        Some("mp3") => "audio/mpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_could_do_harm_and_types_come_from_the_bytes() {
        assert_eq!(clean_name("C:\\a\\b\"<c>.wav"), "bc.wav");
        assert_eq!(clean_name("../../etc/passwd"), "passwd");
        assert_eq!(clean_name("\u{0}\n"), "file");
        assert_eq!(clean_name(&"x".repeat(999)).len(), LONGEST_NAME);
        assert_eq!(content_type(b"RIFF\0\0\0\0WAVEfmt ", "x.png"), "audio/wav");
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\n", "x.wav"), "image/png");
        assert_eq!(content_type(b"hello", "x.TXT"), "text/plain; charset=utf-8");
        assert_eq!(content_type(b"MZ", "x.exe"), "application/octet-stream");
    }
}
