//! The page in a real Chromium, driven through WebDriver.
//!
//! Needs `chromium` and `chromedriver` (Debian: `apt-get install chromium chromium-driver`).
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

use chat_tests::process::{Home, Log, Server, Spec, target_dir};
use chat_tests::wait::{PATIENCE, within};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::{ParseError, Url};

/// Chromedriver, and the profiles of the browsers that it starts. Dropping it ends it.
struct Driver {
    _child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    profiles: TempDir,
}

impl Driver {
    async fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn();
        let mut child = child.unwrap_or_else(|e| {
            panic!("chromedriver can't be started ({e}): apt-get install chromium chromium-driver")
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let port = within("chromedriver to listen", async {
            loop {
                let line = stdout.next_line().await.expect("text").expect("chromedriver runs on");
                if let Some((_, port)) = line.split_once("was started successfully on port ") {
                    return port.trim_end_matches('.').parse::<u16>().expect("a port");
                }
            }
        })
        .await;
        let profiles = tempfile::tempdir().expect("a temporary directory");
        let url = format!("http://127.0.0.1:{port}");
        Self { _child: child, _stdout: stdout, url, profiles }
    }

    /// Opens a browser of its own: nothing is shared between two users.
    async fn open(&self, profile: &str, (width, height): (u32, u32)) -> Tab {
        let profile = self.profiles.path().join(profile);
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.display()),
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), json!({"args": arguments}));
        capabilities.insert("goog:loggingPrefs".into(), json!({"browser": "ALL"}));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(capabilities).connect(&self.url);
        match within("a browser", connecting).await {
            Ok(client) => Tab(client),
            Err(e) => panic!("chromium can't be started ({e}): apt-get install chromium"),
        }
    }
}

/// Reads what the browser wrote to its console since the last call.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.expect("a session")))
    }
    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// One browser with the page.
struct Tab(Client);

impl Tab {
    async fn see(&self, what: &str) {
        let found = self.0.wait().at_most(PATIENCE).for_element(Locator::Css(what)).await;
        if let Err(error) = found {
            let page = self.0.source().await.unwrap_or_default();
            panic!("waited {PATIENCE:?} in vain for `{what}`: {error}\n{page}");
        }
    }

    async fn fill(&self, field: &str, text: &str) {
        self.see(field).await;
        let field = self.0.find(Locator::Css(field)).await.expect("it was seen");
        field.clear().await.expect("a field can be emptied");
        field.send_keys(text).await.expect("a field takes keys");
    }

    async fn click(&self, button: &str) {
        self.see(button).await;
        let button = self.0.find(Locator::Css(button)).await.expect("it was seen");
        button.click().await.expect("a button takes clicks");
    }

    async fn enter(&self, server: &str, name: &str, room: &str) {
        self.0.goto(server).await.expect("the page loads");
        self.fill("#name-input", name).await;
        self.click("#name-submit").await;
        self.connected().await;
        // On a phone the rooms are in a drawer.
        let menu = self.0.find(Locator::Css("#open-side")).await.expect("the page has a menu");
        if menu.is_displayed().await.expect("it is still there") {
            menu.click().await.expect("a button takes clicks");
        }
        self.fill("#room-input", room).await;
        self.click("#room-submit").await;
        self.see(&format!("#rooms [data-room='{room}']")).await;
    }

    async fn connected(&self) {
        self.see("#status[data-state='connected']").await;
    }

    async fn say(&self, text: &str) {
        self.fill("#composer", text).await;
        self.click("#send").await;
    }

    /// Waits until the messages are exactly these, told as author and text.
    async fn messages(&self, expected: &[(&str, &str)]) {
        const READ: &str = "return [...document.querySelectorAll('#messages [data-seq]')].map(m => \
             [m.querySelector('.author')?.textContent, m.querySelector('.content')?.textContent])";
        let expected = json!(expected);
        let mut last = Value::Null;
        let reading = async {
            while last != expected {
                last = self.0.execute(READ, Vec::new()).await.expect("a script runs");
            }
        };
        let done = tokio::time::timeout(PATIENCE, reading).await;
        assert!(done.is_ok(), "the messages are {last:#}\ninstead of {expected:#}");
        let seqs = "return [...document.querySelectorAll('#messages [data-seq]')].map(m => \
             m.dataset.seq)";
        let seqs = self.0.execute(seqs, Vec::new()).await.expect("a script runs");
        let seqs: Vec<u64> = seqs.as_array().expect("a list").iter().map(number).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b), "the places are not in order: {seqs:?}");
    }

    /// Fails if the console has an error or the security policy was broken.
    async fn assert_quiet(&self) {
        let severe = self.severe().await;
        assert!(severe.is_empty(), "the console has {severe:#?}");
    }

    async fn severe(&self) -> Vec<String> {
        let log = self.0.issue_cmd(ConsoleLog).await.expect("chromedriver gives the console");
        let entries = log.as_array().expect("a list").iter();
        let severe = entries.filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn screenshot(&self, name: &str) {
        let image = self.0.screenshot().await.expect("a screenshot");
        let directory: PathBuf = target_dir().join("screenshots");
        std::fs::create_dir_all(&directory).expect("a directory for screenshots");
        std::fs::write(directory.join(name), image).expect("a file for a screenshot");
    }

    async fn close(self) {
        self.0.close().await.expect("the browser closes");
    }
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).expect("a seq is a number")
}

fn page(server: &Server) -> String {
    format!("http://{}/", server.http())
}

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

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
    ada.enter(&page(&server), "Ada", "lobby").await;
    bob.enter(&page(&server), "Bob", "lobby").await;
    ada.say("hello Bob").await;
    bob.messages(&[("Ada", "hello Bob")]).await;
    bob.say("hello Ada 👋 \u{5e9}\u{5dc}\u{5d5}\u{5dd}").await;
    let both = [("Ada", "hello Bob"), ("Bob", "hello Ada 👋 \u{5e9}\u{5dc}\u{5d5}\u{5dd}")];
    ada.messages(&both).await;
    bob.messages(&both).await;
    let members = "return [...document.querySelectorAll('#members [data-user]')].length";
    within("both to be among the members", async {
        while ada.0.execute(members, Vec::new()).await.expect("a script runs") != 2 {}
    })
    .await;
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
    ada.enter(&page(&server), "Ada", "lobby").await;
    bob.enter(&page(&server), "Bob", "lobby").await;
    ada.say("before").await;
    bob.messages(&[("Ada", "before")]).await;
    server.stop().await;
    ada.see("#status:not([data-state='connected'])").await;
    bob.see("#status:not([data-state='connected'])").await;
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
    ada.enter(&page(&server), "<b>Ada</b>", "lobby").await;
    bob.enter(&page(&server), "Bob", "lobby").await;
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
