//! The identity as a list of strings, computed slowly. Equal lists mean equal fingerprints. Fuzzing uses it too.

use std::collections::HashSet;

#[derive(PartialEq, Eq, Hash, Debug)]
pub(crate) enum Identity {
    Description(Vec<String>),
    Text(String),
}

pub(crate) fn identity(text: &str) -> Identity {
    let mut media = sections(text);
    let session = media.remove(0);
    if session.first() != Some(&"v=0") || values(&session, "o=").is_empty() {
        return Identity::Text(text.to_owned());
    }
    if media.is_empty() {
        media.push(session.clone());
    }
    let mut parts = vec![format!("{:?}", [values(&session, "o="), values(&session, "a=group:")])];
    for section in media {
        let mut line = section[0].splitn(3, ' ');
        let (kind, port, formats) = (line.next(), line.next(), line.next().unwrap_or(""));
        let mut ids = values(&section, "a=ssrc:");
        ids.iter_mut()
            .for_each(|id| *id = id.split(' ').next().unwrap_or("").to_owned());
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        let own_or_session = |read: &dyn Fn(&[&str]) -> Vec<String>| match read(&section) {
            own if own.is_empty() => read(&session),
            own => own,
        };
        let shared = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"]
            .map(|name| own_or_session(&|lines| values(lines, name)));
        let mut direction = own_or_session(&directions);
        if direction.is_empty() {
            direction.push("a=sendrecv".to_owned());
        }
        let own = ["a=mid:", "a=sctp-port:", "a=msid:"].map(|name| values(&section, name));
        parts.push(format!(
            "{kind:?} {} {formats:?} {ids:?} {shared:?} {direction:?} {own:?}",
            port == Some("0")
        ));
    }
    Identity::Description(parts)
}

fn values(lines: &[&str], name: &str) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(name))
        .map(str::to_owned)
        .collect()
}

fn directions(lines: &[&str]) -> Vec<String> {
    let known = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    lines
        .iter()
        .filter(|line| known.contains(line))
        .map(|line| (*line).to_owned())
        .collect()
}

/// The lines of the session and of each section, without trailing blanks.
pub(crate) fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in sdp.split('\n').map(str::trim_ascii_end) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("sections start with the session").push(line);
    }
    sections
}
