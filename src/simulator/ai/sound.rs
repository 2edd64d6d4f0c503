//! Audio that is made: a quiet hum in plain samples, silence in compressed frames that real decoders read.

use std::iter;

/// How a voice sounds in every format: so many samples a second, one channel.
const RATE: u32 = 24_000;

/// Opus counts at this rate whatever the rate of the sound.
const OPUS_RATE: u64 = 48_000;

/// What a decoder of Opus throws away at the start.
const OPUS_LEAD: u64 = 312;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Samples of 16 bits.
    Pcm {
        rate: u32,
    },
    /// The same in a WAV file.
    Wav {
        rate: u32,
    },
    /// At a constant rate, in bits a second.
    Mp3 {
        rate: u32,
        bits: u32,
    },
    /// In Ogg.
    Opus,
    Flac,
    /// In ADTS frames.
    Aac,
}

impl Sound {
    /// As audio of this length, to the frame above it.
    pub fn make(self, milliseconds: u64) -> Vec<u8> {
        let plan = self.plan(milliseconds);
        plan.part(0, plan.length)
    }

    /// The same before it is made, so that hours of it need no memory.
    pub fn plan(self, milliseconds: u64) -> Plan {
        match self {
            Sound::Pcm { rate } => Plan::new(Vec::new(), hum(rate), 2 * samples(rate, milliseconds)),
            Sound::Wav { rate } => {
                let length = 2 * samples(rate, milliseconds);
                Plan::new(wav(rate, length), hum(rate), length)
            }
            Sound::Mp3 { rate, bits } => mp3(rate, bits, milliseconds),
            Sound::Opus => Plan::whole(opus(milliseconds)),
            Sound::Flac => Plan::whole(flac(milliseconds)),
            Sound::Aac => aac(milliseconds),
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            Sound::Pcm { .. } => "audio/pcm",
            Sound::Wav { .. } => "audio/wav",
            Sound::Mp3 { .. } => "audio/mpeg",
            Sound::Opus => "audio/ogg",
            Sound::Flac => "audio/flac",
            Sound::Aac => "audio/aac",
        }
    }
}

/// Bytes that are made when they are read: a head, and behind it the same over and over, up to a length.
#[derive(Debug, Clone)]
pub struct Plan {
    head: Vec<u8>,
    unit: Vec<u8>,
    /// Of all of it.
    pub length: u64,
}

impl Plan {
    fn new(head: Vec<u8>, unit: Vec<u8>, repeated: u64) -> Self {
        let length = (head.len() as u64).saturating_add(repeated);
        Self { head, unit, length }
    }

    /// Nothing is repeated.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self::new(bytes, Vec::new(), 0)
    }

    /// So many bytes from a place on, or as many as there are.
    pub fn part(&self, from: u64, most: u64) -> Vec<u8> {
        let size = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        let (head, wanted) = (self.head.len() as u64, size(most.min(self.length.saturating_sub(from))));
        let mut part: Vec<u8> = self.head.iter().skip(size(from)).take(wanted).copied().collect();
        let into = from.saturating_sub(head) % (self.unit.len() as u64).max(1);
        part.reserve_exact(wanted - part.len());
        part.extend(self.unit.iter().cycle().skip(size(into)).take(wanted - part.len()));
        part
    }
}

fn samples(rate: u32, milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(u64::from(rate)) / 1_000
}

/// As many frames as it takes.
fn frames(rate: u32, milliseconds: u64, samples_each: u64) -> u64 {
    samples(rate, milliseconds).div_ceil(samples_each)
}

fn repeated(frame: Vec<u8>, frames: u64) -> Plan {
    let length = frames.saturating_mul(frame.len() as u64);
    Plan::new(Vec::new(), frame, length)
}

/// One wave of a quiet square wave of 200 Hz.
fn hum(rate: u32) -> Vec<u8> {
    let half_wave = usize::try_from(rate / 400).unwrap_or(1).max(1);
    [200_i16, -200].into_iter().flat_map(|level| level.to_le_bytes().repeat(half_wave)).collect()
}

/// The head of a file with so many bytes of samples.
fn wav(rate: u32, length: u64) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut head = Vec::with_capacity(44);
    head.extend(b"RIFF");
    head.extend(length.saturating_add(36).to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16_u32.to_le_bytes());
    // Plain samples, one channel, samples and bytes a second, two bytes each, 16 bits.
    head.extend([1, 0, 1, 0]);
    head.extend(rate.to_le_bytes());
    head.extend((rate * 2).to_le_bytes());
    head.extend([2, 0, 16, 0]);
    head.extend(b"data");
    head.extend(length.to_le_bytes());
    head
}

