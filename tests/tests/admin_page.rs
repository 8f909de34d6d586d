//! The page for operators in a real Chromium.
use chat_tests::browser::{DESKTOP, Driver, Tab};
use chat_tests::client::{Ending, V1Client};
use chat_tests::process::{API_KEY, Home, Server, Spec};
use serde_json::{Value, json};

/// Does harm wherever it becomes markup.
const HOSTILE: &str = "<img src=x onerror=\"document.title='hacked'\">";

async fn figure(tab: &Tab, name: &str, value: &str) {
    let script = format!("return document.querySelector('[data-figure={name}]')?.textContent");
    tab.until(&script, &json!(value)).await;
}

/// Clicks on the button of this label in the row that begins with a text, and says yes.
async fn press(tab: &Tab, row: &str, label: &str) {
    let find = format!(
        "return [...document.querySelectorAll('#members tr')]\
         .filter(r => r.cells[0].textContent === '{row}')\
         .flatMap(r => [...r.querySelectorAll('button')])\
         .filter(b => b.textContent === '{label}').length"
    );
    tab.until(&find, &json!(1)).await;
    let click = find.replace("return ", "").replace(".length", "[0].click()");
    tab.run(&format!("setTimeout(() => {click})")).await;
    let asked =
        chat_tests::wait::eventually("the question", async || tab.0.get_alert_text().await.ok());
    assert!(asked.await.contains(row));
    tab.0.accept_alert().await.expect("the question is there");
}

#[tokio::test]
async fn it_shows_live_figures_and_acts_and_hostile_names_are_inert() {
    let home = Home::default();
    let server = Server::start(&home, &Spec::default().workers(2).api()).await;
    let chat = server.http();
    let (mut ada, _) = V1Client::member(chat, "Ada", "lobby").await;
    let (mut bob, _) = V1Client::member(chat, "Bob", HOSTILE).await;
    ada.say("lobby", "one").await;
    let driver = Driver::start().await;
    let tab = driver.open("operator", DESKTOP).await;
    let url = format!("http://{}/admin", server.api().address());
    tab.0.goto(&url).await.expect("the page loads");
    tab.fill("#key", "not the key of this server, however long").await;
    tab.click("#login button").await;
    tab.see("#login-problem:not(:empty)").await;
    // The console tells of the refusal, which is no mistake of the page.
    let refused = tab.severe().await;
    assert!(refused.iter().all(|line| line.contains("401")), "{refused:?}");
    tab.fill("#key", API_KEY).await;
    tab.click("#login button").await;
    figure(&tab, "connections", "2").await;
    figure(&tab, "rooms", "2").await;
    figure(&tab, "messages", "1").await;
    // They are live.
    ada.say("lobby", "two").await;
    figure(&tab, "messages", "2").await;
    let rooms = "return [...document.querySelectorAll('#rooms tr')].map(row => [row.cells[0]\
         .textContent, row.cells[1].textContent])";
    tab.until(rooms, &json!([[HOSTILE, "1"], ["lobby", "1"]])).await;
    tab.run("[...document.querySelectorAll('#rooms button')][0].click()").await;
    let title = "return document.querySelector('#members-title').textContent";
    tab.until(title, &json!(format!("Members of {HOSTILE}"))).await;
    press(&tab, "Bob", "Kick").await;
    loop {
        if let chat_proto::ServerFrame::Error(error) = bob.next().await {
            assert_eq!(error.code, chat_proto::ErrorCode::Forbidden);
            break;
        }
    }
    tab.click("#everybody").await;
    tab.screenshot("admin.png").await;
    press(&tab, "Ada", "Close").await;
    assert_eq!(ada.socket.ending().await, Ending::Closed(4301));
    let closes = "return [...document.querySelectorAll('#closes tr')].map(r => r.textContent)";
    tab.until(closes, &json!(["43011"])).await;
    press(&tab, "Bob", "Ban").await;
    assert_eq!(bob.socket.ending().await, Ending::Closed(4301));
    tab.see("#bans button").await;
    let harm = "return [document.title.includes('hacked'), \
         document.querySelectorAll('img').length, location.href.includes('key')]";
    let harm = tab.run(harm).await;
    assert_eq!(harm, Value::from(vec![json!(false), json!(0), json!(false)]));
    tab.assert_quiet().await;
    tab.close().await;
    server.stop().await;
}
