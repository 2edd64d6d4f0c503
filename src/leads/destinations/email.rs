//! Mail to the publisher's people, by SMTP. The message's id is made of the lead's id and revision, so that a repeat can
//! be recognised; what people wrote is encoded in headers and escaped in HTML.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use minijinja::HtmlEscape;

use super::answer::{Caller, PATIENCE, later};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, cut, line};
use super::{DO_NOT_CONTACT, DeliveryError, Destination, Receipt};
use crate::foundation::secret::Secret;
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "The mail server";
const SUBJECT: &str = "subject";
const DEFAULT: &[(&str, &str)] = &[
    (SUBJECT, "Lead: {offer_title}"),
    ("First name", "{first_name}"),
    ("Last name", "{last_name}"),
    ("Company", "{company}"),
    ("Job title", "{title}"),
    ("E-mail", "{email}"),
    ("Phone", "{phone}"),
    ("Country", "{country}"),
    ("Offer", "{offer}"),
    ("Action", "{action}"),
    ("Source", "{source}"),
    ("Description", "{description}"),
    ("Arrived", "{last}"),
    ("Lead", "{id}"),
];
/// Of a subject; what is longer nobody reads.
const MOST_SUBJECT: usize = 200;
/// From the connection to the last word; each word has [`PATIENCE`].
const WHOLE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// From the first byte.
    Tls,
    /// From the greeting on, never without.
    StartTls,
    /// On this machine only.
    None,
}

#[derive(Debug)]
pub(super) struct Email {
    host: String,
    port: u16,
    security: Security,
    login: Option<(String, Secret)>,
    from: Option<Mailbox>,
    to: Vec<Mailbox>,
    caller: Caller,
    mapping: Mapping,
}

impl Email {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let host = entry.text("host", "the name of an SMTP server");
        let host = entry.word("host", host);
        let security = match entry.optional("tls").as_deref() {
            None | Some("starttls") => Security::StartTls,
            Some("tls") => Security::Tls,
            Some("none") if matches!(host.as_str(), "localhost" | "127.0.0.1") => Security::None,
            Some("none") => {
                entry.wrong("tls", "`none` is accepted for localhost only");
                Security::StartTls
            }
            Some(_) => {
                entry.wrong("tls", "is not one of starttls, tls, none");
                Security::StartTls
            }
        };
        let port = entry.number("port").unwrap_or(match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::None => 25,
        });
        let user = entry.optional("user");
        let key = entry.optional("key").map(|name| entry.named_key(&name));
        if user.is_some() != key.is_some() {
            entry.wrong("user", "user and key belong together");
        }
        let from = entry.text("from", "an address such as Leads <leads@example.com>");
        let from = from.parse().map_err(|_| entry.wrong("from", "is no mail address")).ok();
        let texts = entry.list("to");
        let to: Vec<Mailbox> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if to.is_empty() || to.len() != texts.len() {
            entry.wrong("to", "expected a list of mail addresses");
        }
        let caller = tools.caller(SYSTEM);
        Self { host, port, security, login: user.zip(key), from, to, caller, mapping: entry.mapping(DEFAULT) }
    }

    fn message(&self, lead: &Lead) -> Option<Message> {
        let from = self.from.clone()?;
        let domain = from.email.domain().to_owned();
        let words = Words::of(&self.mapping, lead);
        let mut message = Message::builder()
            .from(from)
            .date(SystemTime::from(self.caller.clock.now()))
            .message_id(Some(format!("<{}.{}@{domain}>", lead.id, lead.revision)))
            // No message has this id; by it mail programs show what belongs to one lead together.
            .references(format!("<{}@{domain}>", lead.id))
            .subject(words.subject.clone())
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            message = message.to(to.clone());
        }
        let parts = MultiPart::alternative().boundary(format!("{}.{}", lead.id, lead.revision));
        let parts = parts.singlepart(SinglePart::plain(words.plain())).singlepart(SinglePart::html(words.html()));
        message.multipart(parts).ok()
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let tls = match self.security {
            Security::None => Tls::None,
            Security::StartTls => Tls::Required(TlsParameters::new(self.host.clone())?),
            Security::Tls => Tls::Wrapper(TlsParameters::new(self.host.clone())?),
        };
        let domain = self.from.as_ref().map_or("localhost", |from| from.email.domain());
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port)
            .tls(tls)
            .hello_name(ClientId::Domain(domain.to_owned()))
            .timeout(Some(PATIENCE));
        if let Some((user, key)) = &self.login {
            transport = transport.credentials(Credentials::new(user.clone(), key.expose().to_owned()));
        }
        Ok(transport.build())
    }
}

