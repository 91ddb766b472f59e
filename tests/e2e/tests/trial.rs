//! The trial of the original story, in short: what must hold in every rejoin of it, and that it cleans up.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::program;
use serde_json::Value;

const REJOINS: usize = 3;

#[test]
fn with_the_layer_each_rejoin_makes_one_connection_that_lasts() {
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trial");
    // More time than in the trial itself: the machine may be a slow one.
    let flags = "--short --rejoins 3 --pairs 2 --within-ms 10000 --seed 1 --into";
    let output = program::command("trial").args(flags.split(' ')).arg(&into).output();
    let (stdout, stderr) = succeeded(output.expect("it runs"));
    let read = |name| fs::read_to_string(into.join(name)).expect("it is written");
    assert_eq!(stdout, read("trial.md"), "{stderr}");
    let result: Value = serde_json::from_str(&read("trial.json")).expect("JSON");

    for network in ["never", "3 times, 50–500 ms later"] {
        let repetitions = if network == "never" { 0 } else { 3 };
        for outcome in outcomes(&result["rejoins"], network, "with the layer") {
            assert_eq!(outcome["made"], 1, "{network}: {outcome}");
            assert_eq!(outcome["refused"], repetitions, "{network}: {outcome}");
            assert!(lasts(outcome), "{network}: {outcome}");
        }
        for outcome in outcomes(&result["rejoins"], network, "without the layer") {
            assert_eq!(outcome["made"], repetitions + 1, "{network}: {outcome}");
            assert_eq!(outcome["refused"], 0, "{network}: {outcome}");
            assert!(lasts(outcome) || repetitions > 0, "{network}: {outcome}");
        }
    }

    for server in ["without the layer", "with the layer: queue, no cooldown"] {
        for outcome in outcomes(&result["restarts"], "never", server) {
            assert!(lasts(outcome) && outcome["refused"] == 0, "{server}: {outcome}");
        }
    }
    // A restart on a machine that stood still may come after the cooldown, so not each must have been refused.
    let cooled = outcomes(&result["restarts"], "never", "with the layer");
    assert!(cooled.iter().all(lasts), "{cooled:?}");
    assert!(cooled.iter().any(|outcome| outcome["refused"] == 1), "{cooled:?}");

    let picture = read("trial.svg");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_eq!(
        picture.matches("<rect ").count(),
        1 + 2 + 4 * 3 + 3,
        "ground, legend, bars"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn terminated_it_takes_servers_and_browsers_with_it() {
    use std::os::unix::process::CommandExt;

    let mut trial = program::command("trial")
        .args(["--short", "--pairs", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it runs");
    let id = trial.id();
    let stderr = BufReader::new(trial.stderr.take().expect("stderr is piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("rejoins")), "no stage begins");
    let (mut running, profiles) = (in_group(id), profiles(id));
    running.retain(|process| *process != id);
    assert!(!running.is_empty());
    assert_eq!(profiles.len(), 2);

    let terminated = Command::new("kill").args(["-TERM", &id.to_string()]).status();
    assert!(terminated.expect("kill runs").success());
    assert_eq!(trial.wait().expect("it ends").code(), Some(1));
    // The browsers' helpers end by themselves when their browsers are gone.
    let start = Instant::now();
    while !in_group(id).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", in_group(id));
        sleep(Duration::from_millis(20));
    }
    assert!(profiles.iter().all(|profile| !profile.exists()), "{profiles:?}");
}

#[test]
fn wrong_flags_are_told_in_a_line() {
    let wrong = [
        (
            "--rejoins=0",
            "--rejoins wants a whole number from 1 to 100000, not \"0\"",
        ),
        (
            "--pairs=many",
            "--pairs wants a whole number from 1 to 64, not \"many\"",
        ),
        (
            "--within-ms=999",
            "--within-ms wants a whole number from 1000 to 20000, not \"999\"",
        ),
        (
            "--seed=-1",
            "--seed wants a whole number from 0 to 4294967295, not \"-1\"",
        ),
        ("--long", "invalid option '--long'"),
    ];
    for (flag, error) in wrong {
        let output = program::command("trial").arg(flag).output().expect("it runs");
        let stderr = text(output.stderr);
        assert_eq!(
            (output.status.code(), text(output.stdout)),
            (Some(2), String::new()),
            "{flag}"
        );
        assert!(
            stderr.contains(error) && stderr.lines().count() == 1,
            "{flag}: {stderr}"
        );
    }
}

#[test]
fn help_lists_every_flag() {
    let output = program::command("trial").arg("--help").output().expect("it runs");
    let (stdout, _) = succeeded(output);
    for flag in ["--rejoins", "--pairs", "--within-ms", "--seed", "--short", "--into"] {
        assert!(stdout.contains(flag), "{flag}");
    }
}

fn outcomes<'a>(arms: &'a Value, network: &str, server: &str) -> &'a [Value] {
    let mut arms = arms.as_array().expect("arms").iter();
    let arm = arms.find(|arm| arm["repeated"] == network && arm["server"] == server);
    let arm = arm.unwrap_or_else(|| panic!("no {network}, {server}"));
    let outcomes = arm["outcomes"].as_array().expect("outcomes");
    assert_eq!(outcomes.len(), REJOINS, "{network}, {server}");
    outcomes
}

fn lasts(outcome: &Value) -> bool {
    outcome["after_ms"].is_number() && outcome["works"] == true
}

/// Processes started by the one of that id, as far as they started no group of their own.
fn in_group(id: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    processes
        .filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // After the name, which may hold anything: state, parent, group.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, group) = (fields.next()?, fields.nth(1)?);
            (state != "Z" && group == id.to_string()).then(|| process.file_name().to_str()?.parse().ok())?
        })
        .collect()
}

/// The directories of the browsers that it started.
fn profiles(id: u32) -> Vec<PathBuf> {
    let name = format!("room-test-{id}-");
    let entries = fs::read_dir(env::temp_dir()).expect("a directory").flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&name))
        .map(|entry| entry.path())
        .collect()
}

fn succeeded(output: Output) -> (String, String) {
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}
