//! Sends repeated WebRTC offers to a signaling server, and judges what comes back.
//!
//! `cargo run --release -p probe -- http://127.0.0.1:8080/whip/stage` probes a WHIP endpoint, in any language. `--help` lists
//! the options, and other protocols.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;

use crate::{
    args::{Args, Form},
    check::{Ruling, Verdict},
    checks::{Finding, Probe},
    progress::Progress,
    report::Report,
    target::Target,
};

mod args;
mod check;
mod checks;
mod http;
mod message;
mod offer;
mod progress;
mod reply;
mod report;
mod socket;
mod stream;
mod target;
mod verdict;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = args.check() {
        return fail(2, &format!("{error} (--help lists the options)"));
    }
    let target = Arc::new(Target::new(&args));
    let probe = Probe {
        target: Arc::clone(&target),
        direction: args.direction(),
        peers: args.peers(),
        copies: args.copies,
    };
    let progress = Progress::new(args.checks().count());
    let result = tokio::select! {
        result = run(&probe, &args, &progress) => Some(result),
        () = interrupted() => None,
    };
    progress.end();
    let Some(result) = result else {
        // Requests under way may still make sessions. A second interrupt leaves them.
        target.stop();
        tokio::select! {
            () = target.end_all() => {}
            () = interrupted() => {}
        }
        return fail(130, &format!("interrupted, {} sessions ended", target.sessions().ended));
    };
    let findings = match result {
        Ok(findings) => findings,
        Err(advice) => return fail(2, &advice),
    };
    let report = Report {
        url: &args.url,
        protocol: target.protocol,
        findings: &findings,
        sessions: target.sessions(),
    };
    let text = match args.report {
        Form::Text => report.text(),
        Form::Json => format!("{:#}\n", report.json()),
    };
    // A reader that has seen enough is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(report.has_failed()))
}

/// Runs all checks. An error says why the server cannot be probed.
async fn run(probe: &Probe, args: &Args, progress: &Progress) -> Result<Vec<Finding>, String> {
    let mut findings: Vec<Finding> = Vec::new();
    for (number, check) in (1..).zip(args.checks()) {
        progress.begin(number, check);
        let is_hopeless = findings.first().is_some_and(|first| {
            first.ruling.verdict == Verdict::Fail && {
                // Without a single answer the other checks say nothing.
                first.replies.iter().all(|reply| reply.answer().is_none())
            }
        });
        let finding = if is_hopeless {
            Finding {
                check,
                ruling: Ruling::not_applicable("not even one offer was answered"),
                replies: Vec::new(),
            }
        } else {
            probe.run(check).await
        };
        if findings.is_empty()
            && let Some(advice) = report::advice(&finding, probe.target.protocol)
        {
            return Err(advice);
        }
        findings.push(finding);
    }
    Ok(findings)
}

/// Resolves on Ctrl-C, and on the signal by which a process manager stops the probe.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("probe: {message}");
    ExitCode::from(code)
}
