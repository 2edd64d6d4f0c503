//! An input of a batch transcription: fetched over HTTP, and measured.
//!
//! A file is read up to a gibibyte. Of plain samples in WAV the head and the number of bytes tell the length, so that a
//! large file is counted and not kept; every other format has to be walked through, and so must fit into memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::measure::measure;
use crate::simulator::Simulator;

const LARGEST: u64 = 1 << 30;

/// From this size on, WAV is counted only.
const COUNTED: usize = 8 << 20;

/// What is kept of other formats at most.
const LARGEST_KEPT: usize = 256 << 20;

const FETCH_TIMEOUT: Duration = Duration::from_secs(600);

/// Codecs whose samples take the same number of bytes each: plain, with a point, A-law, u-law, and plain as an extension.
const EVEN_CODECS: [u16; 5] = [1, 3, 6, 7, 0xFFFE];

/// What is known of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub milliseconds: u64,
    pub channels: usize,
}

/// Why there is no transcript of an input. The names of the kinds were not seen at the real service.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub kind: &'static str,
    pub message: String,
}

impl Trouble {
    fn fetching(why: &str) -> Self {
        Self { kind: "DownloadFailed", message: format!("The input can not be fetched: {why}") }
    }

    pub fn audio(why: &str) -> Self {
        Self { kind: "InvalidAudio", message: why.to_owned() }
    }
}

/// Fetches and measures. Redirects are not followed.
pub async fn hear(simulator: Simulator, address: String) -> Result<Heard, Trouble> {
    let failed = |error: reqwest::Error| {
        Trouble::fetching(if error.is_timeout() { "it takes too long." } else { "the connection failed." })
    };
    let reply = simulator.http().get(&address).timeout(FETCH_TIMEOUT).send().await.map_err(failed)?;
    if reply.status() != 200 {
        return Err(Trouble::fetching(&format!("the answer is {}.", reply.status().as_u16())));
    }
    let (mut stream, mut kept, mut size) = (reply.bytes_stream(), BytesMut::new(), 0_u64);
    let mut counted: Option<Wav> = None;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(failed)?;
        size += chunk.len() as u64;
        if size > LARGEST {
            return Err(Trouble::audio("The input is larger than 1 GB."));
        }
        if counted.is_some() {
            continue;
        }
        kept.extend_from_slice(&chunk);
        if kept.len() >= COUNTED {
            counted = Wav::read(&kept);
        }
        if counted.is_some() {
            kept = BytesMut::new();
        } else if kept.len() > LARGEST_KEPT {
            return Err(Trouble::audio("The simulator measures no more than 256 MB of what is not WAV."));
        }
    }
    match counted {
        Some(wav) => Ok(wav.heard(size)),
        None => heard(kept.freeze()).await,
    }
}

async fn heard(bytes: Bytes) -> Result<Heard, Trouble> {
    let audio = measure(bytes).await.ok_or_else(|| Trouble::audio("The input is no audio of a known format."))?;
    Ok(Heard { milliseconds: audio.milliseconds, channels: audio.channels })
}

/// The head of a WAV file.
#[derive(Debug)]
struct Wav {
    channels: u16,
    rate: u32,
    /// Bytes of one sample of all channels.
    block: u16,
    /// Where the samples begin, and how long they say they are.
    begins: u64,
    told: u32,
}

impl Wav {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
            return None;
        }
        let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (mut at, mut format) = (12_usize, None);
        loop {
            let (name, length) = (bytes.get(at..at + 4)?, long(at + 4)?);
            at += 8;
            if name == b"fmt " && EVEN_CODECS.contains(&short(at)?) {
                format = Some((short(at + 2)?, long(at + 4)?, short(at + 12)?));
            }
            if name == b"data" {
                let (channels, rate, block) = format?;
                let good = channels > 0 && rate > 0 && block > 0;
                return good.then_some(Self { channels, rate, block, begins: at as u64, told: length });
            }
            // Parts begin at even places.
            let next = usize::try_from(length).ok()?;
            at = at.checked_add(next)?.checked_add(next % 2)?;
            bytes.get(at)?;
        }
    }

    /// Of a file of this size. Who writes before the length is known tells none, or one that is not there.
    fn heard(&self, size: u64) -> Heard {
        let there = size.saturating_sub(self.begins);
        let bytes = if self.told == 0 { there } else { there.min(self.told.into()) };
        let (samples, rate) = (bytes / u64::from(self.block), u64::from(self.rate));
        Heard { milliseconds: (samples * 1_000 + rate / 2) / rate, channels: self.channels.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sound::Sound;
    use super::*;

    #[tokio::test]
    async fn what_is_counted_is_as_long_as_what_is_measured() {
        for milliseconds in [1, 1_000, 12_345] {
            let file = Sound::Wav { rate: 16_000 }.make(milliseconds);
            let counted = Wav::read(&file).unwrap().heard(file.len() as u64);
            assert_eq!(counted, Heard { milliseconds, channels: 1 });
            assert_eq!(heard(Bytes::from(file)).await.unwrap(), counted);
        }
        let mut file = Sound::Wav { rate: 16_000 }.make(2_000);
        file[40..44].fill(0xFF);
        assert_eq!(Wav::read(&file).unwrap().heard(file.len() as u64).milliseconds, 2_000);
        file[40..44].fill(0);
        assert_eq!(Wav::read(&file).unwrap().heard(file.len() as u64 / 2).milliseconds, 999);
    }

    #[test]
    fn a_head_that_is_none_is_not_read() {
        let file = Sound::Wav { rate: 16_000 }.make(100);
        assert!((0..44).all(|length| Wav::read(&file[..length]).is_none()));
        assert!(Wav::read(&Sound::Flac.make(100)).is_none());
        let mut compressed = file;
        compressed[20] = 2;
        assert!(Wav::read(&compressed).is_none());
    }
}
