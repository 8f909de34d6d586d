//! Certificates have their time.
use std::process::Stdio;

use chat_tests::process::{Home, Server, Spec, server_binary};
use chat_tests::scrape::{Scrape, until};
use chat_tests::tls::{Authority, Files, shown};
use chat_tests::wait::{eventually, within};
use chat_tokio::tls::TlsIdentity;

const DAY: i64 = 24;

#[test]
fn only_a_certificate_that_counts_makes_an_identity() {
    let authority = Authority::default();
    let files = Files::of(&authority);
    for (hours, why) in [
        ([-2 * DAY, -1], "its first certificate has expired: it counts from 20"),
        ([1, 9 * DAY], "its first certificate does not count yet: it counts from 20"),
    ] {
        let [certificate, key] = authority.issue_for(hours);
        let error = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(why), "{error}");
        files.write(&[certificate, key]);
        let error = TlsIdentity::from_files(files.certificate(), files.key()).unwrap_err();
        assert_eq!(error.file(), Some(&*files.certificate()), "{error}");
        let said = error.to_string();
        // Three times are named: two of the certificate, and what this machine thinks it is.
        let times = said.split_once(why).map(|(_, times)| times.matches('Z').count());
        assert_eq!(times, Some(3), "{said}");
    }
    let [certificate, key] = authority.issue_for([-1, 1]);
    let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let end = identity.expiry().unwrap().0 / 1000;
    let now = chat_tokio::clock::Clock::start().now().wall.0 / 1000;
    assert!((now + 3500..=now + 3600).contains(&end), "{end} at {now}");
}

#[test]
fn all_of_a_chain_has_to_count() {
    let root = Authority::default();
    for (hours, why) in [
        ([-2 * DAY, -1], "certificate 2 of its chain has expired: it counts from 20"),
        ([1, 9 * DAY], "certificate 2 of its chain does not count yet: it counts from 20"),
    ] {
        let [chain, key] = below(&root.intermediate(hours), [-1, DAY]);
        let error = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(why), "{error}");
    }
    // The chain ends with the first that ends, whichever it is.
    for (middle, own) in [(2, 5), (5, 2)] {
        let [chain, key] = below(&root.intermediate([-1, middle]), [-1, own]);
        let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let end = identity.expiry().unwrap().0 / 1000;
        let now = chat_tokio::clock::Clock::start().now().wall.0 / 1000;
        assert!((now + 7100..=now + 7200).contains(&end), "{end} at {now}");
    }
    // No client asks for the one that signs itself: it has it, or does not trust it.
    let old = Authority::lasting([-2 * DAY, -1]);
    let [chain, key] = below(&old, [-1, DAY]);
    let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    assert!(identity.expiry().unwrap() > chat_tokio::clock::Clock::start().now().wall);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let [own, key] = root.issue();
    let error = TlsIdentity::from_pem(format!("{own}{garbage}").as_bytes(), key.as_bytes());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("certificate 2 of its chain can't be used"), "{error}");
}

/// A certificate of this machine that an authority has signed, with that one's own behind it.
fn below(authority: &Authority, hours: [i64; 2]) -> [String; 2] {
    let [certificate, key] = authority.issue_for(hours);
    [format!("{certificate}{}", authority.pem()), key]
}

#[tokio::test]
async fn a_chain_that_has_ended_is_not_taken_while_running() {
    let (home, root) = (Home::default(), Authority::default());
    let files = Files::of(&root);
    files.write(&below(&root.intermediate([-1, 60 * DAY]), [-1, 60 * DAY]));
    let server = Server::start(&home, &Spec::default().tls(&files)).await;
    let first = shown(&root.connect(server.http()).await.unwrap());
    files.write(&below(&root.intermediate([-2 * DAY, -1]), [-1, 60 * DAY]));
    eventually("an error in the log", async || {
        home.stderr().contains("certificate 2 of its chain has expired").then_some(())
    })
    .await;
    assert_eq!(shown(&root.connect(server.http()).await.unwrap()), first);
    server.stop().await;
}

#[tokio::test]
async fn the_log_says_that_the_certificate_in_force_has_ended() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    // Long enough for a server that starts on a busy machine.
    files.write(&authority.issue_for_seconds([-60, 8]));
    let server = Server::start(&home, &Spec::default().tls(&files)).await;
    let told = "the certificate has expired: clients refuse it";
    assert!(!home.stderr().contains(told), "it has not ended yet");
    eventually("the end", async || home.stderr().contains(told).then_some(())).await;
    // Clients count whole seconds.
    eventually("clients to refuse it", async || {
        authority.connect(server.http()).await.is_err().then_some(())
    })
    .await;
    // The next one is good, and nothing more is told of the one before.
    files.write(&authority.issue_for([-1, 60 * DAY]));
    eventually("another certificate", async || {
        authority.connect(server.http()).await.is_ok().then_some(())
    })
    .await;
    for (what, times) in [(told, 1), ("the certificate expires within a week", 1)] {
        assert_eq!(home.stderr().matches(what).count(), times, "{what}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_one_that_has_expired() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    files.write(&authority.issue_for([-2 * DAY, -1]));
    let mut command = tokio::process::Command::new(server_binary());
    command.args(["--listen", "127.0.0.1:0", "--log", "memory", "--data-dir"]).arg(home.data());
    command.arg("--tls-cert").arg(files.certificate()).arg("--tls-key").arg(files.key());
    // Not what whoever runs the tests has set for them, which the server would refuse.
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the end of the server", command.output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let wanted = format!("--tls-cert {}: its first", files.certificate().display());
    assert!(said.contains(&wanted) && said.contains("has expired"), "{said}");
}

#[tokio::test]
async fn a_running_server_keeps_the_one_it_has_and_warns_before_the_end() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    files.write(&authority.issue_for([-1, 6 * DAY]));
    let spec = Spec::default().metrics().tls(&files);
    let server = Server::start(&home, &spec).await;
    let ends = async |what: &str| {
        let scrape = Scrape::of(server.metrics()).await;
        let end = scrape.value("chat_tls_certificate_expiry_seconds");
        let days = (end - chat_tokio::clock::Clock::start().now().wall.0 as f64 / 1000.0) / 86400.0;
        assert!(days > 5.9, "{what}: {days} days");
        (end, days)
    };
    let (end, days) = ends("the first").await;
    assert!(days < 6.1, "{days} days");
    let warning = "the certificate expires within a week";
    eventually("a warning", async || home.stderr().contains(warning).then_some(())).await;

    let first = shown(&authority.connect(server.http()).await.unwrap());
    files.write(&authority.issue_for([-2 * DAY, -1]));
    eventually("an error in the log", async || {
        home.stderr().contains("has expired: it counts from").then_some(())
    })
    .await;
    assert_eq!(shown(&authority.connect(server.http()).await.unwrap()), first);
    until(server.metrics(), &[("chat_tls_certificate_expiry_seconds", end)]).await;

    files.write(&authority.issue_for([-1, 60 * DAY]));
    eventually("another certificate", async || {
        let found = shown(&authority.connect(server.http()).await.unwrap());
        (found != first).then_some(())
    })
    .await;
    let (_, days) = ends("the last").await;
    assert!(days > 59.0, "{days} days");
    assert_eq!(home.stderr().matches(warning).count(), 1, "it is told once");
    server.stop().await;
}
