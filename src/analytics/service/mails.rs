//! Questions that are kept, and their answers by mail.

use std::sync::Arc;
use std::time::SystemTime;

use csv::StringRecord;
use jiff::Timestamp;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MultiPart, SinglePart};

use super::AnalyticsError;
use super::export;
use super::questions::{self, Answered, QuestionError};
use crate::analytics::model::datasets::Kind;
use crate::analytics::model::saved::{Every, Mail, Outcome, Saved, Sending, Sent, Step};
use crate::analytics::saved;
use crate::app::App;
use crate::foundation::settings;
use crate::foundation::smtp::SmtpError;
use crate::store::{Etag, StoreError};

const LONGEST_NAME: usize = 100;
const MOST_QUESTIONS: usize = 200;
const MOST_ADDRESSES: usize = 20;
/// What mail servers take as a rule, encoded; a greater answer is downloaded from the page.
const MOST_BYTES: usize = 7 * 1024 * 1024;
/// How often a result is written while others change the row.
const ROUNDS: usize = 8;

fn asked(field: &'static str, reason: impl Into<String>) -> QuestionError {
    AnalyticsError::Asked { field, reason: reason.into() }.into()
}

/// The questions by name.
pub async fn all(app: &App) -> Result<Vec<Saved>, AnalyticsError> {
    let mut all: Vec<Saved> = saved::all(app).await?.into_iter().map(|(saved, _)| saved).collect();
    all.sort_by_key(|saved| saved.name.to_lowercase());
    Ok(all)
}

fn checked_name(name: &str) -> Result<String, QuestionError> {
    let name = name.trim();
    match name.chars().count() {
        0 => Err(asked("name", "The name is missing.")),
        count if count > LONGEST_NAME => {
            Err(asked("name", format!("The name has more than {LONGEST_NAME} characters.")))
        }
        _ => Ok(name.to_owned()),
    }
}

/// Keeps a question that can be answered under a name.
pub async fn save(app: &App, name: &str, text: &str, by: &str) -> Result<Saved, QuestionError> {
    let name = checked_name(name)?;
    questions::read(app, text, false).await?;
    let all = all(app).await?;
    if all.len() >= MOST_QUESTIONS {
        return Err(asked(
            "name",
            format!("There are {MOST_QUESTIONS} questions already; remove one that nobody needs."),
        ));
    }
    if all.iter().any(|known| known.name.to_lowercase() == name.to_lowercase()) {
        return Err(asked("name", "Another question has this name."));
    }
    let id = app.random.token().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let (text, by, changed) = (text.trim().to_owned(), by.to_owned(), app.clock.now());
    let saved = Saved { id, name, text, by, changed, mail: None, sending: None, last: None };
    saved::insert(app, &saved).await.map_err(AnalyticsError::from)?;
    Ok(saved)
}

/// Changes a question over the version that is there, as often as others write it meanwhile. None: there is none.
async fn change<T>(
    app: &App,
    id: &str,
    mut how: impl FnMut(&mut Saved) -> T,
) -> Result<Option<(Saved, T)>, AnalyticsError> {
    for _ in 0..ROUNDS {
        let Some((mut saved, etag)) = saved::find(app, id).await? else { return Ok(None) };
        let done = how(&mut saved);
        match saved::replace(app, &saved, etag).await {
            Ok(_) => return Ok(Some((saved, done))),
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AnalyticsError::Contention("the question".into()))
}

/// `false`: there is none.
pub async fn reword(app: &App, id: &str, text: &str, by: &str) -> Result<bool, QuestionError> {
    questions::read(app, text, false).await?;
    let now = app.clock.now();
    let changed = change(app, id, |saved| {
        text.trim().clone_into(&mut saved.text);
        by.clone_into(&mut saved.by);
        saved.changed = now;
    });
    Ok(changed.await?.is_some())
}

pub async fn remove(app: &App, id: &str) -> Result<bool, AnalyticsError> {
    let Some((_, etag)) = saved::find(app, id).await? else { return Ok(false) };
    saved::remove(app, id, etag).await?;
    Ok(true)
}

/// Addresses separated by commas, blanks or lines.
fn addresses(text: &str) -> Result<Vec<String>, QuestionError> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split([',', ';', '\n', '\r', ' ', '\t']).filter(|word| !word.is_empty()) {
        let address: lettre::Address =
            word.parse().map_err(|_| asked("to", format!("`{word}` is no mail address.")))?;
        let address = address.to_string();
        if !found.iter().any(|known| known.eq_ignore_ascii_case(&address)) {
            found.push(address);
        }
    }
    match found.len() {
        0 => Err(asked("to", "Name at least one mail address.")),
        count if count > MOST_ADDRESSES => Err(asked("to", format!("More than {MOST_ADDRESSES} addresses."))),
        _ => Ok(found),
    }
}

