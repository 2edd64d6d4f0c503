//! `mediagenie package DIR`: the folder that is deployed to Azure Functions (functions-host contract 4): host.json, one
//! folder for each function, the executable with its run bit.

use std::fs;
use std::path::{Path, PathBuf};

use super::bindings::Folders;

const HOST_JSON: &str = include_str!("../../host.json");
/// As host.json names it.
const EXECUTABLE: &str = "mediagenie";

#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("{0} is not empty and is not an earlier package; choose an empty or new folder")]
    NotEmpty(PathBuf),
    #[error("{0} can not be written")]
    Write(PathBuf, #[source] std::io::Error),
    #[error("our own executable can not be read")]
    Executable(#[source] std::io::Error),
    #[error(
        "this executable was built for {0}; Azure Functions runs Linux on x86_64. Build with a Linux target and package with that executable"
    )]
    WrongSystem(&'static str),
}

/// Writes the package and gives the number of functions in it. An earlier package in the same folder is replaced.
pub fn write(folder: &Path) -> Result<usize, PackageError> {
    if !cfg!(target_os = "linux") {
        return Err(PackageError::WrongSystem(std::env::consts::OS));
    }
    if folder.exists()
        && !folder.join("host.json").exists()
        && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(PackageError::NotEmpty(folder.to_owned()));
    }
    let put = |path: &Path, data: &[u8]| {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(path, data))
            .map_err(|error| PackageError::Write(path.to_owned(), error))
    };
    put(&folder.join("host.json"), HOST_JSON.as_bytes())?;
    let mut count = 0;
    for name in Folders::iter() {
        if let Some(file) = Folders::get(&name) {
            put(&folder.join(&*name), &file.data)?;
            count += 1;
        }
    }
    let own = std::env::current_exe().map_err(PackageError::Executable)?;
    let target = folder.join(EXECUTABLE);
    // A running copy can not be written over, but it can be replaced.
    let _ = fs::remove_file(&target);
    fs::copy(&own, &target).map_err(|error| PackageError::Write(target.clone(), error))?;
    run_bit(&target)?;
    Ok(count)
}

#[cfg(unix)]
fn run_bit(path: &Path) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| PackageError::Write(path.to_owned(), error))
}

#[cfg(not(unix))]
fn run_bit(_path: &Path) -> Result<(), PackageError> {
    Ok(())
}
