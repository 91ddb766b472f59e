//! The result as Markdown tables and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{
    args::Settings,
    figures::Figures,
    stages::{Act, Arm, Measured},
};

const TITLE: &str = "A user rejoins, and the network repeats the offer or loses the answer";

pub(crate) struct Report {
    command: String,
    about: String,
    pub(crate) within: f64,
    pub(crate) rejoins: u32,
    measured: Vec<Measured>,
}

/// One row of a table.
pub(crate) struct Row<'a> {
    pub(crate) network: &'static str,
    pub(crate) arm: Arm,
    pub(crate) figures: Figures,
    measured: &'a Measured,
}

struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Report {
    pub(crate) fn new(settings: &Settings, browser: &str, measured: Vec<Measured>) -> Self {
        let within = settings.within.as_secs_f64();
        let about = format!(
            "Pairs of pages of examples/room in headless Chromium {browser} on one machine, each page in its own browser, \
{} pairs in parallel. Three servers run at the same time: one without the layer, one with the builder's defaults, one with \
the preset OfferDedupLayer::room(). Alice stays. Bob presses Rejoin, which \
closes his socket and his connection, joins again and sends Alice an offer. The page makes a new RTCPeerConnection for \
each offer that arrives, in place of the previous one, and takes the first answer. It does nothing against repetitions \
itself. The server repeats each offer as the row says, with delays drawn from the same seed on each server. Where the \
answer is lost, the server drops the first answer to each of Bob's sockets before it reads it. While Bob has no answer, he \
starts again with a new RTCPeerConnection and its offer 1, 2 and 4 s after the press. \
A rejoin has connected when a ping came back to Bob over its data channel, counted from the press of the button. It works \
if {within} s after the press both pages are connected and each gets one more ping back within 2 s. One that connected \
and does not work broke in between. Medians leave out what took more than {within} s. An ICE restart is a second offer on \
the same connection, which Bob sends 0 to 500 ms after the answer to his first, and is counted from there. It has \
succeeded when it was answered within {within} s and the connection works at the end. The page sends a refused offer \
again when the server says so. For a client that does not, only the restarts that were never refused succeed.",
            settings.pairs
        );
        Self {
            command: settings.command(),
            about,
            within,
            rejoins: settings.rejoins,
            measured,
        }
    }

    pub(crate) fn rows(&self, act: Act) -> impl Iterator<Item = Row<'_>> {
        let measured = self.measured.iter().filter(move |measured| measured.act == act);
        measured.map(|measured| Row {
            network: measured.network,
            arm: measured.arm,
            figures: Figures::of(&measured.outcomes),
            measured,
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let Self { command, about, .. } = self;
        let mut text = format!("# {TITLE}\n\n```sh\n{command}\n```\n\n{about}\n");
        for table in self.tables() {
            let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
            let rule = "|---".repeat(table.columns.len());
            let _ = write!(text, "\n## {}\n\n{}{rule}|\n", table.title, line(&table.columns));
            table.rows.iter().for_each(|row| text += &line(row));
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let tables = self
            .tables()
            .map(|table| json!({ "title": table.title, "columns": table.columns, "rows": table.rows }));
        let outcomes =
            [Act::Rejoin, Act::Restart].map(|act| self.rows(act).map(|row| row.outcomes()).collect::<Vec<_>>());
        let [rejoins, restarts] = outcomes;
        json!({
            "title": TITLE,
            "command": self.command,
            "about": self.about,
            "tables": tables,
            "rejoins": rejoins,
            "restarts": restarts,
        })
    }

    fn tables(&self) -> [Table; 2] {
        let within = self.within;
        let rejoins = self.rows(Act::Rejoin).map(|row| {
            let Figures {
                tries,
                in_time,
                works,
                made,
                ..
            } = row.figures;
            vec![
                row.network.to_owned(),
                row.arm.name().to_owned(),
                tries.to_string(),
                percent(in_time),
                percent(works),
                percent(in_time - works),
                format!("{:.2}, at most {}", made.0, made.1),
                row.figures.median(),
                row.figures.late(),
            ]
        });
        let restarts = self.rows(Act::Restart).map(|row| {
            let Figures {
                tries,
                works,
                unrefused,
                ..
            } = row.figures;
            vec![
                row.arm.name().to_owned(),
                tries.to_string(),
                percent(works),
                percent(unrefused),
                row.figures.median(),
                row.figures.late(),
            ]
        });
        [
            Table {
                title: "Rejoins".into(),
                columns: vec![
                    "network".into(),
                    "server".into(),
                    "rejoins".into(),
                    format!("connected within {within} s"),
                    format!("works after {within} s"),
                    "connected, then broke".into(),
                    "peer connections per rejoin, at the receiver".into(),
                    "time to connect, median".into(),
                    "95th percentile".into(),
                ],
                rows: rejoins.collect(),
            },
            Table {
                title: "What it costs: an ICE restart within 500 ms of the answer, no fault".into(),
                columns: vec![
                    "server".into(),
                    "restarts".into(),
                    format!("succeeded within {within} s"),
                    "never refused".into(),
                    "time to the answer, median".into(),
                    "95th percentile".into(),
                ],
                rows: restarts.collect(),
            },
        ]
    }
}

impl Row<'_> {
    fn outcomes(&self) -> Value {
        let outcomes = self.measured.outcomes.iter().map(|outcome| {
            json!({
                "after_ms": outcome.after,
                "works": outcome.works,
                "made": outcome.made,
                "refused": outcome.refused,
            })
        });
        let outcomes: Vec<_> = outcomes.collect();
        json!({ "network": self.network, "server": self.arm.name(), "outcomes": outcomes })
    }
}

impl Figures {
    fn median(&self) -> String {
        self.took.map_or_else(|| "–".into(), |(median, _)| millis(median))
    }

    fn late(&self) -> String {
        self.took.map_or_else(|| "–".into(), |(_, late)| millis(late))
    }
}

impl Arm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Without => "without the layer",
            Self::Default => "with the layer, defaults",
            Self::Room => "with the layer, room()",
        }
    }
}

pub(crate) fn millis(millis: f64) -> String {
    format!("{millis:.0} ms")
}

pub(crate) fn percent(percent: f64) -> String {
    format!("{} %", (10.0 * percent).round() / 10.0)
}
