//! SDP fragments, which carry trickled candidates and ICE restarts (RFC 8840, RFC 9725 §4.3).

use std::fmt;

pub(crate) const MEDIA_TYPE: &str = "application/trickle-ice-sdpfrag";

/// A publisher's side of ICE.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fragment {
    /// User fragment and password, which only come together.
    pub(crate) credentials: Option<(String, String)>,
    /// Values of `a=candidate`.
    pub(crate) candidates: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Malformed(&'static str);

impl Fragment {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let (mut name, mut password) = (None, None);
        let mut candidates = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.as_bytes().get(1) != Some(&b'=') {
                return Err(Malformed("a line is not TYPE=VALUE"));
            }
            // With everything in one bundle, the first section's credentials hold for all.
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                name.get_or_insert_with(|| value.to_owned());
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                password.get_or_insert_with(|| value.to_owned());
            } else if let Some(value) = line.strip_prefix("a=") {
                candidates.extend(value.starts_with("candidate:").then(|| value.to_owned()));
            }
        }
        let credentials = match (name, password) {
            (Some(name), Some(password)) => Some((name, password)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Malformed("ice-ufrag and ice-pwd must come together")),
        };
        if credentials.is_none() && candidates.is_empty() && !text.contains("a=end-of-candidates") {
            return Err(Malformed("it has no ICE attributes"));
        }
        Ok(Self {
            credentials,
            candidates,
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed SDP fragment: {}", self.0)
    }
}

/// Extracts from an answer the fragment with the endpoint's side of ICE.
pub(crate) fn of_answer(answer: &str) -> String {
    const KEPT: [&str; 9] = [
        "a=ice-lite",
        "a=ice-options:",
        "a=group:BUNDLE",
        "m=",
        "a=mid:",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=candidate:",
        "a=end-of-candidates",
    ];
    let mut sections = 0;
    let first_section = answer.lines().take_while(|line| {
        sections += usize::from(line.starts_with("m="));
        sections < 2
    });
    first_section
        .filter(|line| KEPT.iter().any(|kept| line.starts_with(kept)))
        .flat_map(|line| [line, "\r\n"])
        .collect()
}

/// An offer with new ICE credentials and without candidates, as a publisher would send it to restart ICE.
pub(crate) fn restart(offer: &str, name: &str, password: &str) -> String {
    let mut restarted = String::with_capacity(offer.len());
    for line in offer.lines() {
        if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
            continue;
        }
        if line.starts_with("a=ice-ufrag:") {
            restarted.extend(["a=ice-ufrag:", name]);
        } else if line.starts_with("a=ice-pwd:") {
            restarted.extend(["a=ice-pwd:", password]);
        } else {
            restarted.push_str(line);
        }
        restarted.push_str("\r\n");
    }
    restarted
}
