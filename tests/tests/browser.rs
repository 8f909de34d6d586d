//! The page in a real Chromium: people talk, come back, and hostile texts stay texts.
use std::collections::BTreeSet;

use chat_tests::browser::{DESKTOP, Driver, PHONE};
use chat_tests::process::{Home, Log, Server, Spec};
use chat_tests::wait::within;
use serde_json::{Value, json};

/// The proof that the check for a quiet console can fail.
#[tokio::test]
async fn the_console_check_hears_errors_and_broken_policies() {
    let driver = Driver::start().await;
    let tab = driver.open("probe", DESKTOP).await;
    let page = "data:text/html,<meta http-equiv=Content-Security-Policy \
         content=\"script-src 'none'\"><p id=here><img src=x:x onerror=alert(1)>";
    tab.0.goto(page).await.expect("a page of our own loads");
    tab.see("#here").await;
    let told = within("the policy's complaint", async {
        loop {
            let told = tab.severe().await;
            if told.iter().any(|line| line.contains("Content Security Policy")) {
                return told;
            }
        }
    });
    assert!(!told.await.is_empty());
    tab.assert_quiet().await;
    let shout = "console.error('shouted')";
    tab.0.execute(shout, Vec::new()).await.expect("a script runs");
    let told = tab.severe().await;
    assert!(told.len() == 1 && told[0].contains("shouted"), "{told:?}");
    tab.close().await;
}

#[tokio::test]
async fn two_people_talk_and_one_who_reloads_sees_the_history() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().workers(2).log(Log::Sqlite)).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    let bob = driver.open("bob", PHONE).await;
    ada.enter(&server, "Ada", "lobby").await;
    bob.enter(&server, "Bob", "lobby").await;
    ada.say("hello Bob").await;
    bob.messages(&[("Ada", "hello Bob")]).await;
    bob.say("hello Ada 👋 \u{5e9}\u{5dc}\u{5d5}\u{5dd}").await;
    let both = [("Ada", "hello Bob"), ("Bob", "hello Ada 👋 \u{5e9}\u{5dc}\u{5d5}\u{5dd}")];
    ada.messages(&both).await;
    bob.messages(&both).await;
    let members = "return [...document.querySelectorAll('#members [data-user]')].length";
    ada.until(members, &json!(2)).await;
    bob.fill("#composer", "I am about to say").await;
    ada.see("#typing:not(:empty)").await;
    ada.screenshot("desktop.png").await;
    bob.screenshot("phone.png").await;
    let wide = "return document.documentElement.scrollWidth <= window.innerWidth";
    let fits = bob.0.execute(wide, Vec::new()).await.expect("a script runs");
    assert_eq!(fits, Value::Bool(true), "the page is wider than a phone");
    bob.0.refresh().await.expect("the page loads again");
    bob.connected().await;
    bob.messages(&both).await;
    ada.assert_quiet().await;
    bob.assert_quiet().await;
    ada.close().await;
    bob.close().await;
}

#[tokio::test]
async fn both_come_back_by_themselves_when_the_server_does() {
    let home = Home::default();
    let spec = Spec::default().log(Log::Sqlite);
    let server = Server::start(&home, &spec).await;
    let address = server.http().to_string();
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    let bob = driver.open("bob", DESKTOP).await;
    ada.enter(&server, "Ada", "lobby").await;
    bob.enter(&server, "Bob", "lobby").await;
    ada.say("before").await;
    bob.messages(&[("Ada", "before")]).await;
    server.stop().await;
    ada.disconnected().await;
    bob.disconnected().await;
    // The pages know one address: the new server has to take the old one's.
    let _server = Server::start(&home, &spec.listen(&address)).await;
    ada.connected().await;
    bob.connected().await;
    bob.say("after").await;
    let both = [("Ada", "before"), ("Bob", "after")];
    ada.messages(&both).await;
    bob.messages(&both).await;
    ada.close().await;
    bob.close().await;
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default()).await;
    let driver = Driver::start().await;
    let ada = driver.open("ada", DESKTOP).await;
    let bob = driver.open("bob", DESKTOP).await;
    ada.enter(&server, "<b>Ada</b>", "lobby").await;
    bob.enter(&server, "Bob", "lobby").await;
    let texts = [
        "<img src=x onerror=\"document.title='hacked'\">",
        "<script>document.title='hacked'</script>",
        "javascript:document.title='hacked'",
        "[click](javascript:alert(1))",
        "</div></main><h1 id=hacked>x</h1>",
        "https://example.org/\"onmouseover=\"alert(1)",
        "<svg/onload=alert(1)>",
        "&lt;b&gt; &amp;amp; {{7*7}} ${7*7}",
    ];
    for text in texts {
        ada.say(text).await;
    }
    let expected: Vec<(&str, &str)> = texts.iter().map(|text| ("<b>Ada</b>", *text)).collect();
    bob.messages(&expected).await;
    ada.messages(&expected).await;
    let harm = "return [document.title.includes('hacked'), !!document.querySelector('#hacked'), \
         [...document.querySelectorAll('#messages a')].map(a => a.protocol)]";
    for tab in [&ada, &bob] {
        let harm = tab.0.execute(harm, Vec::new()).await.expect("a script runs");
        assert_eq!((&harm[0], &harm[1]), (&json!(false), &json!(false)));
        let protocols = harm[2].as_array().expect("a list");
        let protocols: BTreeSet<&str> = protocols.iter().filter_map(Value::as_str).collect();
        assert!(protocols.is_subset(&BTreeSet::from(["http:", "https:"])), "{protocols:?}");
        assert!(tab.0.get_alert_text().await.is_err(), "a dialog is open");
        tab.assert_quiet().await;
    }
    ada.close().await;
    bob.close().await;
}
