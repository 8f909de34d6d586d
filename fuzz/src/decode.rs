//! Any text is a frame or a clear error.
use chat_proto::{ClientFrame, DecodeError, Decoder, Dialect, ErrorCode, ServerFrame};

/// Reads the lines of a text as one connection would, in each dialect and in both directions.
pub fn decode(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for dialect in [Dialect::Basic, Dialect::V1] {
        connection(Decoder::new(dialect), &text);
    }
    for line in text.split('\n') {
        match ServerFrame::decode(line) {
            Ok(frame) => written_frame_is_stable(&frame),
            Err(error) => error_is_clear(&error),
        }
    }
}

fn connection(mut decoder: Decoder, text: &str) {
    let begun = decoder.dialect();
    for (index, line) in text.split('\n').enumerate() {
        let before = decoder.dialect();
        let result = decoder.decode(line);
        let after = decoder.dialect();
        if index > 0 || begun == Dialect::V1 {
            assert_eq!(before, after, "only a first `hello` chooses");
        }
        match result {
            Ok(ClientFrame::Basic(request)) => {
                assert_eq!(after, Dialect::Basic);
                let again = Decoder::new(Dialect::Basic).decode(&request.encode());
                assert_eq!(again, Ok(ClientFrame::Basic(request)));
            }
            Ok(ClientFrame::V1 { id, request }) => {
                assert_eq!(after, Dialect::V1);
                let settled = request.encode(id.as_ref());
                assert!(!settled.contains('\n'), "one line: {settled}");
                let again = Decoder::new(Dialect::V1).decode(&settled);
                assert_eq!(again, Ok(ClientFrame::V1 { id, request }));
            }
            Err(error) => {
                error_is_clear(&error);
                assert!(error.id.is_none() || after == Dialect::V1, "`basic` has no ids");
            }
        }
    }
}

fn written_frame_is_stable(frame: &ServerFrame) {
    let Some(written) = frame.encode(Dialect::V1) else {
        assert_eq!(frame, &ServerFrame::Unknown);
        return;
    };
    let again = ServerFrame::decode(written.as_str()).expect("what we write can be read");
    assert_eq!(&again, frame);
    assert_eq!(again.encode(Dialect::V1), Some(written));
}

fn error_is_clear(error: &DecodeError) {
    let known = [ErrorCode::BadFrame, ErrorCode::UnknownType, ErrorCode::InvalidName];
    assert!(known.contains(&error.code), "{error}");
    assert!(!error.message.is_empty());
    assert!(error.message.len() <= DecodeError::MESSAGE_BYTES_MAX, "{error}");
}
