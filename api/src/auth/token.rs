//! Tokens: JWTs that say who someone is.
//!
//! **User tokens** (audience `plenary-user`) come from this cluster or, one day, from configured issuers: a list,
//! each with its own key and one pinned algorithm. **Room tokens** (audience `plenary-room`) are this cluster's
//! alone and open one participant's place in one meeting for ten minutes. Neither passes for the other.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use plenary_cluster::model::{MeetingId, ParticipantId, Role, RoomId, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

const USER_AUDIENCE: &str = "plenary-user";
const ROOM_AUDIENCE: &str = "plenary-room";

/// How long a room token opens its place.
const ROOM_LIFETIME: Duration = Duration::from_mins(10);

/// Seconds by which the clocks of two nodes may differ.
const LEEWAY_SECONDS: u64 = 5;

/// The tenant of a token that names none.
const DEFAULT_TENANT: &str = "default";

/// A longer token is refused unread: ours are under 1 KiB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the wanted kind by an issuer we trust.
    #[error("token is not valid here")]
    Invalid,
    /// Its time is over.
    #[error("token has expired")]
    Expired,
}

/// A signed-in user, as their token has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The tenant their token speaks for.
    pub tenant: TenantId,
    /// Their name.
    pub name: Option<String>,
    /// Their e-mail address.
    pub email: Option<String>,
    /// What kind of user, a free text per tenant; `guest` for those this cluster made up.
    pub user_type: Option<String>,
}

/// What a room token grants: one participant's place in one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The meeting.
    pub meeting: MeetingId,
    /// Its room.
    pub room: RoomId,
    /// Who.
    pub participant: ParticipantId,
    /// Their role when it was issued.
    pub role: Role,
    /// The name they chose.
    pub name: String,
}

/// Whom we believe about users.
struct Issuer {
    key: DecodingKey,
    /// Carries the one algorithm this issuer signs with.
    validation: Validation,
}

/// Issues and verifies tokens.
pub struct Tokens {
    signing: EncodingKey,
    issuers: Vec<Issuer>,
    room: Issuer,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuers", &self.issuers.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct UserClaims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campus_id: Option<TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, rename = "userName", skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_type: Option<String>,
    aud: String,
    exp: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct RoomClaims {
    meeting: MeetingId,
    room: RoomId,
    participant: ParticipantId,
    role: Role,
    name: String,
    aud: String,
    exp: i64,
}

impl Tokens {
    /// Tokens of a cluster that shares this secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let issuer = |audience| Issuer { key: DecodingKey::from_secret(secret), validation: pinned(audience) };
        Self {
            signing: EncodingKey::from_secret(secret),
            issuers: vec![issuer(USER_AUDIENCE)],
            room: issuer(ROOM_AUDIENCE),
        }
    }

    /// A token for a user, valid for `lifetime` after `now`.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when signing fails, which takes a fault in the crypto library.
    pub fn issue_user(&self, user: &User, now: Timestamp, lifetime: Duration) -> Result<String, TokenError> {
        self.sign(&UserClaims {
            sub: Some(user.id.to_string()),
            user_id: None,
            campus_id: Some(user.tenant.clone()),
            name: user.name.clone(),
            user_name: None,
            email: user.email.clone(),
            user_type: user.user_type.clone(),
            aud: USER_AUDIENCE.to_owned(),
            exp: expiry(now, lifetime),
        })
    }

    /// The user that a token speaks for.
    ///
    /// # Errors
    /// [`TokenError`] when no issuer vouches for it, or its time is over.
    pub fn verify_user(&self, token: &str) -> Result<User, TokenError> {
        let mut fault = TokenError::Invalid;
        for issuer in &self.issuers {
            match issuer.verify::<UserClaims>(token) {
                Ok(claims) => return claims.into_user(),
                Err(TokenError::Expired) => fault = TokenError::Expired,
                Err(TokenError::Invalid) => {}
            }
        }
        Err(fault)
    }

    /// A room token, valid for ten minutes after `now`.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when signing fails, which takes a fault in the crypto library.
    pub fn issue_room(&self, grant: &Grant, now: Timestamp) -> Result<String, TokenError> {
        self.sign(&RoomClaims {
            meeting: grant.meeting,
            room: grant.room,
            participant: grant.participant,
            role: grant.role,
            name: grant.name.clone(),
            aud: ROOM_AUDIENCE.to_owned(),
            exp: expiry(now, ROOM_LIFETIME),
        })
    }

    /// What a room token grants.
    ///
    /// # Errors
    /// [`TokenError`] when it is not a room token of this cluster, or its time is over.
    pub fn verify_room(&self, token: &str) -> Result<Grant, TokenError> {
        let RoomClaims { meeting, room, participant, role, name, aud: _, exp: _ } = self.room.verify(token)?;
        Ok(Grant { meeting, room, participant, role, name })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.signing).map_err(|_| TokenError::Invalid)
    }
}

