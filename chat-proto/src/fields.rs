//! Reads flat JSON objects field by field.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::text::Text;

/// Longest list of `features`.
const FEATURES_MAX: usize = 32;

/// Declares a struct of optional fields and its reader. The reader accepts only an object (a
/// derived one would also accept an array), refuses a known field that is given twice, skips
/// unknown fields and names the field at fault. `null` reads as a missing field.
macro_rules! flat {
    (
        $(#[$doc:meta])* $name:ident<$life:lifetime> {
            $($wire:literal => $field:ident: $ty:ty,)+
        }
    ) => {
        $(#[$doc])*
        pub(crate) struct $name<$life> {
            $(pub(crate) $field: Option<$ty>,)+
        }

        impl<$life> Deserialize<$life> for $name<$life> {
            fn deserialize<D: Deserializer<$life>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<$life> Visitor<$life> for Fields {
                    type Value = $name<$life>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a JSON object")
                    }
                    fn visit_map<A: MapAccess<$life>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        $(let mut $field: Option<Option<$ty>> = None;)+
                        while let Some(name) = map.next_key::<Text<$life>>()? {
                            match name.as_str() {
                                $($wire => {
                                    if $field.is_some() {
                                        return Err(de::Error::duplicate_field($wire));
                                    }
                                    let value = map.next_value();
                                    $field = Some(value.map_err(|e| at($wire, &e))?);
                                })+
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok($name { $($field: $field.flatten(),)+ })
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}

flat! {
    /// The fields of all `chat.v1` requests, so that one pass reads any frame.
    Flat<'a> {
        "type" => kind: Text<'a>,
        "id" => id: Text<'a>,
        "room" => room: Text<'a>,
        "name" => name: Text<'a>,
        "token" => token: Text<'a>,
        "key" => key: Text<'a>,
        "content" => content: Text<'a>,
        "features" => features: Features,
        "resume" => resume: FlatResume<'a>,
        "reply_to" => reply_to: u64,
        "before" => before: u64,
        "after" => after: After<'a>,
        "around" => around: u64,
        "limit" => limit: u64,
        "history" => history: u64,
        "active" => active: bool,
    }
}

flat! {
    /// The fields of a `basic` request.
    FlatBasic<'a> {
        "type" => kind: Text<'a>,
        "room" => room: Text<'a>,
        "content" => content: Text<'a>,
    }
}

flat! {
    /// The session that a `hello` resumes.
    FlatResume<'a> {
        "session" => session: Text<'a>,
        "attempt" => attempt: u64,
        "rooms" => rooms: Rooms<'a>,
    }
}

flat! {
    /// The last entry of a room that a session has seen.
    FlatPosition<'a> {
        "epoch" => epoch: Text<'a>,
        "seq" => seq: u64,
    }
}

flat! {
    /// The `type` alone.
    Kind<'a> {
        "type" => kind: Text<'a>,
    }
}

fn at<E: de::Error>(field: &'static str, error: &E) -> E {
    E::custom(format_args!("`{field}`: {error}"))
}

/// A place in `history`, a room in `rooms`.
pub(crate) enum After<'a> {
    Seq(u64),
    Room(Text<'a>),
}

impl<'de> Deserialize<'de> for After<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = After<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place or a room's name")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
                Ok(After::Seq(v))
            }
            fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(After::Room(v.into()))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(After::Room(String::from(v).into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The rooms of a `resume` in the order of the frame. `frame_bytes` bounds their number.
pub(crate) struct Rooms<'a>(pub(crate) Vec<(Text<'a>, FlatPosition<'a>)>);

impl<'de> Deserialize<'de> for Rooms<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;
        impl<'de> Visitor<'de> for ByName {
            type Value = Rooms<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of rooms")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut rooms = Vec::new();
                while let Some(room) = map.next_entry()? {
                    rooms.push(room);
                }
                Ok(Rooms(rooms))
            }
        }
        deserializer.deserialize_map(ByName)
    }
}

/// The names in `features`, at most [`FEATURES_MAX`].
pub(crate) struct Features(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Features;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    if names.len() == FEATURES_MAX {
                        return Err(de::Error::custom(format_args!("more than {FEATURES_MAX}")));
                    }
                    names.push(name);
                }
                Ok(Features(names))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The `type` and `id` of a text that may be broken. A field counts if it stands before the place
/// where the text stops being JSON, even behind a value of the wrong type.
#[derive(Default)]
pub(crate) struct Head<'a> {
    kind: Once<'a>,
    id: Once<'a>,
}

impl<'a> Head<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let mut head = Self::default();
        // The caller has its own error to report. This one only ends the reading.
        let _ = (&mut serde_json::Deserializer::from_str(text)).deserialize_map(&mut head);
        head
    }

    pub(crate) fn kind(&self) -> Option<&str> {
        self.kind.value.as_ref().map(Text::as_str)
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.value.as_ref().map(Text::as_str)
    }
}

impl<'de> Visitor<'de> for &mut Head<'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'de>>()? {
            match name.as_str() {
                "type" => self.kind.set(map.next_value()?),
                "id" => self.id.set(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A string that counts only if it is given once.
#[derive(Default)]
struct Once<'a> {
    seen: bool,
    value: Option<Text<'a>>,
}

impl<'a> Once<'a> {
    fn set(&mut self, value: MaybeText<'a>) {
        self.value = if self.seen { None } else { value.0 };
        self.seen = true;
    }
}

/// A string, or `None` for a value of another type.
struct MaybeText<'a>(Option<Text<'a>>);

impl<'de> Deserialize<'de> for MaybeText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = MaybeText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(MaybeText(Some(v.into())))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(MaybeText(Some(String::from(v).into())))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(MaybeText(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(MaybeText(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(MaybeText(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(MaybeText(None))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(MaybeText(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(seq).map(|_| MaybeText(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map).map(|_| MaybeText(None))
            }
        }
        deserializer.deserialize_any(Anything)
    }
}