/// Mails the answer from now on; `false`: there is no such question.
pub async fn schedule(app: &App, id: &str, every: Every, hour: i8, to: &str) -> Result<bool, QuestionError> {
    if app.settings.mail.is_none() {
        return Err(asked("every", "No mail is sent here: MAIL_SMTP and MAIL_FROM are not set."));
    }
    let to = addresses(to)?;
    let due = every.next(app.clock.now(), hour);
    let mail = Mail { every, hour: hour.clamp(0, 23), to, due, again: None };
    Ok(change(app, id, |saved| saved.mail = Some(mail.clone())).await?.is_some())
}

pub async fn unschedule(app: &App, id: &str) -> Result<bool, AnalyticsError> {
    Ok(change(app, id, |saved| saved.mail = None).await?.is_some())
}

/// Sends the mails that are due. May run twice at the same time and die anywhere: [`crate::analytics::model::saved`] says
/// what then.
pub async fn send_due(app: &Arc<App>) -> Result<(), AnalyticsError> {
    let now = app.clock.now();
    for (mut one, etag) in saved::all(app).await? {
        let step = one.begin(now);
        if step == Step::Nothing || !taken(app, &one, etag).await? {
            continue;
        }
        if step == Step::Send {
            send(app, &one).await?;
        }
    }
    Ok(())
}

