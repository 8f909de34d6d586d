//! Tokens of every kind that is taken, and what an attacker makes of them.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_state::{AuthError, TokenId};
use chat_tokio::auth::jwt::{
    Hmac, Issuer, Jwks, JwksSource, Jwt, Key, Keys, SigningKey, TOKEN_BYTES_MAX, TokenSpec,
};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests";
const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const EC: &[u8] = include_bytes!("keys/ec.pem");
const EC_PUBLIC: &[u8] = include_bytes!("keys/ec.pub.pem");
const ED: &[u8] = include_bytes!("keys/ed.pem");
const ED_PUBLIC: &[u8] = include_bytes!("keys/ed.pub.pem");

fn issuer(name: &str, keys: Keys) -> Issuer {
    Issuer { name: name.into(), audience: "chat".into(), leeway_s: 5, keys }
}

fn jwt(key: Key) -> Jwt {
    Jwt::new(vec![issuer("us", Keys::Fixed(vec![key]))])
}

fn hs256() -> Jwt {
    jwt(Key::secret(SECRET, Hmac::Sha256).unwrap())
}

fn claims() -> Value {
    json!({"iss": "us", "aud": "chat", "sub": "ada", "exp": get_current_timestamp() + 600})
}

fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn signed(claims: &Value) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

async fn refused(jwt: &Jwt, token: &str) -> AuthError {
    jwt.check(token).await.expect_err(token).error
}

#[tokio::test]
async fn every_algorithm_proves_its_tokens() {
    let spec = || TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: "ada".into(),
        name: Some("Ada".into()),
        id: Some("t1".into()),
        rooms: Some(vec!["team-*".into()]),
        roles: vec!["admin".into()],
        lifetime: std::time::Duration::from_secs(60),
        ..TokenSpec::default()
    };
    let mut pairs = vec![
        (SigningKey::private_pem(RSA).unwrap(), Key::public_pem(RSA_PUBLIC).unwrap()),
        (SigningKey::private_pem(EC).unwrap(), Key::public_pem(EC_PUBLIC).unwrap()),
        (SigningKey::private_pem(ED).unwrap(), Key::public_pem(ED_PUBLIC).unwrap()),
    ];
    for hmac in [Hmac::Sha256, Hmac::Sha384, Hmac::Sha512] {
        pairs.push((SigningKey::secret(SECRET, hmac).unwrap(), Key::secret(SECRET, hmac).unwrap()));
    }
    let verifiers: Vec<Jwt> = pairs.iter().map(|(_, key)| jwt(key.clone())).collect();
    for (i, (signing, _)) in pairs.iter().enumerate() {
        let token = spec().sign(signing).unwrap();
        for (k, verifier) in verifiers.iter().enumerate() {
            let checked = verifier.check(&token).await;
            assert_eq!(checked.is_ok(), i == k, "token {i}, key {k}: {checked:?}");
        }
        let grant = verifiers[i].check(&token).await.unwrap();
        assert_eq!((grant.user.as_str(), grant.name.as_deref()), ("ada", Some("Ada")));
        assert_eq!(grant.token_id.as_ref().map(TokenId::as_str), Some("t1"));
        assert_eq!(grant.roles, ["admin"]);
        assert!(grant.rooms.allow(&chat_proto::RoomName::new("Team-A").unwrap()));
        assert!(!grant.rooms.allow(&chat_proto::RoomName::new("lobby").unwrap()));
        assert!(grant.issued.is_some() && grant.expires > grant.issued);
    }
}

