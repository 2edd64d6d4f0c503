//! How long audio is, measured from its bytes: the durations of its packets, as the containers tell them.

use std::io::Cursor;

use bytes::Bytes;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_PCM_S16LE};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{FORMAT_ID_MKV, FORMAT_ID_OGG, FORMAT_ID_WAVE};
use symphonia::core::formats::{FormatId, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;

const NANOSECONDS: u128 = 1_000_000_000;

/// A day. What says that it is longer is not believed.
const LONGEST: u64 = 24 * 3_600_000;

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

/// Nothing, when it is no audio that is known. Broken files make the library panic now and then; that stays in the
/// thread.
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
    let count = channels.map_or(1, |channels| channels.count());
    let plain = codec == CODEC_ID_PCM_S16LE;
    let (mut total, mut silent) = (0_u64, plain);
    // Of a container that tells durations of some packets at most: first and last time stamp, and the last step.
    let (mut first, mut last, mut step) = (None, 0_i64, 0_i64);
    // What comes behind a broken packet is not heard.
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != id {
            continue;
        }
        // A file that ends too early ends within a packet, which is counted by what is there.
        let there = if plain { packet.data.len() / (2 * count.max(1)) } else { usize::MAX };
        total = total.saturating_add(packet.dur.get().min(there as u64));
        silent = silent && packet.data.iter().all(|byte| *byte == 0);
        let at = packet.pts.get();
        step = if first.is_some() { at.saturating_sub(last) } else { 0 };
        first.get_or_insert(at);
        last = at;
    }
    let first = first?;
    if container == FORMAT_ID_MKV {
        total = total.max(u64::try_from(last.saturating_sub(first).saturating_add(step)).unwrap_or(0));
    } else if codec == CODEC_ID_OPUS && container == FORMAT_ID_OGG {
        // The library does not take the lead-in off.
        total = total.saturating_sub(u64::from(delay));
    }
    let nanoseconds =
        u128::from(total) * u128::from(base.numer.get()) * NANOSECONDS / u128::from(base.denom.get().max(1));
    let milliseconds = u64::try_from((nanoseconds + 500_000) / 1_000_000).ok()?;
    let audio = Audio { milliseconds, channels: count, rate: sample_rate.unwrap_or(0), container, codec, silent };
    (milliseconds <= LONGEST).then_some(audio)
}

