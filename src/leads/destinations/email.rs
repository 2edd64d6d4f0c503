//! Mail to the publisher's people, by SMTP. The message's id is made of the lead's id and revision, so that a repeat can
//! be recognised; what people wrote is encoded in headers and escaped in HTML.

use std::time::SystemTime;

use async_trait::async_trait;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use minijinja::HtmlEscape;

use super::answer::{Caller, later};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, cut, line};
use super::{DO_NOT_CONTACT, DeliveryError, Destination, Receipt};
use crate::foundation::smtp::{Security, Smtp, SmtpError};
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

#[derive(Debug)]
pub(super) struct Email {
    smtp: Smtp,
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
        let port = entry.number("port").unwrap_or(security.usual_port());
        let user = entry.optional("user");
        let key = entry.optional("key").map(|name| entry.named_key(&name));
        if user.is_some() != key.is_some() {
            entry.wrong("user", "user and key belong together");
        }
        let from = entry.text("from", "an address such as Leads <leads@example.com>");
        let from: Option<Mailbox> = from.parse().map_err(|_| entry.wrong("from", "is no mail address")).ok();
        let texts = entry.list("to");
        let to: Vec<Mailbox> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if to.is_empty() || to.len() != texts.len() {
            entry.wrong("to", "expected a list of mail addresses");
        }
        let caller = tools.caller(SYSTEM);
        let domain = from.as_ref().map_or("localhost", |from| from.email.domain()).to_owned();
        let smtp = Smtp { host, port, security, login: user.zip(key), domain, password_in: "LEAD_KEYS" };
        Self { smtp, from, to, caller, mapping: entry.mapping(DEFAULT) }
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

#[async_trait]
impl Destination for Email {
    /// A mail can not be changed, so a lead that changed is another mail in the same conversation.
    async fn deliver(&self, lead: &Lead, _before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let Some(message) = self.message(lead) else {
            return Err(DeliveryError::Refused { said: "the mail can not be written; check from and to".to_owned() });
        };
        self.smtp.send(message).await.map(|()| Receipt::default()).map_err(|error| match error {
            SmtpError::Later(said) | SmtpError::Unreachable(said) => later(said),
            SmtpError::Refused(said) => DeliveryError::Refused { said },
        })
    }
}