#[tokio::test]
async fn the_header_does_not_choose_the_algorithm() {
    let good = signed(&claims());
    let jwt = hs256();
    assert!(jwt.check(&good).await.is_ok());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    // {"alg":"none"}, {"alg":"None","typ":"JWT"}
    for none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0"] {
        for end in ["", signature] {
            assert_eq!(refused(&jwt, &format!("{none}.{body}.{end}")).await, AuthError::Invalid);
        }
        assert_eq!(refused(&jwt, &format!("{none}.{body}")).await, AuthError::Invalid);
    }
    let mut other = claims();
    other["sub"] = json!("root");
    let forged = signed(&other);
    let forged_body = forged.split('.').nth(1).unwrap();
    for token in [
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{head}.{forged_body}.{signature}"),
        format!("{head}..{signature}"),
        String::new(),
        "a.b.c".into(),
        "x".repeat(TOKEN_BYTES_MAX + 1),
    ] {
        assert_eq!(refused(&jwt, &token).await, AuthError::Invalid);
    }
    // The same secret, another algorithm of the same family.
    let hs512 = sign(Algorithm::HS512, &EncodingKey::from_secret(SECRET), &claims());
    assert_eq!(refused(&jwt, &hs512).await, AuthError::Invalid);
    // The public key, which everybody knows, as a secret.
    for (public, algorithm) in [
        (RSA_PUBLIC, Algorithm::HS256),
        (EC_PUBLIC, Algorithm::HS256),
        (RSA_PUBLIC, Algorithm::HS512),
    ] {
        let confused = sign(algorithm, &EncodingKey::from_secret(public), &claims());
        let verifier = self::jwt(Key::public_pem(public).unwrap());
        assert_eq!(refused(&verifier, &confused).await, AuthError::Invalid);
    }
    assert!(Key::secret(&SECRET[..31], Hmac::Sha256).is_err(), "a short secret can be guessed");
    assert!(Key::public_pem(RSA).is_err() || Key::public_pem(SECRET).is_err());
}

#[tokio::test]
async fn a_token_has_its_time_and_its_purpose() {
    let jwt = hs256();
    let now = get_current_timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims)
    };
    assert_eq!(refused(&jwt, &with("exp", json!(now - 60))).await, AuthError::Expired);
    // Within the leeway, on both sides.
    assert!(jwt.check(&with("exp", json!(now - 2))).await.is_ok());
    assert!(jwt.check(&with("nbf", json!(now + 2))).await.is_ok());
    assert!(jwt.check(&with("aud", json!(["else", "chat"]))).await.is_ok());
    for token in [
        with("nbf", json!(now + 60)),
        with("exp", json!("never")),
        with("exp", json!((now + 600).to_string())),
        with("exp", Value::Null),
        with("aud", json!("other")),
        with("aud", json!(["other"])),
        with("iss", json!("them")),
        with("iss", json!(["us", "them"])),
        without("exp"),
        without("aud"),
        without("iss"),
        without("sub"),
    ] {
        assert_eq!(refused(&jwt, &token).await, AuthError::Invalid, "{token}");
    }
    // A right that can't be read is no right.
    for (name, value) in [
        ("sub", json!("Ada Lovelace")),
        ("sub", json!("")),
        ("name", json!("@root")),
        ("rooms", json!(["@x"])),
        ("rooms", json!("lobby")),
        ("rooms", json!(vec!["a"; 65])),
        ("roles", json!(vec!["a"; 33])),
        ("jti", json!("x".repeat(129))),
        ("limits", json!({"messages_per_10s": -1})),
    ] {
        assert_eq!(refused(&jwt, &with(name, value.clone())).await, AuthError::Invalid, "{name}");
    }
    let limited = with("limits", json!({"messages_per_10s": 7}));
    assert_eq!(jwt.check(&limited).await.unwrap().messages_per_10s, Some(7));
    assert_eq!(jwt.check(&with("rooms", json!([]))).await.map(|g| g.rooms).ok(), {
        chat_state::RoomRights::matching([]).ok()
    });
}

fn jwk(pem: &[u8], algorithm: Algorithm, kid: &str) -> Jwk {
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_ed_pem(pem),
    };
    // The public half of it.
    let mut jwk = Jwk::from_encoding_key(&key.unwrap(), algorithm).unwrap();
    jwk.common.key_id = Some(kid.into());
    jwk
}

fn set(keys: Vec<Jwk>) -> String {
    serde_json::to_string(&JwkSet { keys }).unwrap()
}

fn of_kid(pem: &[u8], algorithm: Algorithm, kid: &str, iss: &str) -> String {
    let mut claims = claims();
    claims["iss"] = json!(iss);
    let header = Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_ed_pem(pem),
    };
    encode(&header, &claims, &key.unwrap()).unwrap()
}

fn file_set(path: &std::path::Path) -> Keys {
    Keys::Set(Jwks::new(JwksSource::new(path.to_str().unwrap()).unwrap()))
}

