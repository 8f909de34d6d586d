//! The page in a real Chromium, driven through WebDriver.
//!
//! Needs `chromium` and `chromedriver` (Debian: `apt-get install chromium chromium-driver`).
use std::path::PathBuf;
use std::process::Stdio;

use fantoccini::elements::Element;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::{ParseError, Url};

use crate::process::{Server, target_dir};
use crate::wait::{PATIENCE, within};

/// The size of a window on a desk.
pub const DESKTOP: (u32, u32) = (1280, 800);
/// The size of a window on a phone.
pub const PHONE: (u32, u32) = (390, 844);

/// A name of this computer by which a page is no secure context: it lacks what those have.
pub const PLAIN_HOST: &str = "chat.test";

/// Chromedriver, and the profiles of the browsers that it starts. Dropping it ends them all.
#[derive(Debug)]
pub struct Driver {
    _child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    profiles: TempDir,
}

/// Browsers are not in chromedriver's process group and outlive it; one whose test has failed would
/// stay, with a page that tries to reconnect for ever. They are known by their profile.
impl Drop for Driver {
    fn drop(&mut self) {
        let profiles = self.profiles.path().as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let is_ours = command.windows(profiles.len()).any(|part| part == profiles);
            if let Some(pid) = number.and_then(Pid::from_raw).filter(|_| is_ours) {
                // It may have ended by itself meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Driver {
    /// Starts chromedriver.
    ///
    /// # Panics
    /// If it is not there, or does not listen in time.
    pub async fn start() -> Self {
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

    /// Opens a browser of its own: nothing is shared between two profiles.
    ///
    /// # Panics
    /// If it can't be started.
    pub async fn open(&self, profile: &str, (width, height): (u32, u32)) -> Tab {
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
            // A click on what still slides in can land beside it.
            "--force-prefers-reduced-motion".to_owned(),
            format!("--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"),
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
#[derive(Clone, Debug)]
pub struct Tab(pub Client);

impl Tab {
    /// Waits until something is there.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn see(&self, what: &str) {
        let found = self.0.wait().at_most(PATIENCE).for_element(Locator::Css(what)).await;
        if let Err(error) = found {
            let page = self.0.source().await.unwrap_or_default();
            panic!("waited {PATIENCE:?} in vain for `{what}`: {error}\n{page}");
        }
    }

    /// Runs a script and returns what it returns.
    ///
    /// # Panics
    /// If it fails.
    pub async fn run(&self, script: &str) -> Value {
        self.0.execute(script, Vec::new()).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// Waits until a script returns this.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn until(&self, script: &str, expected: &Value) {
        let mut last = Value::Null;
        let reading = async {
            while last != *expected {
                last = self.run(script).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, reading).await;
        assert!(done.is_ok(), "`{script}` is {last:#}\ninstead of {expected:#}");
    }

    /// Empties a field and types into it, once it can be.
    ///
    /// # Panics
    /// If it can't be in time.
    pub async fn fill(&self, field: &str, text: &str) {
        let has_keys = text.chars().all(|c| u32::from(c) <= 0xffff);
        self.act(field, async |field| {
            field.clear().await?;
            if has_keys {
                return field.send_keys(text).await;
            }
            // Chromedriver has no keys for such characters. Nor have people: they insert them.
            field.click().await?;
            let insert = "document.execCommand('insertText', false, arguments[0])";
            self.0.execute(insert, vec![json!(text)]).await.map(|_| ())
        })
        .await;
    }

    /// Clicks on something, once it can be.
    ///
    /// # Panics
    /// If it can't be in time.
    pub async fn click(&self, button: &str) {
        self.act(button, async |button| button.click().await).await;
    }

    /// Does something with an element that is displayed and enabled. What moves, or is still
    /// covered, refuses it and is tried again.
    async fn act<T, F>(&self, what: &str, action: F) -> T
    where
        F: AsyncFn(Element) -> Result<T, fantoccini::error::CmdError>,
    {
        let mut last = String::from("it was not looked for");
        let acting = async {
            loop {
                let found = self.0.find(Locator::Css(what)).await;
                let ready = match found {
                    Ok(element) => match is_ready(&element).await {
                        Ok(true) => Ok(element),
                        Ok(false) => Err("it is not displayed, or not enabled".to_owned()),
                        Err(error) => Err(error.to_string()),
                    },
                    Err(error) => Err(error.to_string()),
                };
                match ready {
                    Ok(element) => match action(element).await {
                        Ok(done) => return done,
                        Err(error) => last = error.to_string(),
                    },
                    Err(why) => last = why,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, acting).await {
            Ok(done) => done,
            Err(_) => panic!("waited {PATIENCE:?} in vain for `{what}`: {last}"),
        }
    }

    /// Opens the page, under a name, with a room.
    ///
    /// # Panics
    /// If that does not work in time.
    pub async fn enter(&self, server: &Server, name: &str, room: &str) {
        self.enter_at(&page(server), name, room).await;
    }

    /// As [`Tab::enter`], by another address.
    ///
    /// # Panics
    /// If that does not work in time.
    pub async fn enter_at(&self, url: &str, name: &str, room: &str) {
        self.0.goto(url).await.expect("the page loads");
        self.fill("#name-input", name).await;
        self.click("#name-submit").await;
        self.connected().await;
        // On a phone the rooms are in a drawer.
        let menu = self.0.find(Locator::Css("#open-side")).await.expect("the page has a menu");
        if menu.is_displayed().await.expect("it is still there") {
            self.click("#open-side").await;
        }
        self.fill("#room-input", room).await;
        self.click("#room-submit").await;
        self.see(&format!("#rooms [data-room='{room}']")).await;
    }

    /// Waits until there is a connection.
    pub async fn connected(&self) {
        self.see("#status[data-state='connected']").await;
    }

    /// Waits until there is none.
    pub async fn disconnected(&self) {
        self.see("#status:not([data-state='connected'])").await;
    }

    /// Writes a message.
    pub async fn say(&self, text: &str) {
        self.fill("#composer", text).await;
        self.click("#send").await;
    }

    /// Waits until the messages are exactly these, told as author and text.
    ///
    /// # Panics
    /// If they are not in time.
    pub async fn messages(&self, expected: &[(&str, &str)]) {
        const READ: &str = "return [...document.querySelectorAll('#messages [data-seq]')].map(m => \
             [m.querySelector('.author')?.textContent, m.querySelector('.content')?.textContent])";
        self.until(READ, &json!(expected)).await;
        let seqs = self.seqs().await;
        assert!(seqs.is_sorted_by(|a, b| a < b), "the places are not in order: {seqs:?}");
    }

    /// Reads the places of the messages.
    ///
    /// # Panics
    /// If one is no number.
    pub async fn seqs(&self) -> Vec<u64> {
        let seqs = "return [...document.querySelectorAll('#messages [data-seq]')].map(m => \
             m.dataset.seq)";
        self.run(seqs).await.as_array().expect("a list").iter().map(number).collect()
    }

    /// Reads the texts of the messages.
    ///
    /// # Panics
    /// If one is no text.
    pub async fn texts(&self) -> Vec<String> {
        let texts = "return [...document.querySelectorAll('#messages [data-seq] .content')].map(m \
             => m.textContent)";
        let texts = self.run(texts).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        texts.as_array().expect("a list").iter().map(text).collect()
    }

    /// Waits until these messages are on their way, told as text, status and what is said of it.
    pub async fn pending(&self, expected: &[(&str, &str, &str)]) {
        const READ: &str = "return [...document.querySelectorAll('#messages [data-pending]')]\
             .map(m => [m.querySelector('.content').textContent, m.dataset.status, \
             m.querySelector('.state-text').textContent])";
        self.until(READ, &json!(expected)).await;
    }

    /// Fails if the console has an error or the security policy was broken.
    ///
    /// # Panics
    /// If so.
    pub async fn assert_quiet(&self) {
        let severe = self.severe().await;
        assert!(severe.is_empty(), "the console has {severe:#?}");
    }

    /// Reads the errors of the console since the last call.
    ///
    /// # Panics
    /// If chromedriver does not give it.
    pub async fn severe(&self) -> Vec<String> {
        let log = self.0.issue_cmd(ConsoleLog).await.expect("chromedriver gives the console");
        let entries = log.as_array().expect("a list").iter();
        let severe = entries.filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Takes a picture, for people.
    ///
    /// # Panics
    /// If it can't be written.
    pub async fn screenshot(&self, name: &str) {
        let image = self.0.screenshot().await.expect("a screenshot");
        let directory: PathBuf = target_dir().join("screenshots");
        std::fs::create_dir_all(&directory).expect("a directory for screenshots");
        std::fs::write(directory.join(name), image).expect("a file for a screenshot");
    }

    /// Ends the browser.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn close(self) {
        self.0.close().await.expect("the browser closes");
    }
}

async fn is_ready(element: &Element) -> Result<bool, fantoccini::error::CmdError> {
    Ok(element.is_displayed().await? && element.is_enabled().await?)
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).expect("a seq is a number")
}

/// Returns where a server has the page.
#[must_use]
pub fn page(server: &Server) -> String {
    format!("http://{}/", server.http())
}
