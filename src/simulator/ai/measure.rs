//! How long audio is, measured from its bytes: the durations of its packets, as the containers tell them.

use std::io::Cursor;

use bytes::Bytes;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_PCM_S16LE};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{FORMAT_ID_OGG, FORMAT_ID_WAVE};
use symphonia::core::formats::{FormatId, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;

const NANOSECONDS: u128 = 1_000_000_000;

/// What the bytes tell of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audio {
    pub milliseconds: u64,
    pub channels: usize,
    rate: u32,
    container: FormatId,
    codec: AudioCodecId,
    /// Samples that are all zero. Known of plain samples only.
    pub silent: bool,
}

impl Audio {
    /// WAV with plain samples of 16 bits at 16 kHz, mono.
    pub fn is_plain_16_khz(&self) -> bool {
        self.container == FORMAT_ID_WAVE
            && self.codec == CODEC_ID_PCM_S16LE
            && (self.rate, self.channels) == (16_000, 1)
    }

    pub fn is_ogg_opus(&self) -> bool {
        self.container == FORMAT_ID_OGG && self.codec == CODEC_ID_OPUS
    }
}

/// Nothing, when it is no audio that is known.
pub async fn measure(bytes: Bytes) -> Option<Audio> {
    tokio::task::spawn_blocking(move || walk(bytes)).await.ok().flatten()
}

fn walk(bytes: Bytes) -> Option<Audio> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let hint = Hint::new();
    let reader = symphonia::default::get_probe().probe(&hint, source, Default::default(), Default::default()).ok()?;
    read(reader)
}

fn read(mut reader: Box<dyn FormatReader + '_>) -> Option<Audio> {
    let container = reader.format_info().format;
    let track = reader.default_track(TrackType::Audio)?;
    let (id, base, delay) = (track.id, track.time_base?, track.delay.unwrap_or(0));
    let AudioCodecParameters { codec, sample_rate, channels, .. } = track.codec_params.as_ref()?.audio()?.clone();
    let plain = codec == CODEC_ID_PCM_S16LE;
    let (mut total, mut silent) = (0_u64, plain);
    // Of a container that tells no durations: first and last time stamp, and the last step.
    let (mut first, mut last, mut step) = (None, 0_i64, 0_i64);
    // What comes behind a broken packet is not heard.
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != id {
            continue;
        }
        total = total.saturating_add(packet.dur.get());
        silent = silent && packet.data.iter().all(|byte| *byte == 0);
        let at = packet.pts.get();
        step = if first.is_some() { at.saturating_sub(last) } else { 0 };
        first.get_or_insert(at);
        last = at;
    }
    let first = first?;
    if total == 0 {
        total = u64::try_from(last.saturating_sub(first).saturating_add(step)).ok()?;
    } else if codec == CODEC_ID_OPUS && container == FORMAT_ID_OGG {
        // The library does not take the lead-in off.
        total = total.saturating_sub(u64::from(delay));
    }
    let nanoseconds =
        u128::from(total) * u128::from(base.numer.get()) * NANOSECONDS / u128::from(base.denom.get().max(1));
    Some(Audio {
        milliseconds: u64::try_from((nanoseconds + 500_000) / 1_000_000).ok()?,
        channels: channels.map_or(1, |channels| channels.count()),
        rate: sample_rate.unwrap_or(0),
        container,
        codec,
        silent,
    })
}
