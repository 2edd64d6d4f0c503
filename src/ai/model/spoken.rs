//! Text on its way to Azure's text to speech (AI services contract 2.5): how its characters are billed, which voice and
//! which format are meant.

/// Billable characters: every code point, Chinese ones twice.
pub fn characters(text: &str) -> u64 {
    text.chars().map(|c| if is_chinese(c) { 2 } else { 1 }).sum()
}

/// Han characters, also as kanji and hanja.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF)
}

/// What OpenAI's `response_format` is at Azure, and the content type of the answer.
pub fn output_format(format: &str) -> Option<(&'static str, &'static str)> {
    Some(match format {
        "mp3" => ("audio-24khz-48kbitrate-mono-mp3", "audio/mpeg"),
        "wav" => ("riff-24khz-16bit-mono-pcm", "audio/wav"),
        "pcm" => ("raw-24khz-16bit-mono-pcm", "audio/pcm"),
        "opus" => ("ogg-24khz-16bit-mono-opus", "audio/ogg"),
        _ => return None,
    })
}

/// The content types of OpenAI's formats.
pub fn content_type(format: &str) -> Option<&'static str> {
    Some(match format {
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        other => output_format(other)?.1,
    })
}

/// OpenAI's names of voices as Azure's; a name of Azure's stays.
pub fn voice(name: &str) -> String {
    const VOICES: &[(&str, &str)] = &[
        ("alloy", "en-US-AvaMultilingualNeural"),
        ("ash", "en-US-AndrewMultilingualNeural"),
        ("ballad", "en-GB-AdaMultilingualNeural"),
        ("coral", "en-US-EmmaMultilingualNeural"),
        ("echo", "en-US-BrianMultilingualNeural"),
        ("fable", "en-GB-OllieMultilingualNeural"),
        ("nova", "en-US-JennyMultilingualNeural"),
        ("onyx", "en-US-DavisMultilingualNeural"),
        ("sage", "en-US-CoraMultilingualNeural"),
        ("shimmer", "en-US-NancyMultilingualNeural"),
        ("verse", "en-US-AndrewMultilingualNeural"),
    ];
    VOICES.iter().find(|(short, _)| *short == name).map_or(name, |(_, azure)| azure).to_owned()
}

/// A voice's name as Azure writes it: `zh-CN-XiaoxiaoNeural`. Nothing else may get into the markup.
pub fn is_voice(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':'));
    plain && name.len() <= 100 && name.split('-').count() >= 3
}

/// The markup that speaks a text: as it is, with nothing in it understood as markup.
pub fn ssml(text: &str, voice: &str, speed: f64) -> String {
    let locale = voice.splitn(3, '-').take(2).collect::<Vec<_>>().join("-");
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML has no other control characters.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => escaped.push(' '),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    // Markup counts as characters, too; at the usual speed there is none.
    let spoken = if (speed - 1.0).abs() < 0.001 {
        escaped
    } else {
        format!("<prosody rate=\"{:+.0}%\">{escaped}</prosody>", (speed - 1.0) * 100.0)
    };
    format!(
        "<speak version=\"1.0\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"{locale}\"><voice name=\"{voice}\">{spoken}</voice></speak>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_as_azure_bills_them() {
        assert_eq!(characters("Hello, world.\n"), 14);
        assert_eq!(characters("你好"), 4);
        assert_eq!(characters("你好 world"), 10);
        assert_eq!(characters("👩‍💻"), 3, "an emoji of three code points");
        assert_eq!(characters("かな 漢字"), 2 + 1 + 4);
    }

    #[test]
    fn a_text_can_not_get_out_of_the_markup() {
        let text = ssml("a < b & c > d </voice>\u{1}", "zh-CN-XiaoxiaoNeural", 1.0);
        assert!(
            text.contains("xml:lang=\"zh-CN\"")
                && text.contains("a &lt; b &amp; c &gt; d &lt;/voice&gt; </voice></speak>")
        );
        assert!(ssml("x", "en-US-A", 1.25).contains("<prosody rate=\"+25%\">"));
        assert!(ssml("x", "en-US-A", 0.5).contains("rate=\"-50%\""));
        assert!(is_voice(&voice("alloy")) && is_voice("de-DE-KatjaNeural"));
        assert!(!is_voice("alloy") && !is_voice("en-US-\"/><audio") && !is_voice(""));
    }
}
