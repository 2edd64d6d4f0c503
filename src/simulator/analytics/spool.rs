//! A file that was written once and is read in parts: in memory while it is small, else on disk until it is dropped.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::lock;

/// What is larger goes to disk.
const LARGEST_IN_MEMORY: usize = 16 << 20;

#[derive(Debug)]
struct OnDisk {
    path: PathBuf,
    file: Mutex<File>,
    len: u64,
}

/// Keeps the files of a process apart: simulators with the same randomness give the same ids.
static FILES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
pub struct Spool {
    memory: Vec<u8>,
    disk: Option<OnDisk>,
}

impl Spool {
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > LARGEST_IN_MEMORY { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.disk.is_none() {
            let name =
                format!("mediagenie-simulator-{}-{}.export", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
            self.disk = Some(OnDisk { path, file: Mutex::new(file), len: 0 });
        }
        if let Some(disk) = &mut self.disk {
            lock(&disk.file).write_all(&self.memory)?;
            disk.len += self.memory.len() as u64;
            self.memory.clear();
        }
        Ok(())
    }

    /// Nothing is written any more.
    pub fn finish(mut self) -> io::Result<Self> {
        if self.disk.is_some() {
            self.flush()?;
        }
        Ok(self)
    }

    pub fn len(&self) -> u64 {
        self.disk.as_ref().map_or(self.memory.len() as u64, |disk| disk.len)
    }

    /// The file ends here from now on.
    pub fn cut(&mut self, len: u64) {
        match &mut self.disk {
            Some(disk) => disk.len = disk.len.min(len),
            None => self.memory.truncate(usize::try_from(len).unwrap_or(usize::MAX)),
        }
    }

    /// At most so many bytes from a place on.
    pub fn read(&self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len().saturating_sub(from)).unwrap_or(usize::MAX).min(most);
        let Some(disk) = &self.disk else {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            return Ok(self.memory.get(from..from.saturating_add(left)).unwrap_or_default().to_vec());
        };
        let mut bytes = vec![0; left];
        let mut file = lock(&disk.file);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            // Nobody is left to be told.
            let _ = fs::remove_file(disk.path);
        }
    }
}