impl Issuer {
    fn verify<C: serde::de::DeserializeOwned + Clone>(&self, token: &str) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        match decode::<C>(token, &self.key, &self.validation) {
            Ok(data) => Ok(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenError::Expired),
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

impl UserClaims {
    fn into_user(self) -> Result<User, TokenError> {
        let id = self.sub.or(self.user_id).ok_or(TokenError::Invalid)?;
        let tenant = self.campus_id.map_or_else(|| DEFAULT_TENANT.parse(), Ok);
        Ok(User {
            id: id.parse().map_err(|_| TokenError::Invalid)?,
            tenant: tenant.map_err(|_| TokenError::Invalid)?,
            name: self.name.or(self.user_name),
            email: self.email,
            user_type: self.user_type,
        })
    }
}

/// HS256 and nothing else; `exp` and the audience required.
fn pinned(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.set_audience(&[audience]);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation
}

fn expiry(now: Timestamp, lifetime: Duration) -> i64 {
    (now.millis() / 1000).saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use plenary_cluster::clock::Clock;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn user() -> User {
        User {
            id: "ada".parse().unwrap(),
            tenant: "campus".parse().unwrap(),
            name: Some("Ada".to_owned()),
            email: Some("ada@example.org".to_owned()),
            user_type: None,
        }
    }

    fn grant() -> Grant {
        Grant {
            meeting: MeetingId::from_uuid(uuid::Uuid::from_u128(1)),
            room: RoomId::from_uuid(uuid::Uuid::from_u128(2)),
            participant: ParticipantId::from_uuid(uuid::Uuid::from_u128(3)),
            role: Role::CoHost,
            name: "Ada".to_owned(),
        }
    }

    fn signed(algorithm: Algorithm, secret: &[u8], claims: &serde_json::Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    #[test]
    fn both_kinds_come_back_as_they_went() {
        let tokens = Tokens::new(SECRET);
        let token = tokens.issue_user(&user(), Clock::system().now(), Duration::from_mins(1)).unwrap();
        assert_eq!(tokens.verify_user(&token), Ok(user()));
        let token = tokens.issue_room(&grant(), Clock::system().now()).unwrap();
        assert_eq!(tokens.verify_room(&token), Ok(grant()));
    }

    #[test]
    fn neither_kind_passes_for_the_other() {
        let tokens = Tokens::new(SECRET);
        let user = tokens.issue_user(&user(), Clock::system().now(), Duration::from_mins(1)).unwrap();
        let room = tokens.issue_room(&grant(), Clock::system().now()).unwrap();
        assert_eq!(tokens.verify_room(&user), Err(TokenError::Invalid));
        assert_eq!(tokens.verify_user(&room), Err(TokenError::Invalid));
    }

    #[test]
    fn an_expired_token_is_told_apart_from_a_wrong_one() {
        let tokens = Tokens::new(SECRET);
        let past = Timestamp::from_millis(1_000_000);
        let token = tokens.issue_user(&user(), past, Duration::from_mins(1)).unwrap();
        assert_eq!(tokens.verify_user(&token), Err(TokenError::Expired));
        let token = tokens.issue_room(&grant(), past).unwrap();
        assert_eq!(tokens.verify_room(&token), Err(TokenError::Expired));
        assert_eq!(tokens.verify_room("nonsense"), Err(TokenError::Invalid));
        assert_eq!(tokens.verify_user(&"x".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::Invalid));
    }

    #[test]
    fn another_secret_algorithm_or_missing_claim_is_refused() {
        let tokens = Tokens::new(SECRET);
        let exp = Clock::system().now().millis() / 1000 + 60;
        let good = serde_json::json!({"sub": "ada", "aud": USER_AUDIENCE, "exp": exp});
        assert!(tokens.verify_user(&signed(Algorithm::HS256, SECRET, &good)).is_ok());
        assert_eq!(tokens.verify_user(&signed(Algorithm::HS256, b"another", &good)), Err(TokenError::Invalid));
        assert_eq!(tokens.verify_user(&signed(Algorithm::HS384, SECRET, &good)), Err(TokenError::Invalid));
        for missing in ["sub", "aud", "exp"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(missing);
            let token = signed(Algorithm::HS256, SECRET, &claims);
            assert_eq!(tokens.verify_user(&token), Err(TokenError::Invalid), "without {missing}");
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        // {"alg":"none"} . {"sub":"ada","aud":"plenary-user","exp":99999999999} . (no signature)
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJhdWQiOiJwbGVuYXJ5LXVzZXIiLCJleHAiOjk5OTk5OTk5OTk5fQ.";
        assert_eq!(Tokens::new(SECRET).verify_user(token), Err(TokenError::Invalid));
    }

    #[test]
    fn claims_have_the_documented_synonyms_and_defaults() {
        let exp = Clock::system().now().millis() / 1000 + 60;
        let claims = serde_json::json!({"user_id": "u1", "userName": "Ada", "aud": USER_AUDIENCE, "exp": exp});
        let user = Tokens::new(SECRET).verify_user(&signed(Algorithm::HS256, SECRET, &claims)).unwrap();
        assert_eq!((user.id.as_str(), user.tenant.as_str(), user.name.as_deref()), ("u1", "default", Some("Ada")));
    }
}
