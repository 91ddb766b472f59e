//! The figures as a picture. It has its own background, so that it is readable on light and dark pages.

use std::fmt::{Display, Write};

use crate::{
    report::{Report, Row, millis, percent},
    stages::{Act, Arm},
};

const WIDTH: u32 = 880;
const LEFT: u32 = 32;

/// Start of the bars, and length of the longest.
const LABELS: u32 = 222;
const MADE: u32 = 600;
const WORKS_LONG: f64 = 280.0;
const MADE_LONG: f64 = 190.0;
const RESTART_LONG: f64 = 280.0;

const BAR: u32 = 13;
const PITCH: u32 = BAR + 2;
/// Space between two networks.
const GAP: u32 = 16;

const STYLE: &str = "\
.ground{fill:#fff;stroke:#e2e5ee}.title{fill:#1a1f2e;font-size:19px;font-weight:650}\
.head{fill:#1a1f2e;font-size:14px;font-weight:600}.text{fill:#1a1f2e;font-size:13px}\
.soft{fill:#5d667c;font-size:12.5px}.rule{stroke:#e2e5ee}.track{fill:#f1f2f7}\
.without{fill:#e08a1e}.with{fill:#4f5bd5}.room{fill:#12805c}\
@media (prefers-color-scheme:dark){.ground{fill:#161a22;stroke:#2b3240}.title,.head,.text{fill:#e7eaf2}\
.soft{fill:#98a2b8}.rule{stroke:#2b3240}.track{fill:#1f242f}.without{fill:#f2a945}.with{fill:#7b87ff}\
.room{fill:#46c99b}}";

pub(crate) fn svg(report: &Report) -> String {
    let within = report.within;
    let mut picture = Picture { body: String::new() };
    let mut y = 44;
    picture.text(
        "title",
        LEFT,
        y,
        "Before and after: a user rejoins over a faulty network",
    );
    y += 24;
    let about = format!(
        "{} rejoins per bar, in headless Chromium. The page makes a peer connection for each offer that arrives.",
        report.rejoins
    );
    picture.text("soft", LEFT, y, about);
    y += 32;
    let mut x = LEFT;
    for arm in Arm::ALL {
        picture.bar(arm.class(), x, y - 11, 13.0);
        picture.text("text", x + 20, y, arm.name());
        x += 200;
    }

    y += 42;
    picture.text("head", LEFT, y, "Network");
    picture.text("head", LABELS, y, format!("Sessions that work after {within} s"));
    picture.text("head", MADE, y, "Peer connections per rejoin");
    y += 18;
    let rejoins: Vec<_> = report.rows(Act::Rejoin).collect();
    let most = rejoins.iter().map(|row| row.figures.made.0).fold(1.0, f64::max);
    for (n, row) in rejoins.iter().enumerate() {
        if row.arm == Arm::Default {
            picture.text("text", LEFT, y + 11, row.network);
        }
        let class = row.arm.class();
        let works = WORKS_LONG * row.figures.works / 100.0;
        picture.bar("track", LABELS, y, WORKS_LONG);
        picture.bar(class, LABELS, y, works);
        picture.text(
            "text",
            LABELS + WORKS_LONG as u32 + 10,
            y + 11,
            percent(row.figures.works),
        );
        let made = MADE_LONG * row.figures.made.0 / most;
        picture.bar(class, MADE, y, made);
        picture.text(
            "text",
            MADE + made as u32 + 10,
            y + 11,
            format!("{:.1}", row.figures.made.0),
        );
        y += PITCH;
        if (n + 1) % Arm::ALL.len() == 0 {
            y += GAP;
        }
    }

    y += 4;
    picture.rule(y);
    y += 34;
    picture.text(
        "head",
        LEFT,
        y,
        "What it costs: ICE restarted by the same peer within 500 ms of the answer",
    );
    picture.text(
        "soft",
        LEFT,
        y + 21,
        "Median time until the restart is answered, and share that succeeds",
    );
    y += 38;
    let restarts: Vec<_> = report.rows(Act::Restart).collect();
    let longest = restarts
        .iter()
        .filter_map(|row| row.figures.took)
        .map(|(median, _)| median);
    let longest = longest.fold(1.0, f64::max);
    for row in &restarts {
        picture.text("text", LEFT, y + 11, row.arm.name());
        let long = row
            .figures
            .took
            .map_or(0.0, |(median, _)| RESTART_LONG * median / longest);
        picture.bar(row.arm.class(), LABELS, y, long);
        picture.text("text", LABELS + long as u32 + 10, y + 11, outcome(row));
        y += BAR + 13;
    }
    picture.done(y + 14)
}

/// The duration of a restart, and the share that succeeded.
fn outcome(row: &Row<'_>) -> String {
    let took = row
        .figures
        .took
        .map_or_else(String::new, |(median, _)| format!("{}, ", millis(median)));
    let refused = match 100.0 - row.figures.unrefused {
        0.0 => String::new(),
        refused => format!(", {} refused at first", percent(refused)),
    };
    format!("{took}{} succeed{refused}", percent(row.figures.works))
}

impl Arm {
    fn class(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Default => "with",
            Self::Room => "room",
        }
    }
}

struct Picture {
    body: String,
}

impl Picture {
    fn text(&mut self, class: &str, x: u32, y: u32, text: impl Display) {
        let _ = writeln!(self.body, r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#);
    }

    /// Draws a short stub even for zero, to show that there is a figure.
    fn bar(&mut self, class: &str, x: u32, y: u32, long: f64) {
        let long = long.max(2.0);
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{long:.1}" height="{BAR}" rx="2"/>"#
        );
    }

    fn rule(&mut self, y: u32) {
        let end = WIDTH - LEFT;
        let _ = writeln!(
            self.body,
            r#"<line class="rule" x1="{LEFT}" y1="{y}" x2="{end}" y2="{y}"/>"#
        );
    }

    fn done(self, height: u32) -> String {
        let (wide, high) = (WIDTH - 1, height - 1);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif">
<title>Rejoins with and without the layer</title>
<style>{STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="{wide}" height="{high}" rx="14"/>
{}</svg>
"#,
            self.body
        )
    }
}
