//! What a file of audio is: its container, and how long it plays, measured packet by packet without decoding. What a
//! header claims is not believed: the length is what is billed.

use std::io::{Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_PCM_S16LE};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

/// The largest file, as OpenAI has it (contract 1.13).
pub const LARGEST: usize = 25 * 1024 * 1024;
/// The longest one that a service takes in one piece (contract 2.3).
pub const LONGEST_MS: u64 = 2 * 60 * 60 * 1000;

/// The largest one that Azure Speech takes in one piece (contract 2.3).
pub const LARGEST_FAST: u64 = 300_000_000;

/// The largest one of batch transcription (contract 2.4).
pub const LARGEST_BATCH: u64 = 1024 * 1024 * 1024;

pub type Pieces = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send + Sync>>;

/// A file that is too large to be held in memory.
pub trait Stored: Send + Sync + std::fmt::Debug {
    /// In bytes.
    fn length(&self) -> u64;
    /// Bytes from a place on, at least one before the end. Blocks; never called on a thread of the runtime.
    fn read_at(&self, at: u64) -> std::io::Result<Bytes>;
    /// All of it, as often as it is asked for.
    fn pieces(&self) -> Pieces;
}

/// The bytes of a file of audio.
#[derive(Debug, Clone)]
pub enum Sound {
    Whole(Bytes),
    Stored(Arc<dyn Stored>),
}

impl Sound {
    /// In bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stored(stored) => stored.length(),
        }
    }

    fn source(&self) -> Box<dyn MediaSource> {
        match self {
            Self::Whole(bytes) => Box::new(std::io::Cursor::new(bytes.clone())),
            Self::Stored(stored) => Box::new(Reader { stored: Arc::clone(stored), at: 0, piece: Bytes::new() }),
        }
    }
}

/// A stored file as the reader of containers wants it.
struct Reader {
    stored: Arc<dyn Stored>,
    at: u64,
    /// What was read last, from `at` on.
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.stored.length() {
            return Ok(0);
        }
        if self.piece.is_empty() {
            self.piece = self.stored.read_at(self.at)?;
        }
        let taken = self.piece.split_to(buffer.len().min(self.piece.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        self.at += taken.len() as u64;
        Ok(taken.len())
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(step) => self.at.checked_add_signed(step),
            SeekFrom::End(step) => self.stored.length().checked_add_signed(step),
        };
        let target = target.ok_or(std::io::ErrorKind::InvalidInput)?;
        self.piece = match usize::try_from(target.wrapping_sub(self.at)) {
            Ok(skipped) if target >= self.at && skipped < self.piece.len() => self.piece.slice(skipped..),
            _ => Bytes::new(),
        };
        self.at = target;
        Ok(target)
    }
}

impl MediaSource for Reader {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.stored.length())
    }
}

/// A file of audio that can be read.
#[derive(Debug, Clone)]
pub struct Audio {
    pub sound: Sound,
    pub name: String,
    pub content_type: &'static str,
    pub duration_ms: u64,
    /// The content type by which Azure Speech takes it as short audio, where it does (contract 2.2).
    pub short: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    #[error("The file is empty.")]
    Empty,
    #[error("The file is larger than 25 MiB.")]
    TooLarge,
    #[error("The file is no audio that can be read; MP3, MP4, M4A, WAV, WebM, OGG and FLAC can.")]
    Unreadable,
    #[error("The file is in a known container and has no audio in it.")]
    Silent,
    #[error("The audio is longer than 2 hours; split it.")]
    TooLong,
}

impl Audio {
    /// Reads a file that one call may have.
    pub fn read(bytes: Bytes, name: &str) -> Result<Self, AudioError> {
        if bytes.len() > LARGEST {
            return Err(AudioError::TooLarge);
        }
        let audio = Self::measure(Sound::Whole(bytes), name)?;
        if audio.duration_ms > LONGEST_MS { Err(AudioError::TooLong) } else { Ok(audio) }
    }

