//! `GET /api/meeting`: the caller's meetings, newest first.

use axum::extract::{Query, State};
use plenary_cluster::model::{Meeting, MeetingId, MeetingStatus, Timestamp};
use serde_json::{Map, Value, json};

use super::access::role_in;
use super::caller::Caller;
use super::problem::Problem;
use super::revision::{Promise, Revised};
use super::view;
use crate::app::App;
use crate::fields::Fields;

const STATUSES: [(&str, MeetingStatus); 3] =
    [("scheduled", MeetingStatus::Scheduled), ("live", MeetingStatus::Live), ("ended", MeetingStatus::Ended)];

/// Items on a page, unless the caller says otherwise.
const DEFAULT_LIMIT: u64 = 50;

/// What the caller wants to see.
#[derive(Debug)]
struct Filter {
    status: Option<MeetingStatus>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    text: Option<String>,
    limit: usize,
    /// The last item of the page before.
    after: Option<MeetingId>,
}

/// Meetings that the caller created, is invited to or attended.
pub(super) async fn list(
    State(app): State<App>,
    Caller(user): Caller,
    promise: Promise,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Revised, Problem> {
    let filter = Filter::read(query)?;
    let state = promise.state(&app).await?;
    let mut mine = state
        .meetings()
        .rev()
        .filter(|meeting| filter.after.is_none_or(|last| meeting.id < last))
        .filter(|meeting| filter.matches(meeting) && role_in(&state, meeting, &user).is_some());
    let page: Vec<&Meeting> = mine.by_ref().take(filter.limit).collect();
    let next = mine.next().and_then(|_| page.last()).map(|last| last.id);
    let data: Vec<Value> = page.into_iter().map(view::summary).collect();
    let body = json!({"success": true, "data": data, "next_cursor": next});
    Ok(Revised { revision: state.revision(), body })
}

impl Filter {
    fn read(query: Vec<(String, String)>) -> Result<Self, Problem> {
        let object: Map<String, Value> = query.into_iter().map(plain).collect();
        let mut fields = Fields::new(&object);
        let cursor = fields.text("cursor", 1..=128);
        let after = cursor.as_ref().and_then(|text| text.parse().ok());
        if cursor.is_some() && after.is_none() {
            fields.fault("cursor", "unknown_value", "`cursor` must be the `next_cursor` of an answer before");
        }
        let filter = Self {
            status: fields.choice("status", &STATUSES),
            from: fields.time("from"),
            to: fields.time("to"),
            text: fields.text("q", 0..=200).map(|text| text.to_lowercase()),
            limit: usize::try_from(fields.integer("limit", 1..=200).unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX),
            after,
        };
        Problem::of_fields(fields.finish())?;
        Ok(filter)
    }

    fn matches(&self, meeting: &Meeting) -> bool {
        let time = meeting.start_time.unwrap_or(meeting.created_at);
        let holds = |text: &String| {
            meeting.name.to_lowercase().contains(text) || meeting.description.to_lowercase().contains(text)
        };
        self.status.is_none_or(|status| meeting.status == status)
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time <= to)
            && self.text.as_ref().is_none_or(holds)
    }
}

/// A query's parameter as JSON: `limit` is a number, where it reads as one.
fn plain((name, text): (String, String)) -> (String, Value) {
    let number = if name == "limit" { text.parse::<u64>().ok() } else { None };
    (name, number.map_or(Value::String(text), Value::from))
}
