//! `Fingerprint::sdp` on any text: blind to what does not count, as sharp as the slow reference, and linear.
//!
//! An input is a text and, behind a byte 0xff, edits that make another text of it, or an `L`, to take the time as well.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use tower_offer_dedup::Fingerprint;

use self::reference::{Identity, identity};

#[path = "../../tests/fingerprint/reference.rs"]
mod reference;

pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0xff);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let edits = parts.next().unwrap_or_default();
    let other = edited(&text, edits);

    let fingerprint = Fingerprint::sdp(&text);
    if sources(&text).max(sources(&other)) <= 64 {
        let same = identity(&text) == identity(&other);
        assert_eq!(Fingerprint::sdp(&other) == fingerprint, same, "{other:?}");
    }
    match identity(&text) {
        Identity::Description(_) => {
            for other in rewritten(&text) {
                assert_eq!(Fingerprint::sdp(&other), fingerprint, "{other:?}");
            }
        }
        Identity::Text(_) => assert_eq!(fingerprint, Fingerprint::exact(text.as_bytes())),
    }
    // Under miri everything takes long.
    if edits.starts_with(b"L") && !cfg!(miri) {
        is_linear(&text);
    }
}

/// Of more ssrc ids than 64 not all are told apart, which the reference does not know.
fn sources(text: &str) -> usize {
    text.matches("\na=ssrc:").count()
}

/// Each three bytes behind the text are an edit: what, which line, and where to or which byte in it.
fn edited(text: &str, edits: &[u8]) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for edit in edits.chunks_exact(3).take(4) {
        let count = lines.len();
        let (line, at) = (usize::from(edit[1]) % count, usize::from(edit[2]));
        match edit[0] % 5 {
            0 if count > 1 => drop(lines.remove(line)),
            1 => lines.insert(at % count, lines[line].clone()),
            2 => lines.swap(line, at % count),
            3 => lines[line].push(char::from(edit[2] & 0x7f)),
            _ => {
                let line = &mut lines[line];
                let at = at % (line.len() + 1);
                if line.is_char_boundary(at) {
                    line.insert(at, if edit[2] % 2 == 0 { '0' } else { ' ' });
                }
            }
        }
    }
    lines.join("\n")
}

/// Other texts of the description `text`.
fn rewritten(text: &str) -> [String; 8] {
    const CANDIDATE: &str = "a=candidate:1 1 udp 2122260223 203.0.113.7 54321 typ host generation 0 ufrag 7h6h";
    let each_line = |rewrite: fn(&str) -> String| text.split('\n').map(rewrite).collect::<Vec<_>>().join("\n");
    [
        text.replace('\n', "\r\n"),
        text.replace("\r\n", "\n"),
        text.trim_ascii_end().to_owned(),
        format!("{text}\r\n\n"),
        text.replace('\n', " \t\r\n") + " \r",
        format!("{text}\r\n{CANDIDATE}\r\na=end-of-candidates"),
        each_line(|line| format!("{line}\n{CANDIDATE}\na=end-of-candidates\nc=IN IP4 203.0.113.7\na=rtcp:9")),
        each_line(|line| with_port(line.trim_ascii_end())),
    ]
}

/// An `m=` line with another port, unless it has none or zero.
fn with_port(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(media), Some(port), Some(formats)) if media.starts_with("m=") && port != "0" => {
            format!("{media} 54321 {formats}")
        }
        _ => line.to_owned(),
    }
}

/// Eight times the text takes eight times as long, not 64 times: in CPU time of this thread, so load does not matter.
fn is_linear(text: &str) {
    const SIZE: usize = 8 * 1024;
    const TRIES: usize = 8;
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let copies = SIZE / (rest.len() + 1) + 1;
    let of_copies = |copies: usize| {
        let mut long = first.to_owned();
        for copy in 0..copies {
            // Not the same ids over and over.
            long.extend(["\n", &rest.replace("a=ssrc:", &format!("a=ssrc:{copy}"))]);
        }
        long
    };
    let (short, long) = (of_copies(copies), of_copies(8 * copies));
    let is_linear = (0..TRIES).any(|_| cpu_time(&long) <= 24 * cpu_time(&short).max(1000));
    assert!(is_linear, "{} bytes take too long", long.len());
}

/// Nanoseconds, the least of three.
fn cpu_time(text: &str) -> i64 {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let time = || {
        let started = now();
        black_box(Fingerprint::sdp(black_box(text)));
        now() - started
    };
    time().min(time()).min(time())
}
