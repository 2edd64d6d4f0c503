//! A real Azurite (the Azure Storage emulator) on free ports, in disk mode, stopped when dropped. `--loose`, because
//! the client asks for checksums of ranges that Azurite does not compute.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub struct Azurite {
    process: Option<Child>,
    folder: TempDir,
    /// Blob, queue, table.
    ports: [u16; 3],
}

impl Azurite {
    /// None, with the reason on the output, when Azurite is not installed (`tests/run` installs it).
    pub fn start() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/node_modules/azurite/dist/src/azurite.js");
        if !script.exists() {
            assert!(std::env::var_os("CI").is_none(), "Azurite is missing in CI");
            eprintln!("skipped: Azurite is not installed; run tests/run, which installs it");
            return None;
        }
        let mut this =
            Self { process: None, folder: TempDir::new().unwrap(), ports: [free_port(), free_port(), free_port()] };
        this.resume();
        Some(this)
    }

    /// Starts the process again on the same ports and data.
    pub fn resume(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/node_modules/azurite/dist/src/azurite.js");
        let [blob, queue, table] = self.ports.map(|port| port.to_string());
        let process = Command::new("node")
            .arg(script)
            .args(["--silent", "--disableTelemetry", "--loose", "--location"])
            .arg(self.folder.path())
            .args(["--blobPort", &blob, "--queuePort", &queue, "--tablePort", &table])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            assert!(Instant::now() < deadline, "Azurite did not start within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the process; the data stay. Asked politely first: killed at once, Azurite forgets what it has acknowledged
    /// in its last seconds, which Azure does not.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
            let deadline = Instant::now() + Duration::from_secs(5);
            while process.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn connection_string(&self) -> String {
        let [blob, queue, table] = self.ports;
        let at = |port| format!("http://127.0.0.1:{port}/devstoreaccount1");
        format!(
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={};QueueEndpoint={};TableEndpoint={};",
            at(blob),
            at(queue),
            at(table)
        )
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
