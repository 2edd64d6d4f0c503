//! Pieces of audio as one file. WAV pieces lose their heads and get one of the right length; frames of MP3 and samples of
//! PCM simply follow each other.

/// The formats in which long texts are spoken.
pub const FORMATS: [&str; 3] = ["mp3", "wav", "pcm"];

/// Where a WAV file has its samples.
#[derive(Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    /// The `fmt` chunk.
    pub format: &'a [u8],
    pub from: u64,
    /// A stream may claim more than it has, because its length was not known at its beginning.
    pub claimed: u64,
}

/// Reads the beginning of a WAV file; None when it is none.
pub fn samples(wav: &[u8]) -> Option<Samples<'_>> {
    if wav.get(..4)? != b"RIFF" || wav.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut format) = (12, None);
    loop {
        let name = wav.get(at..at + 4)?;
        let length = usize::try_from(u32::from_le_bytes(wav.get(at + 4..at + 8)?.try_into().ok()?)).ok()?;
        let body = at + 8;
        match name {
            b"fmt " => format = Some(wav.get(body..body.checked_add(length)?)?),
            b"data" => return Some(Samples { format: format?, from: body as u64, claimed: length as u64 }),
            _ => {}
        }
        // Chunks begin at even places.
        at = body.checked_add(length)?.checked_add(length % 2)?;
    }
}

/// The head of a WAV file with so many bytes of samples; None beyond the 4 GiB that it can tell.
pub fn head(format: &[u8], length: u64) -> Option<Vec<u8>> {
    let around = 4 + 8 + format.len() as u64 + 8;
    let (whole, length) = (u32::try_from(length.checked_add(around)?).ok()?, u32::try_from(length).ok()?);
    let mut head = Vec::with_capacity(44);
    head.extend_from_slice(b"RIFF");
    head.extend_from_slice(&whole.to_le_bytes());
    head.extend_from_slice(b"WAVEfmt ");
    head.extend_from_slice(&u32::try_from(format.len()).ok()?.to_le_bytes());
    head.extend_from_slice(format);
    head.extend_from_slice(b"data");
    head.extend_from_slice(&length.to_le_bytes());
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wav_files_become_one_that_plays_as_long_as_both() {
        let format = [1, 0, 1, 0, 0xC0, 0x5D, 0, 0, 0x80, 0xBB, 0, 0, 2, 0, 16, 0];
        let file = |samples: &[u8], claimed: u64| [head(&format, claimed).unwrap(), samples.to_vec()].concat();
        let (one, two) = (file(&[1, 2, 3, 4], 4), file(&[5, 6], 4_000_000));
        assert_eq!(samples(&one), Some(Samples { format: &format, from: 44, claimed: 4 }));
        assert_eq!(samples(&two).map(|found| found.claimed), Some(4_000_000));
        let joined = file(&[&one[44..], &two[44..]].concat(), 6);
        assert_eq!((joined.len(), samples(&joined).unwrap().claimed), (50, 6));
        for broken in [&b"RIFF"[..], b"", b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", &one[..30]] {
            assert_eq!(samples(broken), None);
        }
        assert_eq!(head(&format, u64::from(u32::MAX)), None);
    }
}