/// Frames whose side information says that nothing follows.
fn mp3(rate: u32, bits: u32, milliseconds: u64) -> Plan {
    const FULL: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const HALF: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    // From 32 kHz it is MPEG-1, below MPEG-2 with frames of half the length.
    let (version, rates, each, sampling) = match rate {
        48_000 => (0xFB, FULL, 1_152, 1),
        44_100 => (0xFB, FULL, 1_152, 0),
        24_000 => (0xF3, HALF, 576, 1),
        _ => (0xF3, HALF, 576, 2),
    };
    let index = rates.iter().position(|kilobits| kilobits * 1_000 == bits).unwrap_or(0);
    let length = usize::try_from(each / 8 * (rates[index] * 1_000) / rate).unwrap_or(0);
    // The index is less than 15, and so in four bits.
    let head = [0xFF, version, u8::try_from(index + 1).unwrap_or(1) << 4 | sampling << 2, 0xC0];
    let frame: Vec<u8> = head.into_iter().chain(iter::repeat(0)).take(length).collect();
    repeated(frame, frames(rate, milliseconds, u64::from(each)))
}

/// One channel of silence in each frame.
fn aac(milliseconds: u64) -> Plan {
    const SILENCE: [u8; 6] = [0x00, 0xC8, 0x00, 0x80, 0x23, 0x80];
    // MPEG-4 without checksum, low complexity, 24 kHz, one channel, 13 bytes, variable rate.
    const HEAD: [u8; 7] = [0xFF, 0xF1, 0x58, 0x40, 0x01, 0xBF, 0xFC];
    repeated([HEAD.as_slice(), SILENCE.as_slice()].concat(), frames(RATE, milliseconds, 1_024))
}

fn opus(milliseconds: u64) -> Vec<u8> {
    // 20 ms of silence, one channel.
    const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];
    const PACKET: u64 = 960;
    const PACKETS_A_PAGE: u64 = 50;
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(u16::try_from(OPUS_LEAD).unwrap_or(0).to_le_bytes());
    head.extend(RATE.to_le_bytes());
    head.extend([0, 0, 0]);
    let mut tags = b"OpusTags".to_vec();
    let vendor = b"simulated";
    tags.extend(u32::try_from(vendor.len()).unwrap_or(0).to_le_bytes());
    tags.extend(vendor);
    tags.extend(0_u32.to_le_bytes());
    let mut file = page(2, 0, 0, &[&head]);
    file.extend(page(0, 0, 1, &[&tags]));
    // The last page says where the sound ends, within its last packet.
    let end = OPUS_LEAD + milliseconds.saturating_mul(OPUS_RATE) / 1_000;
    let packets = end.div_ceil(PACKET);
    let mut done = 0;
    let mut number = 2;
    while done < packets {
        let now = PACKETS_A_PAGE.min(packets - done);
        done += now;
        let (flags, granule) = if done == packets { (4, end) } else { (0, done * PACKET) };
        let all: Vec<&[u8]> = (0..now).map(|_| SILENCE.as_slice()).collect();
        file.extend(page(flags, granule, number, &all));
        number += 1;
    }
    file
}

