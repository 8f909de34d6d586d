//! What a handshake says of who comes.
use std::sync::Arc;

use chat_proto::Token;
use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN};

use super::upgrade::{Refusal, refuse};
use super::{HttpState, Origins};

/// Where a handshake may bring a credential. It is never looked for in the address: addresses end
/// up in logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identify {
    /// Nowhere: names are chosen.
    #[default]
    ByName,
    /// In `Authorization: Bearer`.
    ByHeader,
    /// In `Authorization: Bearer`, or in the cookie of this name. A browser sends a cookie
    /// whichever page asks it to connect, so the handshake has to have an `Origin` that is allowed
    /// by name.
    ByCookie(Arc<str>),
}

/// Finds the credential of a handshake.
pub(super) fn find(state: &HttpState, headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    if state.identify == Identify::ByName {
        return Ok(None);
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        let token = value.to_str().ok().and_then(bearer).filter(|_| values.next().is_none());
        return match token {
            Some(token) => Ok(Some(Token(token.into()))),
            None => refuse(StatusCode::BAD_REQUEST, "`Authorization` has to be one `Bearer TOKEN`"),
        };
    }
    let Identify::ByCookie(name) = &state.identify else { return Ok(None) };
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|list| list.split(';')).filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim() == &**name).map(|(_, value)| value.trim());
    let Some(token) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return refuse(StatusCode::BAD_REQUEST, "the cookie is there more than once");
    }
    if !headers.contains_key(ORIGIN) || *state.origins.get() == Origins::Any {
        return refuse(
            StatusCode::FORBIDDEN,
            "with a cookie, an `Origin` that is allowed is needed",
        );
    }
    Ok(Some(Token(token.trim_matches('"').into())))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