#[tokio::test]
async fn keys_of_a_file_change_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    std::fs::write(&path, set(vec![jwk(RSA, Algorithm::RS256, "old")])).unwrap();
    let jwt = Jwt::new(vec![issuer("us", file_set(&path))]);
    let old = of_kid(RSA, Algorithm::RS256, "old", "us");
    let new = of_kid(ED, Algorithm::EdDSA, "new", "us");
    assert!(jwt.check(&old).await.is_ok());
    assert_eq!(refused(&jwt, &new).await, AuthError::Invalid);

    // Both count while tokens of both are about.
    let both = vec![jwk(RSA, Algorithm::RS256, "old"), jwk(ED, Algorithm::EdDSA, "new")];
    std::fs::write(&path, set(both)).unwrap();
    until(async || jwt.check(&new).await.is_ok()).await;
    assert!(jwt.check(&old).await.is_ok());

    // What can't be read changes nothing.
    std::fs::write(&path, "{").unwrap();
    let unknown = of_kid(EC, Algorithm::ES256, "x", "us");
    assert_eq!(refused(&jwt, &unknown).await, AuthError::Invalid);
    assert!(jwt.check(&old).await.is_ok());

    std::fs::write(&path, set(vec![jwk(ED, Algorithm::EdDSA, "new")])).unwrap();
    until(async || jwt.check(&old).await.is_err()).await;
    assert!(jwt.check(&new).await.is_ok());
}

/// Asks again until it is so. The server looks at the file once a second at most.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let mut again = tokio::time::interval(std::time::Duration::from_millis(20));
    let asked = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !is_so().await {
            again.tick().await;
        }
    });
    asked.await.expect("it never was so");
}

#[tokio::test]
async fn the_same_name_of_two_issuers_keys_is_two_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    std::fs::write(&ours, set(vec![jwk(ED, Algorithm::EdDSA, "k")])).unwrap();
    std::fs::write(&theirs, set(vec![jwk(RSA, Algorithm::RS256, "k")])).unwrap();
    let jwt = Jwt::new(vec![issuer("us", file_set(&ours)), issuer("them", file_set(&theirs))]);
    assert!(jwt.check(&of_kid(ED, Algorithm::EdDSA, "k", "us")).await.is_ok());
    assert!(jwt.check(&of_kid(RSA, Algorithm::RS256, "k", "them")).await.is_ok());
    for (pem, algorithm, iss) in
        [(ED, Algorithm::EdDSA, "them"), (RSA, Algorithm::RS256, "us"), (ED, Algorithm::EdDSA, "x")]
    {
        assert_eq!(refused(&jwt, &of_kid(pem, algorithm, "k", iss)).await, AuthError::Invalid);
    }
}

/// Serves this to whoever asks, and counts.
async fn serve(answer: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn unknown_keys_do_not_make_it_ask_again_and_again() {
    let (url, asked) = serve(ok(&set(vec![jwk(ED, Algorithm::EdDSA, "k")]))).await;
    let keys = Keys::Set(Jwks::new(JwksSource::new(&url).unwrap()));
    let jwt = Jwt::new(vec![issuer("us", keys)]);
    for n in 0..1000 {
        let token = of_kid(ED, Algorithm::EdDSA, &format!("made up {n}"), "us");
        assert_eq!(refused(&jwt, &token).await, AuthError::Invalid);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(jwt.check(&of_kid(ED, Algorithm::EdDSA, "k", "us")).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn keys_come_from_where_the_settings_say() {
    for url in [
        "https:///keys",
        "http://192.0.2.1/keys",
        "http://localhost.evil.example/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://evil.example@evil.example/keys",
        "http:///keys",
    ] {
        assert!(JwksSource::new(url).is_err(), "{url}");
    }
    let body = set(vec![jwk(ED, Algorithm::EdDSA, "k")]);
    let (elsewhere, visits) = serve(ok(&body)).await;
    let secret = json!({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256",
        "k": "YSBzZWNyZXQgb2YgbW9yZSB0aGFuIDMyIGJ5dGVzLCBmb3IgdGVzdHM"}]});
    for answer in [
        format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"),
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into(),
        ok("{}"),
        // What everybody can read is no secret.
        ok(&secret.to_string()),
        ok(&" ".repeat(300 * 1024)),
    ] {
        let (url, _) = serve(answer.clone()).await;
        let set = Jwks::new(JwksSource::new(&url).unwrap());
        assert!(set.load().await.is_err(), "{answer:.80}");
        let jwt = Jwt::new(vec![issuer("us", Keys::Set(set))]);
        let token = of_kid(ED, Algorithm::EdDSA, "k", "us");
        assert_eq!(refused(&jwt, &token).await, AuthError::Unavailable, "{answer:.80}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "no redirection is followed");
}
