//! `Fingerprint::sdp` on any text: ignores what does not matter, is as exact as the slow reference, and takes linear
//! time.
//!
//! An input is a text, then a byte 0xff, then edits that turn it into another text, or an `L` to measure the time too.

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
    // Everything takes long under miri.
    if edits.starts_with(b"L") && !cfg!(miri) {
        is_linear(&text);
    }
}

/// Past 64 ssrc ids, some repetitions are not recognised, which the reference does not know.
fn sources(text: &str) -> usize {
    text.matches("\na=ssrc:").count()
}

/// Each three bytes after the text are an edit: its kind, its line, and its target line or byte.
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

/// Other texts of the same description.
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

/// Replaces the port of an `m=` line, unless it has none or zero.
fn with_port(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(media), Some(port), Some(formats)) if media.starts_with("m=") && port != "0" => {
            format!("{media} 54321 {formats}")
        }
        _ => line.to_owned(),
    }
}

/// Eight times the text must take about eight times as long, not 64 times. CPU time excludes other load.
fn is_linear(text: &str) {
    const SIZE: usize = 8 * 1024;
    const TRIES: usize = 8;
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let copies = SIZE / (rest.len() + 1) + 1;
    let of_copies = |copies: usize| {
        let mut long = first.to_owned();
        for copy in 0..copies {
            // Varies the ids, which would otherwise repeat.
            long.extend(["\n", &rest.replace("a=ssrc:", &format!("a=ssrc:{copy}"))]);
        }
        long
    };
    let (short, long) = (of_copies(copies), of_copies(8 * copies));
    let is_linear = (0..TRIES).any(|_| cpu_time(&long) <= 24 * cpu_time(&short).max(1000));
    assert!(is_linear, "{} bytes take more than linear time", long.len());
}

/// Nanoseconds of CPU time, the least of three runs.
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