#[cfg(test)]
mod tests {
    use super::super::sound::Sound;
    use super::*;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap() | 0x1000_0000;
        [id, length.to_be_bytes().as_slice(), content].concat()
    }

    /// As a browser records it: one cluster, no length anywhere, no durations. 20 ms in each block.
    fn webm(blocks: u16) -> Vec<u8> {
        let audio = [element(&[0xB5], &48_000_f32.to_be_bytes()), element(&[0x9F], &[1])].concat();
        let head = b"OpusHead\x01\x01\x38\x01\x80\xBB\0\0\0\0\0";
        let track = [
            element(&[0xD7], &[1]),
            element(&[0x73, 0xC5], &[1]),
            element(&[0x83], &[2]),
            element(&[0x86], b"A_OPUS"),
            element(&[0x63, 0xA2], head),
            element(&[0xE1], &audio),
        ];
        let info = [
            element(&[0x2A, 0xD7, 0xB1], &1_000_000_u32.to_be_bytes()),
            element(&[0x4D, 0x80], b"x"),
            element(&[0x57, 0x41], b"x"),
        ]
        .concat();
        const UNKNOWN: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        let mut file = element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"webm"));
        file.extend([0x18, 0x53, 0x80, 0x67]);
        file.extend(UNKNOWN);
        file.extend(element(&[0x15, 0x49, 0xA9, 0x66], &info));
        file.extend(element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track.concat())));
        file.extend([0x1F, 0x43, 0xB6, 0x75]);
        file.extend(UNKNOWN);
        file.extend(element(&[0xE7], &[0]));
        for block in 0..blocks {
            let [high, low] = (block * 20).to_be_bytes();
            file.extend(element(&[0xA3], &[0x81, high, low, 0x80, 0xF8, 0xFF, 0xFE]));
        }
        file
    }

    fn atom(name: &str, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = u32::try_from(content.len() + 8).unwrap();
        [length.to_be_bytes().as_slice(), name.as_bytes(), &content].concat()
    }

    /// Frames of AAC at 24 kHz, 1,024 samples each.
    fn m4a(frames: u32) -> Vec<u8> {
        let number = |number: u32| number.to_be_bytes();
        let all = number(frames * 1_024);
        let mut config = vec![0x03, 0x19, 0, 0, 0, 0x04, 0x11, 0x40, 0x15];
        config.extend([0; 11]);
        config.extend([0x05, 0x02, 0x13, 0x08, 0x06, 0x01, 0x02]);
        let esds = atom("esds", &[&[0; 4], &config]);
        let mp4a = atom(
            "mp4a",
            &[&[0, 0, 0, 0, 0, 0, 0, 1], &[0; 8], &[0, 1, 0, 16, 0, 0, 0, 0], &number(24_000 << 16), &esds],
        );
        let stbl = atom(
            "stbl",
            &[
                &atom("stsd", &[&[0; 4], &number(1), &mp4a]),
                &atom("stts", &[&[0; 4], &number(1), &number(frames), &number(1_024)]),
                &atom("stsc", &[&[0; 4], &number(1), &number(1), &number(frames), &number(1)]),
                &atom("stsz", &[&[0; 4], &number(6), &number(frames)]),
                &atom("stco", &[&[0; 4], &number(1), &number(40)]),
            ],
        );
        let minf = atom("minf", &[&atom("smhd", &[&[0; 8]]), &stbl]);
        let mdhd = atom("mdhd", &[&[0; 12], &number(24_000), &all, &[0x55, 0xC4, 0, 0]]);
        let hdlr = atom("hdlr", &[&[0; 8], b"soun", &[0; 13]]);
        let tkhd = atom("tkhd", &[&[0, 0, 0, 1], &[0; 8], &number(1), &[0; 4], &all, &[0; 60]]);
        let mvhd = atom("mvhd", &[&[0; 12], &number(24_000), &all, &number(0x1_0000), &[1, 0], &[0; 74]]);
        let trak = atom("trak", &[&tkhd, &atom("mdia", &[&mdhd, &hdlr, &minf])]);
        let data = [0x00, 0xC8, 0x00, 0x80, 0x23, 0x80].repeat(usize::try_from(frames).unwrap());
        let ftyp = atom("ftyp", &[b"M4A \0\0\0\0M4A isom"]);
        [ftyp, atom("free", &[]), atom("mdat", &[&data]), atom("moov", &[&mvhd, &trak])].concat()
    }

    async fn length(bytes: Vec<u8>) -> Option<u64> {
        measure(Bytes::from(bytes)).await.map(|audio| audio.milliseconds)
    }

    #[tokio::test]
    async fn browsers_and_telephones_are_measured_too() {
        assert_eq!(length(webm(100)).await, Some(2_000));
        assert_eq!(length(m4a(100)).await, Some(4_267));
    }

    #[tokio::test]
    async fn formats_are_told_apart() {
        let of = async |sound: Sound| measure(Bytes::from(sound.make(500))).await.unwrap();
        assert!(of(Sound::Wav { rate: 16_000 }).await.is_plain_16_khz());
        assert!(!of(Sound::Wav { rate: 24_000 }).await.is_plain_16_khz());
        let opus = of(Sound::Opus).await;
        assert!(opus.is_ogg_opus() && !opus.is_plain_16_khz() && !opus.silent);
        assert!(!of(Sound::Flac).await.is_ogg_opus());
        assert_eq!(length(b"this is no audio, whatever it is called".repeat(50)).await, None);
        assert_eq!(length(Vec::new()).await, None);
        let mut quiet = Sound::Wav { rate: 16_000 }.make(500);
        quiet[44..].fill(0);
        assert!(measure(Bytes::from(quiet)).await.unwrap().silent);
    }

    #[tokio::test]
    async fn lengths_that_lie_are_not_believed() {
        let wav = Sound::Wav { rate: 16_000 }.make(2_000);
        let mut endless = wav.clone();
        endless[4..8].fill(0xFF);
        endless[40..44].fill(0xFF);
        assert_eq!(length(endless).await, Some(2_000));
        assert_eq!(length(wav[..20_044].to_vec()).await, Some(625));
    }

    #[tokio::test]
    async fn what_is_cut_is_as_long_as_what_is_left() {
        for sound in [
            Sound::Wav { rate: 24_000 },
            Sound::Opus,
            Sound::Flac,
            Sound::Aac,
            Sound::Mp3 { rate: 24_000, bits: 48_000 },
        ] {
            let mut bytes = sound.make(10_000);
            bytes.truncate(bytes.len() / 2);
            let left = length(bytes).await.unwrap_or(0);
            assert!((3_900..5_200).contains(&left), "{sound:?} {left}");
        }
    }
}
