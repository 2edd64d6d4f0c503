//! A question that was kept under a name, and when its answer is mailed to whom. Pure decisions; `service::mails` acts on
//! them.
//!
//! A mail goes once for each due time. Who sends it writes so before (`sending`), over the version that was read; so a second
//! timer finds it taken. Whoever dies between that and the result leaves `sending` behind: nobody knows then whether the mail
//! has gone, so it is said to be unknown and not sent again. Only where the server surely has not taken it, it is tried again.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

/// Sending takes a minute at most; after this nobody is at it any more.
const LEFT: SignedDuration = SignedDuration::from_mins(15);
/// Between tries of a mail that has not gone, and how many there are.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);
const TRIES: u32 = 6;
/// Microsoft's numbers of a month are complete two days after it.
const DAY_OF_MONTH: i8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    Day,
    /// On Mondays.
    Week,
    /// On the third.
    Month,
}

impl Every {
    pub const ALL: [(&'static str, Self); 3] = [("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// The first due time after a moment, at a full hour (UTC).
    pub fn next(self, after: Timestamp, hour: i8) -> Timestamp {
        let start = after.to_zoned(TimeZone::UTC).date();
        let fits = |day: &Date| match self {
            Self::Day => true,
            Self::Week => day.weekday() == Weekday::Monday,
            Self::Month => day.day() == DAY_OF_MONTH,
        };
        let days = std::iter::successors(Some(start), |day| day.checked_add(1.day()).ok()).take(40);
        let mut due = days.filter(fits).filter_map(|day| {
            let at = day.at(hour.clamp(0, 23), 0, 0, 0).to_zoned(TimeZone::UTC).ok()?;
            Some(at.timestamp()).filter(|at| *at > after)
        });
        due.next().unwrap_or(Timestamp::MAX)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub id: String,
    pub name: String,
    /// In the query language.
    pub text: String,
    pub by: String,
    pub changed: Timestamp,
    #[serde(default)]
    pub mail: Option<Mail>,
    #[serde(default)]
    pub sending: Option<Sending>,
    #[serde(default)]
    pub last: Option<Sent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub every: Every,
    pub hour: i8,
    pub to: Vec<String>,
    pub due: Timestamp,
    /// A due time whose mail surely has not gone yet.
    #[serde(default)]
    pub again: Option<Again>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    pub due: Timestamp,
    pub tries: u32,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    pub due: Timestamp,
    pub began: Timestamp,
    pub tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Sent,
    /// It surely has not gone.
    Failed,
    /// It may have gone.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub due: Timestamp,
    pub at: Timestamp,
    pub outcome: Outcome,
    #[serde(default)]
    pub rows: u64,
    #[serde(default)]
    pub said: Option<String>,
}

impl Saved {
    /// What is to be done now: written down before it is done.
    pub fn begin(&mut self, now: Timestamp) -> Step {
        if let Some(sending) = &self.sending {
            if now.duration_since(sending.began) < LEFT {
                return Step::Nothing;
            }
            let said = Some("the process ended while it was sending".to_owned());
            self.last = Some(Sent { due: sending.due, at: now, outcome: Outcome::Unknown, rows: 0, said });
            self.sending = None;
            return Step::Note;
        }
        let Some(mail) = &mut self.mail else { return Step::Nothing };
        if let Some(again) = mail.again.clone().filter(|again| again.at <= now) {
            mail.again = None;
            self.sending = Some(Sending { due: again.due, began: now, tries: again.tries });
            return Step::Send;
        }
        if mail.due > now {
            return Step::Nothing;
        }
        // After a downtime there is one mail, however many were missed.
        let due = mail.due;
        mail.due = mail.every.next(now, mail.hour);
        mail.again = None;
        self.sending = Some(Sending { due, began: now, tries: 0 });
        Step::Send
    }

    /// Somebody wants it now.
    pub fn begin_now(&mut self, now: Timestamp) -> bool {
        let busy = self.sending.as_ref().is_some_and(|sending| now.duration_since(sending.began) < LEFT);
        let may = !busy && self.mail.is_some();
        if may {
            // What comes of it is told, and it is not tried again by itself.
            self.sending = Some(Sending { due: now, began: now, tries: TRIES });
        }
        may
    }

    /// What has come of it. `passes`: it has not gone, and trying again may help.
    pub fn end(&mut self, sent: Sent, passes: bool) {
        let Some(sending) = self.sending.take_if(|sending| sending.due == sent.due) else { return };
        if let Some(mail) = self.mail.as_mut().filter(|_| passes && sending.tries + 1 < TRIES) {
            mail.again = Some(Again { due: sent.due, tries: sending.tries + 1, at: sent.at + AGAIN });
        }
        self.last = Some(sent);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Only something to be written down.
    Note,
    Send,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn saved() -> Saved {
        let due = at("2026-03-02T06:00:00Z");
        let mail = Mail { every: Every::Day, hour: 6, to: vec!["a@b.example".into()], due, again: None };
        Saved {
            id: "q".into(),
            name: "Usage".into(),
            text: String::new(),
            by: String::new(),
            changed: due,
            mail: Some(mail),
            sending: None,
            last: None,
        }
    }

    fn sent(due: Timestamp, at: Timestamp, outcome: Outcome) -> Sent {
        Sent { due, at, outcome, rows: 0, said: None }
    }

    #[test]
    fn due_times_follow_the_calendar() {
        let after = at("2026-03-02T06:00:00Z");
        for (every, expected) in [
            (Every::Day, "2026-03-03T06:00:00Z"),
            (Every::Week, "2026-03-09T06:00:00Z"),
            (Every::Month, "2026-03-03T06:00:00Z"),
        ] {
            assert_eq!(every.next(after, 6), at(expected));
        }
        assert_eq!(Every::Day.next(after, 7), at("2026-03-02T07:00:00Z"));
        assert_eq!(Every::Month.next(at("2026-03-03T06:00:00Z"), 6), at("2026-04-03T06:00:00Z"));
    }

    #[test]
    fn a_due_time_is_taken_once_and_missed_ones_are_one() {
        let mut one = saved();
        let now = at("2026-03-05T09:00:00Z");
        assert_eq!(one.begin(now), Step::Send);
        assert_eq!(one.mail.as_ref().unwrap().due, at("2026-03-06T06:00:00Z"));
        assert_eq!(one.begin(now), Step::Nothing);
        one.end(sent(at("2026-03-02T06:00:00Z"), now, Outcome::Sent), false);
        assert_eq!(one.begin(now), Step::Nothing);
    }

    #[test]
    fn whoever_dies_while_sending_leaves_an_unknown_end_and_no_second_mail() {
        let mut one = saved();
        let now = at("2026-03-02T06:00:00Z");
        assert_eq!(one.begin(now), Step::Send);
        assert_eq!(one.begin(now + SignedDuration::from_mins(16)), Step::Note);
        assert_eq!(one.last.as_ref().unwrap().outcome, Outcome::Unknown);
        assert_eq!(one.begin(now + SignedDuration::from_mins(17)), Step::Nothing);
    }

    #[test]
    fn what_surely_has_not_gone_is_tried_again_some_times() {
        let mut one = saved();
        let mut now = at("2026-03-02T06:00:00Z");
        let due = now;
        let mut tries = 0;
        while one.begin(now) == Step::Send {
            tries += 1;
            one.end(sent(due, now, Outcome::Failed), true);
            now += AGAIN;
        }
        assert_eq!(tries, TRIES);
    }
}
