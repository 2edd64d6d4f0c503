//! A mail server that keeps what it is given: the few verbs that a delivery needs, and answers as the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail that came, as it came.
#[derive(Debug, Clone)]
pub struct Mail {
    pub to: Vec<String>,
    pub text: String,
}

impl Mail {
    /// The header's value, unfolded; panics if it is not there exactly once.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}:", name.to_lowercase());
        let mut found = head.split("\r\n").filter(|line| line.to_lowercase().starts_with(&prefix));
        let value = found.next().unwrap_or_else(|| panic!("no {name} in {head}"))[prefix.len()..].trim().to_owned();
        assert!(found.next().is_none(), "{name} twice in {head}");
        value
    }

    /// The parts by their content type, decoded.
    pub fn part(&self, kind: &str) -> String {
        let boundary = self.header("content-type").split("boundary=").nth(1).unwrap().trim_matches('"').to_owned();
        let part = self.text.split(&format!("--{boundary}")).find(|part| part.contains(kind)).unwrap();
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        if head.contains("quoted-printable") {
            unquoted(body)
        } else if head.contains("base64") {
            String::from_utf8(STANDARD.decode(body.replace(['\r', '\n'], "")).unwrap()).unwrap()
        } else {
            body.to_owned()
        }
    }
}

fn unquoted(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'=' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
pub struct MailServer {
    pub port: u16,
    got: Arc<Mutex<Vec<Mail>>>,
    /// Verb and answer.
    next: Arc<Mutex<VecDeque<(&'static str, &'static str)>>>,
}

/// The only user, and the password.
pub const USER: &str = "leads";
pub const PASSWORD: &str = "mail-secret";

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().talk(stream));
            }
        });
        server
    }

    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    /// What the verb is answered once.
    pub fn answer(&self, verb: &'static str, answer: &'static str) {
        self.next.lock().unwrap().push_back((verb, answer));
    }

    fn scripted(&self, verb: &str) -> Option<&'static str> {
        let mut next = self.next.lock().unwrap();
        let at = next.iter().position(|(known, _)| *known == verb)?;
        next.remove(at).map(|(_, answer)| answer)
    }

    async fn talk(self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await?;
        let (mut to, mut signed_in) = (Vec::new(), false);
        while let Some(line) = lines.next_line().await? {
            let verb = line.split([' ', ':']).next().unwrap().to_uppercase();
            let login = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
            let usual = match verb.as_str() {
                "EHLO" => "250-test\r\n250-AUTH PLAIN\r\n250 8BITMIME",
                "AUTH" if line.strip_prefix("AUTH PLAIN ") == Some(&login) => {
                    signed_in = true;
                    "235 welcome"
                }
                "AUTH" => "535 5.7.8 wrong password",
                "MAIL" if !signed_in => "530 5.7.0 sign in first",
                "RCPT" => {
                    to.push(line.split(['<', '>']).nth(1).unwrap().to_owned());
                    "250 ok"
                }
                "MAIL" | "RSET" | "NOOP" => "250 ok",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "502 unknown",
            };
            let answer = self.scripted(&verb).unwrap_or(usual);
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
            if verb == "DATA" && answer.starts_with("354") {
                let mut text = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push_str("\r\n");
                }
                self.got.lock().unwrap().push(Mail { to: std::mem::take(&mut to), text });
                write.write_all(b"250 taken\r\n").await?;
            }
        }
        Ok(())
    }
}
