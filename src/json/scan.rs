//! The one pass over a message: looks at the places that pointers lead to, skips the rest, keeps no tree.
//!
//! What is skipped is still parsed as [`serde_json::Value`] would parse it, and not with `serde::de::IgnoredAny`, which
//! lets pass what a `Value` rejects: half a surrogate pair, a number beyond `f64`, nesting without end. A message that
//! the application cannot read is no offer.

use std::{borrow::Cow, fmt, str};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::Fingerprint;

/// The places to look at, as a tree of the tokens that lead there. The first is the whole message.
#[derive(Clone, Debug)]
pub(super) struct Places(Vec<Place>);

#[derive(Clone, Debug, Default)]
struct Place {
    members: Vec<Member>,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
struct Member {
    token: Box<str>,
    /// What the token means in a list (RFC 6901 §4).
    index: Option<usize>,
    place: usize,
}

/// What is taken from a string at a place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) text: bool,
    pub(super) fingerprint: bool,
}

/// What was found at a place.
#[derive(Debug, Default)]
pub(super) enum Value<'de> {
    /// Nothing, or null.
    #[default]
    Missing,
    String {
        text: Cow<'de, str>,
        fingerprint: Option<Fingerprint>,
    },
    Integer(i128),
    /// Any other number, or a boolean, as text.
    Literal(String),
    /// A list or an object.
    Compound,
}

impl Places {
    /// The place that `tokens` lead to, which is looked at for `wanted` from now on.
    pub(super) fn want(&mut self, tokens: &[String], wanted: Wanted) -> usize {
        let end = tokens.iter().fold(0, |place, token| self.member(place, token));
        self.0[end].wanted.text |= wanted.text;
        self.0[end].wanted.fingerprint |= wanted.fingerprint;
        end
    }

    /// What `text` has at each place, or `None` if it is not JSON.
    pub(super) fn scan<'de>(&self, text: &'de [u8]) -> Option<Vec<Value<'de>>> {
        let mut found = Vec::new();
        found.resize_with(self.0.len(), Value::default);
        let mut json = serde_json::Deserializer::from_str(str::from_utf8(text).ok()?);
        let message = At {
            places: &self.0,
            found: &mut found,
            place: Some(0),
        };
        message.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(found)
    }

    fn member(&mut self, place: usize, token: &str) -> usize {
        let members = &self.0[place].members;
        if let Some(member) = members.iter().find(|member| *member.token == *token) {
            return member.place;
        }
        let new = self.0.len();
        self.0.push(Place::default());
        self.0[place].members.push(Member {
            token: token.into(),
            index: index(token),
            place: new,
        });
        new
    }
}

impl Default for Places {
    fn default() -> Self {
        Self(vec![Place::default()])
    }
}

/// A token as a list index: no sign and no leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    plain.then(|| token.parse().ok())?
}

/// Reads the value at one place, or, without a place, one that nobody asked for.
struct At<'a, 'de> {
    places: &'a [Place],
    found: &'a mut [Value<'de>],
    place: Option<usize>,
}

impl<'de> At<'_, 'de> {
    fn below(&mut self, place: Option<usize>) -> At<'_, 'de> {
        At {
            places: self.places,
            found: self.found,
            place,
        }
    }

    fn members(&self) -> &[Member] {
        self.place.map_or(&[], |place| &self.places[place].members)
    }

    fn set(&mut self, value: impl FnOnce() -> Value<'de>) {
        if let Some(place) = self.place {
            self.found[place] = value();
        }
    }

    fn string(&mut self, string: &str, text: impl FnOnce() -> Cow<'de, str>) {
        let Some(place) = self.place else { return };
        let wanted = self.places[place].wanted;
        self.found[place] = Value::String {
            text: if wanted.text { text() } else { Cow::Borrowed("") },
            fingerprint: (wanted.fingerprint && !string.is_empty()).then(|| Fingerprint::sdp(string)),
        };
    }

    /// Takes back what an equal member captured before: the last one counts.
    fn forget(&mut self) {
        let Some(place) = self.place else { return };
        self.found[place] = Value::Missing;
        for member in &self.places[place].members {
            self.below(Some(member.place)).forget();
        }
    }
}

impl<'de> DeserializeSeed<'de> for At<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, json: D) -> Result<(), D::Error> {
        self.forget();
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.set(|| Value::Literal(value.to_string()));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.set(|| Value::Integer(value.into()));
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.set(|| Value::Integer(value.into()));
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.set(|| integer(value).map_or_else(|| Value::Literal(value.to_string()), Value::Integer));
        Ok(())
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.string(value, || Cow::Owned(value.to_owned()));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(mut self, value: &'de str) -> Result<(), E> {
        self.string(value, || Cow::Borrowed(value));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.set(|| Value::Compound);
        for index in 0.. {
            let place = self
                .members()
                .iter()
                .find(|member| member.index == Some(index))
                .map(|member| member.place);
            if list.next_element_seed(self.below(place))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        self.set(|| Value::Compound);
        while let Some(place) = object.next_key_seed(Key(self.members()))? {
            object.next_value_seed(self.below(place))?;
        }
        Ok(())
    }
}

/// Returns the value of a number that is an integer, however it is written: `7.0`, `1e3`, `-0` or past 64 bits.
fn integer(number: f64) -> Option<i128> {
    let is_integer = number.fract() == 0.0 && number.abs() < -(i128::MIN as f64);
    is_integer.then_some(number as i128)
}

/// Reads the name of a member: the place it leads to, if it is one to look at.
struct Key<'a>(&'a [Member]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self
            .0
            .iter()
            .find(|member| *member.token == *name)
            .map(|member| member.place))
    }
}