/// Written over the version that was read; `false`: somebody else was faster.
async fn taken(app: &App, one: &Saved, etag: Etag) -> Result<bool, AnalyticsError> {
    match saved::replace(app, one, etag).await {
        Ok(_) => Ok(true),
        Err(StoreError::Precondition) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sends one now. None: there is no such question, it is not mailed to anybody, or it is being sent.
pub async fn send_now(app: &App, id: &str) -> Result<Option<Sent>, AnalyticsError> {
    let now = app.clock.now();
    let Some((mut one, etag)) = saved::find(app, id).await? else { return Ok(None) };
    if !one.begin_now(now) || !taken(app, &one, etag).await? {
        return Ok(None);
    }
    send(app, &one).await.map(Some)
}

async fn send(app: &App, one: &Saved) -> Result<Sent, AnalyticsError> {
    let Some((sending, mail)) = one.sending.clone().zip(one.mail.clone()) else {
        return Err(AnalyticsError::Contention(one.name.clone()));
    };
    let (sent, passes) = deliver(app, one, &sending, &mail).await;
    if let Some(said) = &sent.said {
        tracing::warn!(question = one.id, outcome = ?sent.outcome, said, "an export was not mailed");
    }
    change(app, &one.id, |saved| saved.end(sent.clone(), passes)).await?;
    Ok(sent)
}

/// What came of it, and whether trying again may help.
async fn deliver(app: &App, one: &Saved, sending: &Sending, mail: &Mail) -> (Sent, bool) {
    let at = app.clock.now();
    let end = |outcome, rows, said| Sent { due: sending.due, at, outcome, rows, said };
    let failed = |said: String, passes| (end(Outcome::Failed, 0, Some(said)), passes);
    let Some(settings) = &app.settings.mail else { return failed("MAIL_SMTP is not set".into(), false) };
    let answered = match questions::ask(app, &one.text, None).await {
        Ok(answered) => answered,
        // Our store passes; a question that can no longer be answered does not.
        Err(QuestionError::Failed(error)) => return failed(error.to_string(), true),
        Err(error) => return failed(error.to_string(), false),
    };
    let rows = answered.table.rows.len() as u64;
    let file = csv(&answered);
    if file.len() > MOST_BYTES {
        let most = MOST_BYTES / 1024 / 1024;
        return failed(format!("the answer has more than {most} MiB; download it, or ask for less"), false);
    }
    let Some(message) = message(app, settings, one, sending, mail, &answered, file) else {
        return failed("the mail can not be written; check the addresses".into(), false);
    };
    // Whether the server lets us in is found out first: what fails here surely has not gone.
    match settings.smtp.try_out().await {
        Ok(()) => {}
        Err(SmtpError::Later(said) | SmtpError::Unreachable(said)) => return failed(said, true),
        Err(SmtpError::Refused(said)) => return failed(said, false),
    }
    match settings.smtp.send(message).await {
        Ok(()) => (end(Outcome::Sent, rows, None), false),
        Err(SmtpError::Refused(said)) => failed(said, false),
        Err(SmtpError::Later(said)) => failed(said, true),
        Err(SmtpError::Unreachable(said)) => (end(Outcome::Unknown, rows, Some(said)), false),
    }
}

/// The answer as a spreadsheet may open it.
pub fn csv(answered: &Answered) -> Vec<u8> {
    let kind = |name: &String| answered.dataset.column(name).map_or(Kind::Text, |column| column.kind);
    let columns: Vec<(String, Kind)> = answered.table.columns.iter().map(|name| (name.clone(), kind(name))).collect();
    let rows: Vec<StringRecord> = answered.table.rows.iter().map(|row| row.as_slice().into()).collect();
    export::whole(export::Format::Csv { for_people: true }, &columns, &rows)
}

fn message(
    app: &App,
    settings: &settings::Mail,
    one: &Saved,
    sending: &Sending,
    mail: &Mail,
    answered: &Answered,
    file: Vec<u8>,
) -> Option<Message> {
    let domain = settings.from.email.domain().to_owned();
    let Answered { from, to, .. } = answered;
    let mut message = Message::builder()
        .from(settings.from.clone())
        .date(SystemTime::from(app.clock.now()))
        // The same due time has the same id, should it ever come twice.
        .message_id(Some(format!("<{}.{}@{domain}>", one.id, sending.due.as_microsecond())))
        .subject(format!("{} ({from} – {to})", one.name))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for address in &mail.to {
        message = message.to(Mailbox::new(None, address.parse().ok()?));
    }
    let as_of = answered.as_of.map_or_else(|| "no file yet".to_owned(), shown);
    let text = format!(
        "{}\r\n\r\n{} rows of {} from {from} to {to} (UTC), as of {as_of}. Microsoft's numbers may be up to 48 hours \
         behind.\r\n\r\n{}\r\n\r\n{}\r\n",
        one.name,
        answered.table.rows.len(),
        answered.dataset.name,
        one.text.replace('\r', "").replace('\n', "\r\n"),
        app.settings.absolute("/publisher/analytics/questions"),
    );
    let name: String = one.name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let csv = ContentType::parse("text/csv; charset=utf-8").ok()?;
    // Byte for byte: other encodings may change the ends of lines.
    let file = Body::new_with_encoding(file, ContentTransferEncoding::Base64).ok()?;
    let parts = MultiPart::mixed().boundary(format!("{}.{}", one.id, sending.due.as_microsecond()));
    let parts = parts
        .singlepart(SinglePart::plain(text))
        .singlepart(Attachment::new(format!("{name}_{from}_{to}.csv")).body(file, csv));
    message.multipart(parts).ok()
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
