//! The original algorithm in JavaScript on Node: `original.mjs` next to `src/`.

use std::{path::PathBuf, process::Command};

use super::{Contender, Kind};

pub(super) const CONTENDER: Contender = Contender {
    name: "original",
    label: "the original, on Node",
    package: None,
    set_up: "`node:http`; `JSON.stringify(offer).substring(0, 100)` in a `Map` for 10 s, peers in a `Set` until 2 s after \
             processing; a dropped offer is answered with 409 here",
    lacks: "an answer for the duplicate; a retry after a failure; a limit, and V8 keeps a whole offer for the 100 \
            characters taken of it; a look past these characters",
    sessions: false,
    bounded: false,
    kind: Kind::Original,
};

const WANTED: u32 = 20;

pub(crate) fn script() -> PathBuf {
    crate::package().join("original.mjs")
}

/// Returns the version of the installed Node, which must be 20 or newer.
pub(crate) fn node() -> Result<String, String> {
    let wanted = format!("the original needs Node {WANTED} or newer (Debian: nodejs)");
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|error| format!("node did not start: {error}; {wanted}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next();
    match major.and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= WANTED => Ok(version),
        _ => Err(format!("found node {version:?}; {wanted}")),
    }
}
