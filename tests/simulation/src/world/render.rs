//! Frames as short lines, for stories.
use chat_proto::{Body, Entry, MembersView, Recovery, RoomName, ServerFrame};

/// Renders a frame of a `basic` peer.
pub(super) fn basic(room: &RoomName, kind: &str, username: &str, content: &str) -> String {
    match kind {
        "message" => format!("[{room}] <{username}> {content}"),
        _ => format!("[{room}] {kind}: {content}"),
    }
}

/// Renders a frame of a `chat.v1` peer.
pub(super) fn v1(frame: &ServerFrame) -> String {
    match frame {
        ServerFrame::Welcome(w) => {
            let rooms: String = w.rooms.iter().map(|(room, how)| recovery(room, how)).collect();
            let again = if w.resumed { " again" } else { "" };
            format!("welcome {}{again}{rooms}", &*w.name)
        }
        ServerFrame::Joined(j) => {
            let events: String = j.events.iter().map(|e| format!(" {}", entry(e))).collect();
            let more = if j.has_more_before { " more-before" } else { "" };
            format!("joined {} at {} with {}{events}{more}", j.room, j.head, members(&j.members))
        }
        ServerFrame::Left { room, .. } => format!("left {room}"),
        ServerFrame::Ack { seq: Some(seq), duplicate: false, .. } => format!("ack {seq}"),
        ServerFrame::Ack { seq: Some(seq), .. } => format!("ack {seq} again"),
        ServerFrame::Ack { .. } => "ack".into(),
        ServerFrame::Page(p) => {
            let events: String = p.events.iter().map(|e| format!(" {}", entry(e))).collect();
            let before = if p.has_more_before { " more-before" } else { "" };
            let after = if p.has_more_after { " more-after" } else { "" };
            format!("page{events}{before}{after}")
        }
        ServerFrame::Members { id: None, room, view } => {
            format!("[{room}] members {}", members(view))
        }
        ServerFrame::Members { view, .. } => format!("members {}", members(view)),
        ServerFrame::Rooms { rooms, has_more, .. } => {
            let rooms: String =
                rooms.iter().map(|r| format!(" {}:{}", r.room, r.members)).collect();
            format!("rooms{rooms}{}", if *has_more { " more" } else { "" })
        }
        ServerFrame::Pong { .. } => "pong".into(),
        ServerFrame::Error(e) => match e.retry_after_ms {
            Some(ms) => format!("error {} in {ms}", e.code),
            None => format!("error {}", e.code),
        },
        ServerFrame::Join { room, member } => format!("[{room}] join {}", &*member.username),
        ServerFrame::Leave { room, member, reason } => {
            format!("[{room}] leave {} ({reason:?})", &*member.username)
        }
        ServerFrame::Presence { room, count } => format!("[{room}] {count} present"),
        ServerFrame::Typing { room, member, active } => {
            let what = if *active { "types" } else { "stops typing" };
            format!("[{room}] {} {what}", &*member.username)
        }
        ServerFrame::Gap { room, from, to } => format!("[{room}] gap {from}..{to}"),
        ServerFrame::Hole { room, from, to } => format!("[{room}] hole {from}..{to}"),
        ServerFrame::Bye { code, after_ms, .. } => format!("bye {code} {after_ms}"),
        ServerFrame::Ping { heads } => {
            let heads = heads.iter().map(|(room, head)| format!(" {room}={}", head.seq));
            format!("ping{}", heads.collect::<String>())
        }
        ServerFrame::Entry(e) => format!("[{}] {}", e.room, entry(e)),
        other => format!("{other:?}"),
    }
}

fn recovery(room: &RoomName, how: &Recovery) -> String {
    match how {
        Recovery::Recovered(head) => format!(" {room} to {}", head.seq),
        Recovery::Lost(reason) => format!(" {room} lost: {reason:?}"),
    }
}

fn entry(entry: &Entry) -> String {
    let Body::Message { content, .. } = &entry.body else { return format!("{}", entry.seq) };
    format!("{}<{}>{content}", entry.seq, &*entry.username)
}

fn members(view: &MembersView) -> String {
    let names: Vec<&str> = view.members.iter().map(|m| &*m.username).collect();
    format!("{}({})", view.count, names.join(","))
}
