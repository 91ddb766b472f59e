//! The one pass over a message. It reads the places that pointers lead to, skips the rest and builds no tree.
//!
//! Skipped values are parsed as [`serde_json::Value`] would parse them. `serde::de::IgnoredAny` would accept what a
//! `Value` rejects: half a surrogate pair, a number beyond `f64`, nesting without end. A message that the application
//! cannot read must not count as an offer.
//!
//! # Pointers through strings
//!
//! If a pointer goes on and the value is a string, the string is parsed as a document of its own, with the same
//! place as its root. At the place of a description every string is parsed that way, because a description that turns
//! out to be JSON is none. Two facts keep the work linear in the size of the message:
//!
//! - A string is parsed twice at most, once as it is and once decoded. The alphabet of base64 has neither `{`, `[` nor
//!   `"`, so only one of the two can get past the first characters.
//! - The strings inside a document are no longer than the document together, and at most [`LEVELS`] of them are nested.

use std::{borrow::Cow, fmt, str};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    base64,
    places::{Member, Place, Places},
};
use crate::Fingerprint;

/// The number of strings that a pointer may go through.
const LEVELS: u8 = 4;

/// The value found at a place.
#[derive(Debug, Default)]
pub(super) enum Value<'de> {
    /// Nothing, or null.
    #[default]
    Missing,
    String {
        /// Empty unless it is wanted.
        text: Cow<'de, str>,
        description: Description,
    },
    Integer(i128),
    /// Any other number, or a boolean, as text.
    Literal(String),
    /// A list or an object.
    Structure,
}

/// A string read as a session description.
#[derive(Debug)]
pub(super) enum Description {
    /// An empty string, or one that is not wanted.
    Missing,
    /// A list or an object in JSON, encoded or not. It is never an SDP offer, and may well be an answer.
    Json,
    Offer(Fingerprint),
}

/// Returns what `text` has at each of `places`, or `None` if it is not JSON.
pub(super) fn scan<'de>(places: &Places, text: &'de [u8]) -> Option<Vec<Value<'de>>> {
    let places = places.as_slice();
    let mut found = Vec::new();
    found.resize_with(places.len(), Value::default);
    let message = At {
        places,
        found: &mut found,
        place: Some(0),
        levels: LEVELS,
        keep: Cow::Borrowed,
    };
    message.read(str::from_utf8(text).ok()?).ok()?;
    Some(found)
}

/// Reads the value at one place, or a value that no pointer leads to.
struct At<'a, 'de, 'text> {
    places: &'a [Place],
    found: &'a mut [Value<'de>],
    place: Option<usize>,
    /// The number of further strings that a pointer may go through.
    levels: u8,
    /// Keeps a piece of the document. Only the message itself outlives the scan, so pieces of other documents are
    /// copied.
    keep: fn(&'text str) -> Cow<'de, str>,
}

/// `true` for a list, an object, or a string that holds one.
type IsStructure = bool;

impl<'de, 'text> At<'_, 'de, 'text> {
    fn below(&mut self, place: Option<usize>) -> At<'_, 'de, 'text> {
        At {
            places: self.places,
            found: self.found,
            place,
            levels: self.levels,
            keep: self.keep,
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

    fn string(&mut self, string: &str, keep: impl FnOnce() -> Cow<'de, str>) -> IsStructure {
        let Some(place) = self.place else { return false };
        let Place { members, wanted } = &self.places[place];
        let is_read = wanted.description || !members.is_empty();
        let is_structure = is_read && self.go_through(string);
        let description = match string {
            "" => Description::Missing,
            _ if !wanted.description => Description::Missing,
            _ if is_structure => Description::Json,
            _ => Description::Offer(Fingerprint::sdp(string)),
        };
        // After the string has been read, or its root would replace the string itself.
        self.found[place] = Value::String {
            text: if wanted.text { keep() } else { Cow::Borrowed("") },
            description,
        };
        is_structure
    }

    /// Reads a string as JSON, else as base64 of JSON. Finds nothing if it is neither.
    fn go_through(&mut self, string: &str) -> IsStructure {
        if let Some(is_structure) = self.read_inside(string) {
            return is_structure;
        }
        let decoded = base64::decode(string);
        let decoded = decoded.as_deref().and_then(|bytes| str::from_utf8(bytes).ok());
        decoded.and_then(|text| self.read_inside(text)).unwrap_or(false)
    }

    fn read_inside(&mut self, text: &str) -> Option<IsStructure> {
        // No other value has a place in it. Descriptions, which begin with `v`, cost this comparison and no more.
        let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
        if !start.starts_with(['{', '[', '"']) {
            return None;
        }
        let inside = At {
            places: self.places,
            found: self.found,
            // Past the last level nothing is found, but a structure is still recognised.
            place: self.place.filter(|_| self.levels > 0),
            levels: self.levels.saturating_sub(1),
            keep: |text| Cow::Owned(text.to_owned()),
        };
        let is_structure = inside.read(text).ok();
        if is_structure.is_none() {
            // It broke off after some places had been read.
            self.forget();
        }
        is_structure
    }

    /// Reads all of a document.
    fn read(self, text: &'text str) -> serde_json::Result<IsStructure> {
        let mut json = serde_json::Deserializer::from_str(text);
        let is_structure = self.deserialize(&mut json)?;
        json.end()?;
        Ok(is_structure)
    }

    /// Clears this place and all below it.
    fn forget(&mut self) {
        let Some(place) = self.place else { return };
        self.found[place] = Value::Missing;
        for member in &self.places[place].members {
            self.below(Some(member.place)).forget();
        }
    }
}

impl<'text> DeserializeSeed<'text> for At<'_, '_, 'text> {
    type Value = IsStructure;

    fn deserialize<D: Deserializer<'text>>(mut self, json: D) -> Result<IsStructure, D::Error> {
        // Of equal members the last one counts: take back what an earlier one has left.
        self.forget();
        json.deserialize_any(self)
    }
}

impl<'text> Visitor<'text> for At<'_, '_, 'text> {
    type Value = IsStructure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<IsStructure, E> {
        self.set(|| Value::Literal(value.to_string()));
        Ok(false)
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<IsStructure, E> {
        self.set(|| Value::Integer(value.into()));
        Ok(false)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<IsStructure, E> {
        self.set(|| Value::Integer(value.into()));
        Ok(false)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<IsStructure, E> {
        self.set(|| integer(value).map_or_else(|| Value::Literal(value.to_string()), Value::Integer));
        Ok(false)
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<IsStructure, E> {
        Ok(self.string(value, || Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(mut self, value: &'text str) -> Result<IsStructure, E> {
        let keep = self.keep;
        Ok(self.string(value, || keep(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<IsStructure, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'text>>(mut self, mut list: A) -> Result<IsStructure, A::Error> {
        self.set(|| Value::Structure);
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
        Ok(true)
    }

    fn visit_map<A: MapAccess<'text>>(mut self, mut object: A) -> Result<IsStructure, A::Error> {
        self.set(|| Value::Structure);
        while let Some(place) = object.next_key_seed(Key(self.members()))? {
            object.next_value_seed(self.below(place))?;
        }
        Ok(true)
    }
}

/// Returns the value of a number that is an integer, however it is written: `7.0`, `1e3`, `-0` or past 64 bits.
fn integer(number: f64) -> Option<i128> {
    let is_integer = number.fract() == 0.0 && number.abs() < -(i128::MIN as f64);
    is_integer.then_some(number as i128)
}

/// Reads the name of a member: the place it leads to, if it is one to read.
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