/// What the mail says.
struct Words {
    subject: String,
    warning: Option<&'static str>,
    rows: Vec<(String, String)>,
}

impl Words {
    fn of(mapping: &Mapping, lead: &Lead) -> Self {
        let (mut subject, mut rows) = ("Lead".to_owned(), Vec::new());
        for (name, value) in mapping.shown(lead) {
            if name == SUBJECT {
                subject = line(cut(&value, MOST_SUBJECT));
            } else {
                rows.push((line(name), value));
            }
        }
        if lead.do_not_contact {
            subject.insert_str(0, "[Do not contact] ");
        }
        if lead.test {
            subject.insert_str(0, "[Test] ");
        }
        Self { subject, warning: lead.do_not_contact.then_some(DO_NOT_CONTACT), rows }
    }

    fn plain(&self) -> String {
        let mut text = self.warning.map(|warning| format!("{warning}\r\n\r\n")).unwrap_or_default();
        for (name, value) in &self.rows {
            text.push_str(&format!("{name}: {}\r\n", value.replace('\n', "\r\n    ")));
        }
        text
    }

    fn html(&self) -> String {
        let warning = self.warning.map(|warning| format!("<p><strong>{warning}</strong></p>")).unwrap_or_default();
        let rows = self.rows.iter().map(|(name, value)| {
            let value = HtmlEscape(value).to_string().replace('\n', "<br>");
            format!("<tr><th scope=\"row\" align=\"left\">{}</th><td>{value}</td></tr>\r\n", HtmlEscape(name))
        });
        let rows: String = rows.collect();
        format!("<!DOCTYPE html>\r\n<html lang=\"en\"><body>{warning}<table>\r\n{rows}</table></body></html>\r\n")
    }
}

/// What the server's answer means; its words may name the person, so only the code is kept.
fn meaning(error: &lettre::transport::smtp::Error) -> DeliveryError {
    let code = error.status().map(|code| code.to_string());
    let refused = |said: String| DeliveryError::Refused { said };
    match code {
        Some(code) if error.is_transient() => later(format!("{SYSTEM} answered {code}")),
        Some(code) if matches!(code.as_str(), "530" | "534" | "535" | "538") => {
            refused(format!("{SYSTEM} answered {code}; check user and the key in LEAD_KEYS"))
        }
        Some(code) => refused(format!("{SYSTEM} answered {code}; check from and to, and what the user may send")),
        None if error.is_client() => {
            refused(format!("{SYSTEM} does not offer the TLS or the sign-in that the settings ask for"))
        }
        None if error.is_timeout() => later(format!("{SYSTEM} could not be reached: it took too long")),
        None if error.is_tls() => {
            later(format!("{SYSTEM} could not be reached: no TLS came about; check its certificate"))
        }
        None => later(format!("{SYSTEM} could not be reached")),
    }
}

#[async_trait]
impl Destination for Email {
    /// A mail can not be changed, so a lead that changed is another mail in the same conversation.
    async fn deliver(&self, lead: &Lead, _before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let Some(message) = self.message(lead) else {
            return Err(DeliveryError::Refused { said: "the mail can not be written; check from and to".to_owned() });
        };
        let transport = self.transport().map_err(|error| meaning(&error))?;
        match tokio::time::timeout(WHOLE, transport.send(message)).await {
            Ok(Ok(_)) => Ok(Receipt::default()),
            Ok(Err(error)) => Err(meaning(&error)),
            Err(_) => Err(later(format!("{SYSTEM} could not be reached: it took too long"))),
        }
    }
}
