//! Values out of bytes: any bytes are a value, and the end of the bytes is zeros.
use chat_proto::{
    DisplayName, Epoch, Key, RequestId, RoomName, SEQ_MAX, Seq, SessionId, Timestamp, UserId,
};

/// The bytes that are left.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// An integer of the wire; large ones are as likely as small ones.
    pub(crate) fn integer(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let used = usize::from(self.byte() % 9);
        bytes.iter_mut().take(used).for_each(|b| *b = self.byte());
        u64::from_le_bytes(bytes) & SEQ_MAX
    }

    pub(crate) fn text(&mut self) -> String {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    pub(crate) fn maybe<T>(&mut self, make: fn(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    pub(crate) fn list<T>(&mut self, make: fn(&mut Self) -> T) -> Vec<T> {
        let length = self.byte() % 4;
        (0..length).map(|_| make(self)).collect()
    }

    pub(crate) fn seq(&mut self) -> Seq {
        Seq::new(self.integer()).expect("it is masked")
    }

    /// Returns the place of an entry: at least 1.
    pub(crate) fn place(&mut self) -> Seq {
        self.seq().max(Seq::ZERO.next())
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp(self.integer())
    }

    pub(crate) fn room(&mut self) -> RoomName {
        let text = self.text();
        RoomName::new(&text).unwrap_or_else(|_| RoomName::new("lobby").expect("a name"))
    }

    pub(crate) fn display_name(&mut self) -> DisplayName {
        let text = self.text();
        DisplayName::new(&text).unwrap_or_else(|_| DisplayName::new("Ada").expect("a name"))
    }

    pub(crate) fn user(&mut self) -> UserId {
        let text = self.text();
        UserId::new(&text).unwrap_or_else(|_| UserId::new("u_ada").expect("an id"))
    }

    pub(crate) fn session(&mut self) -> SessionId {
        let text = self.text();
        SessionId::new(&text).unwrap_or_else(|_| SessionId::new("s").expect("an id"))
    }

    pub(crate) fn epoch(&mut self) -> Epoch {
        let text = self.text();
        Epoch::new(&text).unwrap_or_else(|_| Epoch::new("e1").expect("an epoch"))
    }

    pub(crate) fn id(&mut self) -> Option<RequestId> {
        RequestId::new(&self.text()).ok()
    }

    pub(crate) fn key(&mut self) -> Option<Key> {
        Key::new(&self.text()).ok()
    }
}
