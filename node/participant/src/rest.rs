//! The REST half of joining: `POST /api/meeting/:id/join`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::options::Options;

/// What a join by REST gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The room token for signalling.
    pub token: String,
    /// The participant id.
    pub participant: String,
}

/// Why a join by REST gave no ticket.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// No answer.
    #[error("no answer from the node")]
    Unreachable(#[source] reqwest::Error),
    /// Answered with an error.
    #[error("refused with status {status}, code {code}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code; empty when the answer had none.
        code: String,
        /// For people; the whole body when it was no error of the documented shape.
        message: String,
    },
    /// The host has to let the participant in first.
    #[error("waiting to be let in")]
    Waiting,
    /// Answered with success and without what was asked for.
    #[error("a successful answer without `{0}`")]
    Lacks(&'static str),
}

#[derive(Serialize)]
struct Body<'a> {
    participant_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meeting_password: Option<&'a str>,
    device_info: Device,
}

#[derive(Serialize)]
struct Device {
    platform: &'static str,
    browser: &'static str,
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Capabilities {
    video: bool,
    audio: bool,
    screen_share: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    access_token: String,
    participant_id: String,
    status: String,
}

impl Ticket {
    /// Joins by REST alone.
    ///
    /// # Errors
    ///
    /// [`RestError`] when there is no ticket.
    pub async fn request(options: &Options) -> Result<Self, RestError> {
        // What is on this machine or in this network is not reached through a proxy.
        let client = reqwest::Client::builder().no_proxy().timeout(options.deadline).build();
        let client = client.map_err(RestError::Unreachable)?;
        let base = options.base_url.trim_end_matches('/');
        let mut request = client.post(format!("{base}/api/meeting/{}/join", options.meeting)).json(&Body {
            participant_name: &options.name,
            meeting_password: options.password.as_deref(),
            device_info: Device {
                platform: "headless",
                browser: "plenary-participant",
                capabilities: Capabilities { video: true, audio: true, screen_share: false },
            },
        });
        if let Some(token) = &options.user_token {
            request = request.bearer_auth(token);
        }
        let (status, text) = send(request).await?;
        Self::read(status, &text)
    }

    fn read(status: u16, text: &str) -> Result<Self, RestError> {
        let answer: Answer = success(status, text)?;
        if answer.data.status == "waiting" {
            return Err(RestError::Waiting);
        }
        if answer.data.access_token.is_empty() {
            return Err(RestError::Lacks("access_token"));
        }
        Ok(Self { token: answer.data.access_token, participant: answer.data.participant_id })
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<(u16, String), RestError> {
    let response = request.send().await.map_err(RestError::Unreachable)?;
    let status = response.status().as_u16();
    Ok((status, response.text().await.map_err(RestError::Unreachable)?))
}

/// The body of a successful answer.
fn success<T: Default + DeserializeOwned>(status: u16, text: &str) -> Result<T, RestError> {
    if (200..300).contains(&status) {
        return Ok(serde_json::from_str(text).unwrap_or_default());
    }
    let Refusal { code, message } = serde_json::from_str(text).unwrap_or_default();
    let message = if message.is_empty() { text.to_owned() } else { message };
    Err(RestError::Refused { status, code, message })
}

/// Sends a request; the body of its successful answer.
pub(crate) async fn answer_of(request: reqwest::RequestBuilder) -> Result<serde_json::Value, RestError> {
    let (status, text) = send(request).await?;
    success(status, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let joined = r#"{"success":true,"data":{"access_token":"jwt","participant_id":"p1","webrtc_config":{}}}"#;
        let ticket = Ticket::read(200, joined).unwrap();
        assert_eq!((ticket.token.as_str(), ticket.participant.as_str()), ("jwt", "p1"));
        let waiting = r#"{"success":true,"data":{"access_token":"lobby","status":"waiting"}}"#;
        assert!(matches!(Ticket::read(200, waiting), Err(RestError::Waiting)));
        assert!(matches!(Ticket::read(200, r#"{"data":{}}"#), Err(RestError::Lacks("access_token"))));
        let full = r#"{"success":false,"code":"MEETING_FULL","message":"full"}"#;
        let refused = Ticket::read(409, full).unwrap_err().to_string();
        assert_eq!(refused, "refused with status 409, code MEETING_FULL: full");
        let refused = Ticket::read(502, "bad gateway").unwrap_err().to_string();
        assert_eq!(refused, "refused with status 502, code : bad gateway");
    }
}
