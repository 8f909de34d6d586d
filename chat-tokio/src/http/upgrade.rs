//! The WebSocket handshake, and the hand-over of what comes after it.

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use chat_proto::{Dialect, DisplayName, SUBPROTOCOL, Token};
use http::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{HttpState, Identify, credentials, later, text, too_many};
use crate::accept::{Client, Stream};
use crate::server::attach::NewConnection;
use crate::transport::{Eager, Transport, WebSocket};

/// The name of those who bring none.
const ANONYMOUS: &str = "anonymous";

/// Answers `GET /ws`.
pub(super) async fn websocket(State(state): State<HttpState>, mut request: Request) -> Response {
    match accept(&state, &mut request) {
        Ok((response, accepted)) => {
            tokio::spawn(hand_over(state, accepted));
            response
        }
        Err(refusal) => *refusal,
    }
}

/// A handshake that was accepted.
struct Accepted {
    upgrade: OnUpgrade,
    dialect: Dialect,
    name: Option<DisplayName>,
    credentials: Option<Token>,
    client: Option<Client>,
}

pub(super) type Refusal = Box<Response>;

fn accept(state: &HttpState, request: &mut Request) -> Result<(Response, Accepted), Refusal> {
    let key = check_upgrade(request)?;
    check_origin(state, request.headers())?;
    let dialect = if offers_v1(request.headers()) { Dialect::V1 } else { Dialect::Basic };
    let credentials = credentials::find(state, request.headers())?;
    // Where it is known who somebody is, the name comes with that.
    let name = match (dialect, &state.identify) {
        (Dialect::Basic, Identify::ByName) => Some(display_name(request)?),
        (Dialect::Basic | Dialect::V1, _) => None,
    };
    if let Err(why) = state.attach.would_attach() {
        let why = format!("{why}; try again later");
        return Err(Box::new(later(*refusal(StatusCode::SERVICE_UNAVAILABLE, &why))));
    }
    let client = request.extensions().get::<Client>().cloned();
    // The last hurdle: from here on the connection is counted as this client's.
    if client.as_ref().is_some_and(|client| client.settle().is_err()) {
        return Err(Box::new(too_many()));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, key);
    if dialect == Dialect::V1 {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let upgrade = hyper::upgrade::on(request);
    Ok((response, Accepted { upgrade, dialect, name, credentials, client }))
}

/// Checks what RFC 6455 §4.2.1 asks of a handshake; answers with the accept key.
fn check_upgrade(request: &Request) -> Result<HeaderValue, Refusal> {
    let headers = request.headers();
    let asks = has_token(headers, &UPGRADE, "websocket");
    if !asks || *request.method() != Method::GET || request.version() != Version::HTTP_11 {
        let mut response = *refusal(
            StatusCode::UPGRADE_REQUIRED,
            "this is a WebSocket: connect to it with new WebSocket(\"ws://…/ws\") or a client",
        );
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        return Err(Box::new(response));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return refuse(StatusCode::BAD_REQUEST, "`Connection: Upgrade` is missing");
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        let mut response =
            *refusal(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let accept = key.map(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())));
    match accept {
        Some(Ok(accept)) => Ok(accept),
        Some(Err(_)) | None => refuse(
            StatusCode::BAD_REQUEST,
            "`Sec-WebSocket-Key` has to be 16 bytes in base64, and to come once",
        ),
    }
}

/// Whether the text is 16 bytes in base64: 22 digits, the last with 2 bits, and the padding.
fn is_key(text: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let Some(digits) = text.strip_suffix("==").map(str::as_bytes) else { return false };
    digits.len() == 22 && digits.iter().all(|b| digit(*b)) && b"AQgw".contains(&digits[21])
}

fn check_origin(state: &HttpState, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_some() {
        return refuse(StatusCode::BAD_REQUEST, "more than one `Origin`");
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if origin.to_str().is_ok_and(|origin| state.origins.get().allow(origin, host)) {
        return Ok(());
    }
    refuse(
        StatusCode::FORBIDDEN,
        "pages of this origin may not connect here; whoever runs the server may allow it: \
         --allow-origin",
    )
}

fn offers_v1(headers: &HeaderMap) -> bool {
    tokens(headers, &SEC_WEBSOCKET_PROTOCOL).any(|token| token == SUBPROTOCOL)
}

fn display_name(request: &Request) -> Result<DisplayName, Refusal> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return refuse(StatusCode::BAD_REQUEST, "the query can't be read");
    };
    let asked = pairs.iter().find(|(key, _)| key == "username").map(|(_, name)| name.as_str());
    let name = asked.filter(|name| !name.is_empty()).unwrap_or(ANONYMOUS);
    DisplayName::new(name)
        .or_else(|why| refuse(StatusCode::BAD_REQUEST, &format!("`username` is refused: {why}")))
}

/// Waits for the connection itself and gives it to its worker.
async fn hand_over(state: HttpState, accepted: Accepted) {
    let Accepted { upgrade, dialect, name, credentials, client } = accepted;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a connection ended during its handshake");
            return;
        }
    };
    let transport = transport(upgraded, state.frame_bytes.get());
    let peer = client.as_ref().map(Client::address);
    let place = client.as_ref().map(Client::place);
    let new =
        NewConnection { name, credentials, peer, place, ..NewConnection::new(transport, dialect) };
    if let Err(refused) = state.attach.attach(new) {
        tracing::debug!(why = %refused.why, "a connection was refused after its handshake");
        refused.close().await;
    }
}

/// Takes the stream itself where it is known: one layer less under each frame.
fn transport(upgraded: Upgraded, frame_bytes: u32) -> Box<dyn Transport> {
    let upgraded = match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => {
            let read = &parts.read_buf;
            return match parts.io.into_inner() {
                Stream::Plain(tcp) => Box::new(WebSocket::new(Eager::new(tcp), read, frame_bytes)),
                #[cfg(feature = "tls")]
                Stream::Tls(tls) => Box::new(WebSocket::new(*tls, read, frame_bytes)),
            };
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let tcp = Eager::new(parts.io.into_inner());
            Box::new(WebSocket::new(tcp, &parts.read_buf, frame_bytes))
        }
        Err(upgraded) => Box::new(WebSocket::new(TokioIo::new(upgraded), &[], frame_bytes)),
    }
}

fn refusal(status: StatusCode, why: &str) -> Refusal {
    Box::new(text(status, format!("{why}\n")))
}

pub(super) fn refuse<T>(status: StatusCode, why: &str) -> Result<T, Refusal> {
    Err(refusal(status, why))
}

/// The value of a header that came exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The elements of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|other| other.eq_ignore_ascii_case(token))
}
