//! Certificates that can't be used, and those that change.
use std::net::SocketAddr;

use chat_tests::process::{Home, Server, Spec};
use chat_tests::tls::{Authority, Files, shown};
use chat_tests::wait::{eventually, within};
use chat_tokio::client::{Client, Delivery, Events};
use chat_tokio::tls::TlsIdentity;

use super::{member, room};

/// Says something in the room, to itself.
async fn is_alive(client: &Client, events: &mut Events) {
    let acked = within("an ack", client.send(&room(), "still here")).await.unwrap();
    within("the message", async {
        loop {
            match events.next().await.unwrap() {
                Delivery::Entry(entry) if entry.seq == acked.seq => return,
                Delivery::State(state) => assert!(!format!("{state:?}").contains("Waiting")),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_pair_counts_for_new_connections_and_a_broken_one_for_none() {
    let (home, authority) = (Home::default(), Authority::default());
    let files = Files::of(&authority);
    let server = Server::start(&home, &Spec::default().tls(&files).workers(2)).await;
    let address = server.http();
    let (client, mut events) = member(address, &authority).await;
    is_alive(&client, &mut events).await;
    let is_shown = async || shown(&authority.connect(address).await.unwrap());
    let first = is_shown().await;
    assert_eq!(first, is_shown().await);

    files.write(&authority.issue());
    let second = eventually("another certificate", async || {
        Some(is_shown().await).filter(|shown| *shown != first)
    })
    .await;
    is_alive(&client, &mut events).await;

    // Halves of two pairs.
    let [[certificate, _], [_, key]] = [authority.issue(), authority.issue()];
    files.write(&[certificate, key]);
    let refusal = "can't be used; the one before stays in force";
    eventually("an error in the log", async || {
        assert_eq!(is_shown().await, second);
        home.stderr().contains(refusal).then_some(())
    })
    .await;
    let log = home.stderr();
    assert!(log.contains("is not that of the first certificate"), "{log}");
    assert!(log.contains("key.pem"), "{log}");
    is_alive(&client, &mut events).await;

    // It recovers from that, too.
    files.write(&authority.issue());
    eventually("a third certificate", async || {
        Some(is_shown().await).filter(|shown| *shown != second)
    })
    .await;
    is_alive(&client, &mut events).await;
    assert_eq!(home.stderr().matches(refusal).count(), 1, "it is told once");
    server.stop().await;
}

#[tokio::test]
async fn who_can_not_wait_reloads() {
    let authority = Authority::default();
    let files = Files::of(&authority);
    let identity = TlsIdentity::from_files(files.certificate(), files.key()).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = chat_tokio::Server::builder().listen(any).tls(identity.clone());
    let server = builder.listen_tls_lines(any, identity).start().unwrap();
    let addresses = [server.local_addr().unwrap(), server.lines_addr().unwrap()];
    let all_shown = async || {
        let mut all = Vec::new();
        for address in addresses {
            all.push(shown(&authority.connect(address).await.unwrap()));
        }
        assert_eq!(all[0], all[1]);
        all.swap_remove(0)
    };
    let first = all_shown().await;
    files.write(&authority.issue());
    server.handle().reload_tls().unwrap();
    let second = all_shown().await;
    assert_ne!(first, second);

    std::fs::write(files.key(), "no key").unwrap();
    let error = server.handle().reload_tls().unwrap_err();
    assert_eq!(error.file(), Some(&*files.key()));
    assert_eq!(all_shown().await, second);
}

#[test]
fn what_is_wrong_with_a_pair_is_said_in_words() {
    let authority = Authority::default();
    let [certificate, key] = authority.issue();
    let [_, other_key] = authority.issue();
    let encrypted = key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    let cut = &certificate[..certificate.len() / 2];
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (certificate, key, file, why) in [
        ("", &*key, "cert", "it has no certificate in PEM"),
        ("certificate", &*key, "cert", "it has no certificate in PEM"),
        (&*key, &*key, "cert", "it has no certificate, but a private key"),
        (cut, &*key, "cert", "it is no PEM"),
        (odd, &*key, "cert", "its first certificate can't be used"),
        (&*certificate, "", "key", "it has no private key in PEM"),
        (&*certificate, &*certificate, "key", "it has no private key in PEM"),
        (&*certificate, &*other_key, "key", "is not that of the first certificate"),
        (&*certificate, &*encrypted, "key", "is encrypted"),
        (&*certificate, old_encrypted, "key", "is encrypted"),
        (&*certificate, odd_key, "key", "can't be used: RSA, EC"),
    ] {
        let files = Files::of(&authority);
        files.write(&[certificate.to_owned(), key.to_owned()]);
        let error = TlsIdentity::from_files(files.certificate(), files.key()).unwrap_err();
        let named = if file == "cert" { files.certificate() } else { files.key() };
        assert_eq!(error.file(), Some(&*named), "{error}");
        assert_eq!(error.to_string().split_once(": ").unwrap().0, named.to_str().unwrap());
        assert!(error.to_string().contains(why), "{error} has no `{why}`");
    }
    let files = Files::of(&authority);
    let nowhere = files.key().with_file_name("nowhere");
    for (certificate, key, why) in [
        (files.certificate(), nowhere.clone(), "No such file"),
        (nowhere, files.key(), "No such file"),
        (files.certificate(), files.key().parent().unwrap().to_owned(), "directory"),
    ] {
        let error = TlsIdentity::from_files(certificate, key).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let big = vec![b' '; 1024 * 1024 + 1];
    std::fs::write(files.certificate(), big).unwrap();
    let error = TlsIdentity::from_files(files.certificate(), files.key()).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}
