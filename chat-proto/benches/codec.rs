//! How long it takes to write and to read frames: `cargo bench -p chat-proto`.
mod frames;

use chat_proto::{Decoder, Dialect, ServerFrame};
use divan::Bencher;
use divan::counter::BytesCount;

use frames::Case;

fn main() {
    divan::main();
}

/// A frame of its own, without what was encoded before.
#[divan::bench(args = frames::server_frames())]
fn encode_v1(bencher: Bencher<'_, '_>, case: &Case<ServerFrame>) {
    bencher.bench(|| case.value.encode(Dialect::V1));
}

#[divan::bench(args = basic_frames())]
fn encode_basic(bencher: Bencher<'_, '_>, case: &Case<ServerFrame>) {
    bencher.bench(|| case.value.encode(Dialect::Basic));
}

/// An entry is encoded once for all who get it, with the header of a WebSocket frame.
#[divan::bench(args = [Dialect::V1, Dialect::Basic])]
fn encode_entry_for_websocket(bencher: Bencher<'_, '_>, dialect: Dialect) {
    bencher
        .with_inputs(|| frames::entry(42))
        .bench_refs(|entry| entry.encoded(dialect).websocket());
}

/// What each further connection costs.
#[divan::bench(args = [Dialect::V1, Dialect::Basic])]
fn share_entry_for_websocket(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let entry = frames::entry(42);
    bencher.bench(|| entry.encoded(dialect).websocket());
}

#[divan::bench(args = server_texts())]
fn decode_server_frame(bencher: Bencher<'_, '_>, case: &Case<String>) {
    let bytes = BytesCount::of_str(&case.value);
    bencher.counter(bytes).bench(|| ServerFrame::decode(&case.value));
}

#[divan::bench(args = dialect(Dialect::V1))]
fn decode_v1(bencher: Bencher<'_, '_>, case: &Case<(Dialect, String)>) {
    decode(bencher, case);
}

#[divan::bench(args = dialect(Dialect::Basic))]
fn decode_basic(bencher: Bencher<'_, '_>, case: &Case<(Dialect, String)>) {
    decode(bencher, case);
}

#[divan::bench(args = frames::bad_texts())]
fn refuse(bencher: Bencher<'_, '_>, case: &Case<(Dialect, String)>) {
    decode(bencher, case);
}

fn decode(bencher: Bencher<'_, '_>, case: &Case<(Dialect, String)>) {
    let (dialect, text) = &case.value;
    let decoder = || Decoder::new(*dialect);
    bencher
        .counter(BytesCount::of_str(text))
        .with_inputs(decoder)
        .bench_values(|mut decoder| decoder.decode(text));
}

fn dialect(dialect: Dialect) -> Vec<Case<(Dialect, String)>> {
    frames::client_texts().into_iter().filter(|case| case.value.0 == dialect).collect()
}

fn basic_frames() -> Vec<Case<ServerFrame>> {
    let frames = frames::server_frames().into_iter();
    frames.filter(|case| case.value.encode(Dialect::Basic).is_some()).collect()
}

fn server_texts() -> Vec<Case<String>> {
    let text = |case: Case<ServerFrame>| {
        let encoded = case.value.encode(Dialect::V1)?;
        Some(Case { name: case.name, value: encoded.as_str().to_owned() })
    };
    let message = frames::entry(42).encoded(Dialect::V1).as_str().to_owned();
    let frames = frames::server_frames().into_iter().filter_map(text);
    frames.chain([Case { name: "message", value: message }]).collect()
}
