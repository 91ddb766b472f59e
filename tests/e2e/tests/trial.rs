//! A short run of the trial: checks every rejoin, and that the trial cleans up.

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
fn layer_makes_one_lasting_connection_per_rejoin() {
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trial");
    // Allows more time than the trial itself, for slow machines.
    let flags = "--short --rejoins 3 --pairs 2 --within-ms 10000 --seed 1 --into";
    let output = program::command("trial").args(flags.split(' ')).arg(&into).output();
    let (stdout, stderr) = succeeded(output.expect("the trial should run"));
    let read = |name| fs::read_to_string(into.join(name)).expect("the trial should write its files");
    assert_eq!(stdout, read("trial.md"), "{stderr}");
    let result: Value = serde_json::from_str(&read("trial.json")).expect("trial.json should be JSON");

    for (network, repetitions) in [("no fault", 0), ("3 repeats, 50–500 ms later", 3)] {
        for server in ["with the layer, defaults", "with the layer, room()"] {
            for outcome in outcomes(&result["rejoins"], network, server) {
                assert_eq!(outcome["made"], 1, "{network}, {server}: {outcome}");
                assert_eq!(outcome["refused"], repetitions, "{network}, {server}: {outcome}");
                assert!(lasts(outcome), "{network}, {server}: {outcome}");
            }
        }
        for outcome in outcomes(&result["rejoins"], network, "without the layer") {
            assert_eq!(outcome["made"], repetitions + 1, "{network}: {outcome}");
            assert_eq!(outcome["refused"], 0, "{network}: {outcome}");
            assert!(lasts(outcome) || repetitions > 0, "{network}: {outcome}");
        }
    }

    let lost = "the answer is lost";
    for (server, refused) in [("without the layer", 0), ("with the layer, room()", 1)] {
        for outcome in outcomes(&result["rejoins"], lost, server) {
            // The answer to the second offer connects, or on a stalled machine a later one.
            assert!(outcome["made"].as_u64() >= Some(2), "{server}: {outcome}");
            assert!(outcome["refused"].as_u64() >= Some(refused), "{server}: {outcome}");
            assert!(outcome["after_ms"].as_f64() >= Some(1000.0), "{server}: {outcome}");
            assert!(lasts(outcome), "{server}: {outcome}");
        }
    }
    // By default the second offer is refused until the first one's handler gives up.
    for outcome in outcomes(&result["rejoins"], lost, "with the layer, defaults") {
        assert!(outcome["refused"].as_u64() >= Some(1), "{outcome}");
    }

    for server in ["without the layer", "with the layer, room()"] {
        for outcome in outcomes(&result["restarts"], "no fault", server) {
            assert!(lasts(outcome) && outcome["refused"] == 0, "{server}: {outcome}");
        }
    }
    // On a stalled machine a restart may come after the cooldown, so not every restart must be refused.
    let cooled = outcomes(&result["restarts"], "no fault", "with the layer, defaults");
    assert!(cooled.iter().all(lasts), "{cooled:?}");
    assert!(cooled.iter().any(|outcome| outcome["refused"] == 1), "{cooled:?}");

    let picture = read("trial.svg");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_eq!(
        picture.matches("<rect ").count(),
        1 + 3 + 9 * 3 + 3,
        "background, legend and bars"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn termination_stops_servers_and_browsers() {
    use std::os::unix::process::CommandExt;

    let mut trial = program::command("trial")
        .args(["--short", "--pairs", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the trial should run");
    let id = trial.id();
    let stderr = BufReader::new(trial.stderr.take().expect("stderr is piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("rejoins")), "no stage began");
    let (mut running, profiles) = (in_group(id), profiles(id));
    running.retain(|process| *process != id);
    assert!(!running.is_empty());
    assert_eq!(profiles.len(), 2);

    let terminated = Command::new("kill").args(["-TERM", &id.to_string()]).status();
    assert!(terminated.expect("kill should run").success());
    assert_eq!(trial.wait().expect("the trial should exit").code(), Some(1));
    // The browsers' helper processes end once their browsers are gone.
    let start = Instant::now();
    while !in_group(id).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", in_group(id));
        sleep(Duration::from_millis(20));
    }
    assert!(profiles.iter().all(|profile| !profile.exists()), "{profiles:?}");
}

#[test]
fn wrong_flags_fail_with_usage() {
    let wrong = [
        (
            "--rejoins=0",
            "invalid value '0' for '--rejoins <N>': 0 is not in 1..=100000",
        ),
        ("--pairs=many", "invalid value 'many' for '--pairs <N>'"),
        (
            "--within-ms=999",
            "invalid value '999' for '--within-ms <MS>': not a whole number from 1000 to 20000",
        ),
        ("--seed=-1", "invalid value '-1' for '--seed <SEED>'"),
        ("--long", "unexpected argument '--long' found"),
    ];
    for (flag, error) in wrong {
        let output = program::command("trial")
            .arg(flag)
            .output()
            .expect("the trial should run");
        let stderr = text(output.stderr);
        assert_eq!(
            (output.status.code(), text(output.stdout)),
            (Some(2), String::new()),
            "{flag}"
        );
        let first = stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("error: ") && first.contains(error),
            "{flag}: {stderr}"
        );
    }
}

#[test]
fn help_lists_every_flag() {
    let output = program::command("trial")
        .arg("--help")
        .output()
        .expect("the trial should run");
    let (stdout, _) = succeeded(output);
    for flag in ["--rejoins", "--pairs", "--within-ms", "--seed", "--short", "--into"] {
        assert!(stdout.contains(flag), "{flag}");
    }
}

fn outcomes<'a>(arms: &'a Value, network: &str, server: &str) -> &'a [Value] {
    let mut arms = arms.as_array().expect("arms should be a list").iter();
    let arm = arms.find(|arm| arm["network"] == network && arm["server"] == server);
    let arm = arm.unwrap_or_else(|| panic!("no {network}, {server}"));
    let outcomes = arm["outcomes"].as_array().expect("outcomes should be a list");
    assert_eq!(outcomes.len(), REJOINS, "{network}, {server}");
    outcomes
}

fn lasts(outcome: &Value) -> bool {
    outcome["after_ms"].is_number() && outcome["works"] == true
}

/// The live processes in the process group `id`.
fn in_group(id: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc should be mounted").flatten();
    processes
        .filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // The process name may hold anything. State, parent and group follow it.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, group) = (fields.next()?, fields.nth(1)?);
            (state != "Z" && group == id.to_string()).then(|| process.file_name().to_str()?.parse().ok())?
        })
        .collect()
}

/// The profile directories of the browsers that the process started.
fn profiles(id: u32) -> Vec<PathBuf> {
    let name = format!("room-test-{id}-");
    let entries = fs::read_dir(env::temp_dir())
        .expect("the temporary directory should be readable")
        .flatten();
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
    String::from_utf8(bytes).expect("the output should be UTF-8")
}
