//! The product as a process of its own: the built executable, killed when dropped.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    /// Starts `program arguments...` with exactly these settings and waits until it answers on `address`.
    pub fn start(program: &Path, arguments: &[&str], settings: &HashMap<String, String>, address: &str) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let this = Self { child, address: address.to_owned() };
        this.wait_until_up();
        this
    }

    /// `mediagenie serve`.
    pub fn serve(settings: &HashMap<String, String>, port: u16) -> Self {
        let mut settings = settings.clone();
        settings.insert("LISTEN_ADDRESS".into(), format!("127.0.0.1:{port}"));
        Self::start(executable(), &["serve"], &settings, &format!("http://127.0.0.1:{port}"))
    }

    fn wait_until_up(&self) {
        let port = self.address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the process did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn executable() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mediagenie"))
}
