//! A look at a picture: what its head says of its size, and which colours its pixels have. Nothing else is seen.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageError, ImageFormat, ImageReader, Limits};

/// Larger pictures are not decoded.
const MOST_MEMORY: u64 = 256 << 20;

/// So many pixels along each side are looked at, at most.
const STEPS: u32 = 64;

/// The colours that have names, as the service names them.
const PALETTE: &[(&str, [u8; 3])] = &[
    ("Black", [0, 0, 0]),
    ("White", [255, 255, 255]),
    ("Grey", [128, 128, 128]),
    ("Red", [255, 0, 0]),
    ("Orange", [255, 140, 0]),
    ("Yellow", [255, 255, 0]),
    ("Green", [0, 160, 0]),
    ("Teal", [0, 160, 160]),
    ("Blue", [0, 0, 255]),
    ("Purple", [128, 0, 160]),
    ("Pink", [255, 128, 192]),
    ("Brown", [128, 72, 16]),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub format: ImageFormat,
    /// The commonest first; none, when the picture is too large to be decoded here.
    pub colours: Vec<&'static str>,
    /// The mean of all pixels that were looked at.
    pub mean: [u8; 3],
}

impl Picture {
    /// The commonest colour, in small letters.
    pub fn colour(&self) -> String {
        self.colours.first().map_or_else(|| "unknown".to_owned(), |colour| colour.to_lowercase())
    }
}

/// Why there is nothing to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// Not a picture, not of the formats that were given, or broken.
    Format,
    /// A side is shorter or longer than allowed.
    Size,
}

/// Looks at a picture whose format is among `formats` and whose sides are between two lengths.
pub async fn look(bytes: Bytes, formats: &'static [ImageFormat], sides: (u32, u32)) -> Result<Picture, Blind> {
    tokio::task::spawn_blocking(move || see(&bytes, formats, sides)).await.unwrap_or(Err(Blind::Format))
}

fn see(bytes: &[u8], formats: &[ImageFormat], (shortest, longest): (u32, u32)) -> Result<Picture, Blind> {
    let open = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = open().map_err(|_| Blind::Format)?;
    let format = reader.format().filter(|format| formats.contains(format)).ok_or(Blind::Format)?;
    let (width, height) = reader.into_dimensions().map_err(|_| Blind::Format)?;
    if width.min(height) < shortest || width.max(height) > longest {
        return Err(Blind::Size);
    }
    let mut reader = open().map_err(|_| Blind::Format)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let pixels = match reader.decode() {
        Ok(pixels) => pixels.into_rgb8(),
        Err(ImageError::Limits(_)) => {
            return Ok(Picture { width, height, format, colours: Vec::new(), mean: [0; 3] });
        }
        Err(_) => return Err(Blind::Format),
    };
    let mut counts = vec![0_u64; PALETTE.len()];
    let (mut sums, mut seen) = ([0_u64; 3], 0_u64);
    let step = |side: u32| usize::try_from((side / STEPS).max(1)).unwrap_or(1);
    for y in (0..height).step_by(step(height)) {
        for x in (0..width).step_by(step(width)) {
            let pixel = pixels.get_pixel(x, y).0;
            counts[nearest(pixel)] += 1;
            seen += 1;
            for (sum, part) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(part);
            }
        }
    }
    let mut colours: Vec<(u64, &str)> = counts
        .into_iter()
        .zip(PALETTE)
        .filter(|(count, _)| *count > 0)
        .map(|(count, (name, _))| (count, *name))
        .collect();
    colours.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mean = sums.map(|sum| u8::try_from(sum / seen.max(1)).unwrap_or(u8::MAX));
    Ok(Picture { width, height, format, colours: colours.into_iter().map(|(_, name)| name).collect(), mean })
}

/// The place in the palette of the colour next to this one.
fn nearest(pixel: [u8; 3]) -> usize {
    let distance = |colour: &[u8; 3]| -> u32 {
        pixel.iter().zip(colour).map(|(one, other)| u32::from(one.abs_diff(*other)).pow(2)).sum()
    };
    let places = PALETTE.iter().enumerate();
    places.min_by_key(|(_, (_, colour))| distance(colour)).map_or(0, |(place, _)| place)
}