    /// Reads a file of any length to its end. Takes a moment of computing for large ones.
    pub fn measure(sound: Sound, name: &str) -> Result<Self, AudioError> {
        if sound.length() == 0 {
            return Err(AudioError::Empty);
        }
        let stream = MediaSourceStream::new(sound.source(), MediaSourceStreamOptions::default());
        let (formats, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let mut reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, formats, metadata)
            .map_err(|_| AudioError::Unreadable)?;
        let container = reader.format_info().short_name;
        let (mut short, mut total_ms) = (None, 0_u64);
        // A file may be several in a row, as radio stations chain them.
        while let Some(track) = reader.default_track(TrackType::Audio) {
            let (id, Some(base)) = (track.id, track.time_base) else { break };
            short = short_type(track.codec_params.as_ref());
            let skipped = u64::from(track.delay.unwrap_or(0));
            let (mut ticks, mut first, mut last) = (0_u64, None, 0_i64);
            // A file that breaks off plays up to there.
            let next = loop {
                match reader.next_packet() {
                    Ok(Some(packet)) if packet.track_id == id => {
                        ticks = ticks.saturating_add(packet.dur.get());
                        // Packets of WebM do not tell how long they are.
                        first.get_or_insert(packet.pts.get());
                        last = last.max(packet.pts.get().saturating_add_unsigned(packet.dur.get()));
                    }
                    Ok(Some(_)) => {}
                    Err(SymphoniaError::ResetRequired) => break true,
                    Ok(None) | Err(_) => break false,
                }
            };
            let span = u64::try_from(last.saturating_sub(first.unwrap_or(0))).unwrap_or(0);
            let ticks = u128::from(ticks.saturating_sub(skipped).max(span.saturating_sub(skipped)));
            let (numerator, denominator) = (u128::from(base.numer.get()), u128::from(base.denom.get()));
            let ms = u64::try_from(ticks * 1000 * numerator / denominator).unwrap_or(u64::MAX);
            total_ms = total_ms.saturating_add(ms);
            if !next {
                break;
            }
        }
        let duration_ms = total_ms;
        if duration_ms == 0 {
            return Err(AudioError::Silent);
        }
        let content_type = content_type(container);
        let name = if name.is_empty() { "audio" } else { name }.to_owned();
        let short = short.filter(|_| matches!(container, "wave" | "ogg"));
        Ok(Self { sound, name, content_type, duration_ms, short })
    }
}

/// How Azure Speech calls it as short audio.
fn short_type(codec: Option<&CodecParameters>) -> Option<&'static str> {
    let Some(CodecParameters::Audio(codec)) = codec else { return None };
    let mono = codec.channels.as_ref().is_some_and(|channels| channels.count() == 1);
    match codec.codec {
        CODEC_ID_PCM_S16LE if mono && codec.sample_rate == Some(16_000) => {
            Some("audio/wav; codecs=audio/pcm; samplerate=16000")
        }
        CODEC_ID_OPUS => Some("audio/ogg; codecs=opus"),
        _ => None,
    }
}

fn content_type(container: &str) -> &'static str {
    match container {
        "wave" => "audio/wav",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "mp3" | "mp2" | "mp1" => "audio/mpeg",
        "isomp4" => "audio/mp4",
        "matroska" => "audio/webm",
        "aac" => "audio/aac",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file of silence.
    fn wav(rate: u32, channels: u16, ms: u32, claimed: Option<u32>) -> Bytes {
        let length = rate * u32::from(channels) * 2 / 1000 * ms;
        let claimed = claimed.unwrap_or(length);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&(36 + claimed).to_le_bytes());
        bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
        bytes.extend_from_slice(&channels.to_le_bytes());
        bytes.extend_from_slice(&rate.to_le_bytes());
        bytes.extend_from_slice(&(rate * u32::from(channels) * 2).to_le_bytes());
        bytes.extend_from_slice(&(channels * 2).to_le_bytes());
        bytes.extend_from_slice(b"\x10\0data");
        bytes.extend_from_slice(&claimed.to_le_bytes());
        bytes.resize(bytes.len() + length as usize, 0);
        bytes.into()
    }

    #[test]
    fn length_is_measured_and_not_believed() {
        let read = |bytes| Audio::read(bytes, "a.wav").map(|audio| audio.duration_ms);
        assert_eq!(read(wav(16_000, 1, 1_500, None)), Ok(1_500));
        assert_eq!(read(wav(48_000, 2, 2_000, None)), Ok(2_000));
        // The header claims an hour of which a second is there.
        let Ok(ms) = read(wav(16_000, 1, 1_000, Some(16_000 * 2 * 3600))) else { panic!() };
        assert!((900..=1_100).contains(&ms), "{ms}");
        let short = |bytes| Audio::read(bytes, "").unwrap().short.is_some();
        assert!(
            short(wav(16_000, 1, 100, None)) && !short(wav(44_100, 1, 100, None)) && !short(wav(16_000, 2, 100, None))
        );
    }

    #[test]
    fn what_is_no_audio_is_told_apart() {
        let read = |bytes: &[u8]| Audio::read(Bytes::copy_from_slice(bytes), "x").unwrap_err();
        assert_eq!(read(b""), AudioError::Empty);
        assert_eq!(read(b"just some text that is certainly no audio"), AudioError::Unreadable);
        assert_eq!(read(&[0; 4096]), AudioError::Unreadable);
        assert_eq!(Audio::read(wav(16_000, 1, 0, None), "").unwrap_err(), AudioError::Silent);
        assert_eq!(Audio::read(vec![0; LARGEST + 1].into(), "").unwrap_err(), AudioError::TooLarge);
        assert_eq!(Audio::read(wav(1_000, 1, 7_300_000, None), "").unwrap_err(), AudioError::TooLong);
    }
}
