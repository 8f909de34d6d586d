//! Who one is: `?username=NAME`, default `anonymous`.
use chat_tests::client::{BasicClient, Shape};
use chat_tests::process::Spec;
use tokio_tungstenite::tungstenite::Message;

use crate::{on_workers, serve};

on_workers! {
    a_client_without_a_username_is_anonymous
    two_members_may_bear_the_same_name
}

async fn a_client_without_a_username_is_anonymous(spec: Spec) {
    let running = serve(spec).await;
    for query in ["", "?", "?username=", "?user=ada"] {
        let http = running.server.http();
        let mut client = BasicClient::connect_query(http, query, "anonymous").await;
        client.join("lobby").await;
        client.expect_nothing_before_echo("lobby", "who am I?").await;
        client.socket.close().await;
    }
}

async fn two_members_may_bear_the_same_name(spec: Spec) {
    let running = serve(spec).await;
    let mut one = BasicClient::connect(running.server.http(), "ada").await;
    let mut other = BasicClient::connect(running.server.http(), "ada").await;
    one.join("lobby").await;
    other.join("lobby").await;
    one.expect(&Shape::join("lobby", "ada")).await;
    other.say("I am another").await;
    one.expect(&Shape::message("lobby", "ada", "I am another")).await;
    other.leave().await;
    one.expect(&Shape::leave("lobby", "ada")).await;
    one.expect_nothing_before_echo("lobby", "still here").await;
}

#[tokio::test]
async fn a_username_is_percent_decoded() {
    let running = serve(Spec::default()).await;
    for (query, name) in [
        ("?username=Ada%20L%C3%B6velace%26co%3d1", "Ada Lövelace&co=1"),
        ("?username=Ada+Lovelace", "Ada Lovelace"),
        ("?x=1&username=%E5%90%8D%E5%89%8D&y=2", "名前"),
        ("?username=a%2Bb", "a+b"),
    ] {
        let mut client = BasicClient::connect_query(running.server.http(), query, name).await;
        client.join("lobby").await;
        client.expect_nothing_before_echo("lobby", "hi").await;
        client.socket.close().await;
    }
}

#[tokio::test]
async fn a_username_in_a_frame_is_ignored() {
    let running = serve(Spec::default()).await;
    let mut ada = BasicClient::connect(running.server.http(), "ada").await;
    let mut bob = BasicClient::connect(running.server.http(), "bob").await;
    bob.join("lobby").await;
    ada.socket.send_text(r#"{"type":"join","room":"lobby","username":"bob"}"#).await;
    ada.expect(&Shape::join("lobby", "ada")).await;
    bob.expect(&Shape::join("lobby", "ada")).await;
    ada.socket.send_text(r#"{"type":"message","content":"x","username":"bob"}"#).await;
    ada.expect(&Shape::message("lobby", "ada", "x")).await;
    bob.expect(&Shape::message("lobby", "ada", "x")).await;
    ada.socket.send_text(r#"{"type":"leave","username":"bob"}"#).await;
    bob.expect(&Shape::leave("lobby", "ada")).await;
}

#[tokio::test]
async fn the_server_does_not_speak_first() {
    let running = serve(Spec::default()).await;
    let mut client = BasicClient::connect(running.server.http(), "ada").await;
    client.socket.send(Message::Ping("first".into())).await;
    let first = chat_tests::wait::within("the pong", client.socket.next()).await;
    assert_eq!(first, Some(Message::Pong("first".into())));
    client.join("lobby").await;
}
