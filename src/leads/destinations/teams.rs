//! Teams: an Adaptive Card for a workflow that posts what comes to its address. What people wrote stands in text runs
//! only, which know no Markdown: a name can not become a link there.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::answer::Caller;
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, cut, line};
use super::{DeliveryError, Destination, Receipt};
use crate::foundation::outbound::base_address;
use crate::foundation::secret::Secret;
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "Teams";
const TITLE: &str = "title";
const DEFAULT: &[(&str, &str)] = &[
    (TITLE, "Lead: {offer_title}"),
    ("First name", "{first_name}"),
    ("Last name", "{last_name}"),
    ("Company", "{company}"),
    ("Job title", "{title}"),
    ("E-mail", "{email}"),
    ("Phone", "{phone}"),
    ("Country", "{country}"),
    ("Action", "{action}"),
    ("Source", "{source}"),
    ("Description", "{description}"),
];
/// Of one value: a message has at most 28 KB.
const MOST: usize = 500;
const REMEDY: &str = "the workflow refuses us; copy its address again, and let anyone trigger it";

#[derive(Debug)]
pub(super) struct Teams {
    /// Whoever knows the address may post, so it is kept as a key.
    address: Secret,
    caller: Caller,
    mapping: Mapping,
}

impl Teams {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let address = entry.key();
        if let Some(Err(error)) = Some(address.expose()).filter(|text| !text.is_empty()).map(base_address) {
            entry.wrong("key", format_args!("the workflow's address {error}"));
        }
        Self { address, caller: tools.caller(SYSTEM), mapping: entry.mapping(DEFAULT) }
    }
}

fn run(text: &str, weight: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "weight": weight })
}

fn card(mapping: &Mapping, lead: &Lead, known: bool) -> Value {
    let (mut title, mut rows) = ("Lead".to_owned(), Vec::new());
    for (name, text) in mapping.shown(lead) {
        if name == TITLE {
            title = line(cut(&text, MOST));
        } else {
            let inlines = [run(&format!("{name}: "), "Bolder"), run(cut(&text, MOST), "Default")];
            rows.push(json!({ "type": "RichTextBlock", "inlines": inlines, "spacing": "Small" }));
        }
    }
    if known {
        title.push_str(" (changed)");
    }
    if lead.test {
        title.insert_str(0, "Test: ");
    }
    let mut head = run(&title, "Bolder");
    head["size"] = "Large".into();
    let mut body = vec![json!({ "type": "RichTextBlock", "inlines": [head] })];
    if lead.do_not_contact {
        let mut warning = run(super::DO_NOT_CONTACT, "Bolder");
        warning["color"] = "Attention".into();
        body.push(json!({ "type": "RichTextBlock", "inlines": [warning] }));
    }
    body.append(&mut rows);
    json!({
        "type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4",
        "fallbackText": "A lead has arrived.", "body": body,
    })
}

#[async_trait]
impl Destination for Teams {
    /// A posted card can not be changed or recognised, so a lead that changed is another card that says so.
    async fn deliver(&self, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let message = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": card(&self.mapping, lead, before.is_some()),
            }],
        });
        let answer = self.caller.send(self.caller.http.post(self.address.expose()).json(&message)).await?;
        if answer.status.is_success() {
            return Ok(Receipt::default());
        }
        let code = answer.body["error"]["code"].as_str();
        Err(self.caller.verdict(&answer, code, &[], REMEDY))
    }
}
