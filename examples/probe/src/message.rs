//! The forms of offers and answers: plain SDP, or in JSON.

use serde_json::Value;

use crate::offer;

/// Packs offers and finds answers.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    Sdp,
    Json {
        template: Template,
        /// Points to the answer's SDP.
        answer: String,
    },
}

/// JSON with `$sdp` and `$peer` in its strings.
#[derive(Clone, Debug)]
pub(crate) struct Template(Value);

impl Format {
    pub(crate) fn media_type(&self) -> &'static str {
        match self {
            Self::Sdp => "application/sdp",
            Self::Json { .. } => "application/json",
        }
    }

    pub(crate) fn pack(&self, sdp: &[u8], peer: &str) -> Vec<u8> {
        match self {
            Self::Sdp => sdp.to_vec(),
            Self::Json { template, .. } => template.fill(&String::from_utf8_lossy(sdp), peer).into_bytes(),
        }
    }

    /// Finds the SDP of the answer in a message. Text without ICE credentials is no answer.
    pub(crate) fn ufrag(&self, message: &[u8]) -> Option<String> {
        match self {
            Self::Sdp => offer::ufrag(std::str::from_utf8(message).ok()?).map(str::to_owned),
            Self::Json { answer, .. } => {
                let message: Value = serde_json::from_slice(message).ok()?;
                let sdp = message.pointer(answer)?.as_str()?;
                offer::ufrag(sdp).map(str::to_owned)
            }
        }
    }
}

impl Template {
    /// Parses a template of an offer, which must have a place for the SDP.
    pub(crate) fn offer(text: &str) -> Result<Self, String> {
        if !text.contains("$sdp") {
            return Err("it has no $sdp".into());
        }
        Self::message(text)
    }

    /// Parses a template of any message.
    pub(crate) fn message(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|error| error.to_string())
    }

    /// Returns `true` if there is a place for the peer's name.
    pub(crate) fn has_peer(&self) -> bool {
        self.0.to_string().contains("$peer")
    }

    pub(crate) fn fill(&self, sdp: &str, peer: &str) -> String {
        let mut value = self.0.clone();
        fill(&mut value, sdp, peer);
        value.to_string()
    }
}

fn fill(value: &mut Value, sdp: &str, peer: &str) {
    match value {
        // The peer first: an offer's text is not searched.
        Value::String(text) => *text = text.replace("$peer", peer).replace("$sdp", sdp),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, sdp, peer)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, sdp, peer)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\na=ice-ufrag:abc\r\n";

    #[test]
    fn template_escapes_the_offer() {
        let template = Template::offer(r#"{"to":["$peer",7],"jsep":{"sdp":"$sdp"}}"#).expect("it should parse");
        let filled: Value = serde_json::from_str(&template.fill("v=0\r\n\"", "p1")).expect("it should be JSON");
        assert_eq!(
            filled,
            serde_json::json!({ "to": ["p1", 7], "jsep": { "sdp": "v=0\r\n\"" } })
        );
    }

    #[test]
    fn template_without_place_is_refused() {
        assert!(Template::offer(r#"{"sdp":"v=0"}"#).is_err());
        assert!(Template::offer("{$sdp").is_err());
    }

    #[test]
    fn answers_are_found() {
        assert_eq!(Format::Sdp.ufrag(ANSWER.as_bytes()).as_deref(), Some("abc"));
        let format = Format::Json {
            template: Template::offer(r#"["$sdp"]"#).expect("it should parse"),
            answer: "/jsep/sdp".into(),
        };
        let message = serde_json::json!({ "jsep": { "sdp": ANSWER } }).to_string();
        assert_eq!(format.ufrag(message.as_bytes()).as_deref(), Some("abc"));
        for other in [
            "",
            "{",
            "[]",
            r#"{"jsep":{"sdp":7}}"#,
            r#"{"jsep":{"sdp":"a=ice-ufrag:"}}"#,
            ANSWER,
        ] {
            assert_eq!(format.ufrag(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Format::Sdp.ufrag(b"\xff"), None);
    }
}
