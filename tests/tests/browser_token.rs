//! The page of a server that wants a token, in a real Chromium.
use std::time::Duration;

use chat_tests::browser::{DESKTOP, Driver, PHONE, Tab, page};
use chat_tests::process::{Home, Server, Spec};
use chat_tokio::auth::jwt::{Hmac, SigningKey, TokenSpec};
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Another one is asked for after half of it.
const SHORT: Duration = Duration::from_secs(24);

const SECRET: &str = "a secret of more than 32 bytes, for tests";

/// A token of ada, which can be revoked by its name.
fn token(id: &str, lifetime: Duration) -> String {
    let spec = TokenSpec {
        issuer: "us".into(),
        audience: "chat".into(),
        user: "ada".into(),
        id: Some(id.into()),
        lifetime,
        ..TokenSpec::default()
    };
    let key = SigningKey::secret(SECRET.as_bytes(), Hmac::Sha256).expect("long enough");
    spec.sign(&key).expect("a token")
}

async fn server(home: &Home) -> Server {
    let secret = home.data().with_file_name("secret");
    std::fs::write(&secret, SECRET).expect("a file");
    let spec = Spec::default()
        .api()
        .flag("--auth", "jwt")
        .flag("--jwt-secret-file", secret.to_str().expect("a plain path"))
        .flag("--jwt-issuer", "us")
        .flag("--jwt-audience", "chat")
        .flag("--jwt-leeway", "0")
        .flag("--auth-warning", "1h");
    Server::start(home, &spec).await
}

/// Waits until the page asks for a token, and says this of the last one.
async fn asks(tab: &Tab, problem: &str) {
    tab.until("return !document.querySelector('#entry').hidden", &json!(true)).await;
    tab.until("return !document.querySelector('#token-part').hidden", &json!(true)).await;
    tab.until("return document.querySelector('#name-error').textContent", &json!(problem)).await;
}

const REFUSED: &str = "The server does not take this token, or it has ended.";

#[tokio::test]
async fn it_asks_for_a_token_keeps_it_for_its_tab_and_asks_again_when_it_ends() {
    let home = Home::default();
    let server = server(&home).await;
    let driver = Driver::start().await;
    let tab = driver.open("ada", DESKTOP).await;
    tab.0.goto(&page(&server)).await.expect("the page loads");
    tab.fill("#name-input", "Ada").await;
    tab.click("#name-submit").await;
    asks(&tab, "").await;
    let how = "const { type, autocomplete, name } = document.querySelector('#token-input'); \
         return [type, autocomplete, name]";
    assert_eq!(tab.run(how).await, json!(["password", "off", ""]));
    tab.screenshot("token.png").await;
    tab.fill("#token-input", "no token at all").await;
    tab.click("#name-submit").await;
    asks(&tab, REFUSED).await;
    let first = token("first", DAY);
    tab.fill("#token-input", &first).await;
    tab.click("#name-submit").await;
    tab.connected().await;
    tab.fill("#room-input", "lobby").await;
    tab.click("#room-submit").await;
    tab.say("one").await;
    tab.messages(&[("Ada", "one")]).await;

    // The tab has it, and nothing else has.
    let found = "const has = text => (text ?? '').includes(arguments[0]); \
         return [has(location.href), has(document.cookie), has(JSON.stringify(localStorage)), \
         has(JSON.stringify(sessionStorage)), has(document.querySelector('#token-input').value)]";
    let found = tab.0.execute(found, vec![json!(first)]).await.expect("a script runs");
    assert_eq!(found, json!([false, false, false, true, false]));
    tab.0.refresh().await.expect("the page loads again");
    tab.connected().await;
    tab.messages(&[("Ada", "one")]).await;

    // What a token's end does to the page, a revocation does at once.
    let _ = server.api().post("/v1/revoke", &json!({"token": "first"})).await;
    asks(&tab, REFUSED).await;
    tab.fill("#token-input", &token("short", SHORT)).await;
    tab.click("#name-submit").await;
    tab.connected().await;
    tab.see("#renewal:not([hidden])").await;
    tab.screenshot("renewal.png").await;
    let second = token("second", DAY);
    tab.fill("#renewal-input", &second).await;
    tab.click("#renewal-submit").await;
    tab.until("return document.querySelector('#renewal').hidden", &json!(true)).await;
    // A request that comes after it, so that the server has taken it.
    tab.say("two").await;
    tab.messages(&[("Ada", "one"), ("Ada", "two")]).await;

    // The short token counts no more, and nobody needs it; without the second one it is over.
    let _ = server.api().post("/v1/revoke", &json!({"token": "short"})).await;
    tab.say("three").await;
    tab.messages(&[("Ada", "one"), ("Ada", "two"), ("Ada", "three")]).await;
    let _ = server.api().post("/v1/revoke", &json!({"token": "second"})).await;
    asks(&tab, REFUSED).await;
    let kept = tab.run("return JSON.stringify(sessionStorage)").await.to_string();
    assert!(!kept.contains(&second), "a token that is refused is forgotten");
    tab.assert_quiet().await;
    assert!(!home.stderr().contains(&first) && !home.stderr().contains(&second));
    tab.close().await;
}

#[tokio::test]
async fn the_prompt_fits_on_a_phone() {
    let home = Home::default();
    let server = server(&home).await;
    let driver = Driver::start().await;
    let tab = driver.open("ada", PHONE).await;
    tab.0.goto(&page(&server)).await.expect("the page loads");
    tab.fill("#name-input", "Ada").await;
    tab.click("#name-submit").await;
    asks(&tab, "").await;
    let fits = "return document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(tab.run(fits).await, json!(true));
    tab.fill("#token-input", &token("short", SHORT)).await;
    tab.click("#name-submit").await;
    tab.see("#renewal:not([hidden])").await;
    assert_eq!(tab.run(fits).await, json!(true));
    tab.screenshot("renewal-phone.png").await;
    tab.click("#renewal-later").await;
    tab.until("return document.querySelector('#renewal').hidden", &json!(true)).await;
    tab.assert_quiet().await;
    tab.close().await;
}