/// A page of Ogg; no packet is longer than 254 bytes.
fn page(flags: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(0x51_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(packets.len()).unwrap_or(u8::MAX));
    page.extend(packets.iter().map(|packet| u8::try_from(packet.len()).unwrap_or(u8::MAX)));
    page.extend(packets.concat());
    let sum = page.iter().fold(0_u32, |sum, byte| checksum(sum, u32::from(*byte) << 24, 0x04C1_1DB7));
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

/// One byte further, most significant bit first.
fn checksum(sum: u32, byte: u32, polynomial: u32) -> u32 {
    (0..8).fold(sum ^ byte, |sum, _| if sum >> 31 == 1 { sum << 1 ^ polynomial } else { sum << 1 })
}

/// Frames in which every sample is the same.
fn flac(milliseconds: u64) -> Vec<u8> {
    const FRAME: u16 = 4_096;
    let all = samples(RATE, milliseconds);
    let mut file = b"fLaC\x80\x00\x00\x22".to_vec();
    file.extend(FRAME.to_be_bytes());
    file.extend(FRAME.to_be_bytes());
    // Sizes of frames are not told. Then 20 bits of rate, 3 of channels, 5 of bits, 36 of samples; and no digest.
    file.extend([0; 6]);
    file.extend((u64::from(RATE) << 44 | 15 << 36 | all).to_be_bytes());
    file.extend([0; 16]);
    let (mut done, mut number) = (0, 0_u32);
    while done < all {
        let now = u16::try_from(all - done).unwrap_or(FRAME).min(FRAME);
        file.extend(flac_frame(number, now));
        done += u64::from(now);
        number += 1;
    }
    file
}

fn flac_frame(number: u32, samples: u16) -> Vec<u8> {
    // The length is told in 16 bits, the rate is 24 kHz; one channel of 16 bits.
    let mut frame = vec![0xFF, 0xF8, 0x77, 0x08];
    let mut coded = [0; 4];
    let number = char::from_u32(number).unwrap_or_default();
    frame.extend(number.encode_utf8(&mut coded).as_bytes());
    frame.extend((samples.max(1) - 1).to_be_bytes());
    let head = frame.iter().fold(0, |sum, byte| checksum(sum, u32::from(*byte) << 24, 0x07 << 24));
    frame.push((head >> 24).to_be_bytes()[3]);
    // A constant of zero.
    frame.extend([0, 0, 0]);
    let whole = frame.iter().fold(0, |sum, byte| checksum(sum, u32::from(*byte) << 24, 0x8005 << 16));
    frame.extend(&whole.to_be_bytes()[..2]);
    frame
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bytes::Bytes;
    use symphonia::core::formats::TrackType;
    use symphonia::core::formats::probe::Hint;
    use symphonia::core::io::MediaSourceStream;

    use super::super::measure::measure;
    use super::*;

    #[tokio::test]
    async fn what_is_made_is_as_long_as_asked() {
        for (sound, frame) in [
            (Sound::Wav { rate: 24_000 }, 1),
            (Sound::Wav { rate: 16_000 }, 1),
            (Sound::Opus, 1),
            (Sound::Flac, 1),
            (Sound::Aac, 43),
            (Sound::Mp3 { rate: 24_000, bits: 48_000 }, 24),
            (Sound::Mp3 { rate: 24_000, bits: 160_000 }, 24),
            (Sound::Mp3 { rate: 16_000, bits: 32_000 }, 36),
            (Sound::Mp3 { rate: 48_000, bits: 192_000 }, 24),
        ] {
            for milliseconds in [60, 1_000, 12_345, 100_000] {
                let audio = measure(Bytes::from(sound.make(milliseconds))).await;
                let measured = audio.unwrap_or_else(|| panic!("{sound:?} is not audio")).milliseconds;
                assert!(
                    (milliseconds..milliseconds + frame).contains(&measured),
                    "{sound:?} {milliseconds} {measured}"
                );
            }
        }
        assert_eq!(Sound::Pcm { rate: 24_000 }.make(1_500).len(), 72_000);
    }

    #[test]
    fn parts_make_up_the_whole() {
        for sound in [Sound::Wav { rate: 16_000 }, Sound::Mp3 { rate: 24_000, bits: 48_000 }, Sound::Opus] {
            let (plan, whole) = (sound.plan(700), sound.make(700));
            assert_eq!(plan.length, whole.len() as u64);
            let parts: Vec<u8> = (0..plan.length).step_by(37).flat_map(|from| plan.part(from, 37)).collect();
            assert!(parts == whole, "{sound:?}");
            assert!(plan.part(plan.length, 1).is_empty() && plan.part(u64::MAX, 1).is_empty());
        }
    }

    /// Every packet goes through a real decoder.
    #[test]
    fn what_is_made_can_be_decoded() {
        for sound in [
            Sound::Wav { rate: 24_000 },
            Sound::Flac,
            Sound::Aac,
            Sound::Mp3 { rate: 24_000, bits: 48_000 },
            Sound::Mp3 { rate: 48_000, bits: 96_000 },
        ] {
            let source = MediaSourceStream::new(Box::new(Cursor::new(sound.make(1_000))), Default::default());
            let probe = symphonia::default::get_probe();
            let mut reader = probe
                .probe(&Hint::new(), source, Default::default(), Default::default())
                .unwrap_or_else(|_| panic!("{sound:?}"));
            let track = reader.default_track(TrackType::Audio).unwrap();
            let params = track.codec_params.as_ref().unwrap().audio().unwrap();
            let mut decoder = symphonia::default::get_codecs().make_audio_decoder(params, &Default::default()).unwrap();
            let mut frames = 0;
            while let Some(packet) = reader.next_packet().unwrap() {
                frames += decoder.decode(&packet).unwrap_or_else(|why| panic!("{sound:?}: {why}")).frames();
            }
            assert!(frames >= 24_000, "{sound:?} {frames}");
        }
    }
}
