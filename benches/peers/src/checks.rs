//! The checks on our own contenders, for every run.

use crate::{
    args::Size,
    contenders::{REFUSING, WHIP},
    memory::{Memory, PROBES},
    rounds::Rounds,
    steady::{Run, Runs, Work},
    storm::{CONNECTIONS, PEERS, Storms},
};

/// Allowed growth over the memory limit, for the allocator's overhead and the error of the estimate.
const SLACK: f64 = 2.0;
/// Allowed growth besides the memory of offers.
const ASIDE: u64 = 32 << 20;

pub(crate) fn all(size: &Size, storms: &Storms, steady: &[Runs], memory: &[Memory]) -> Result<(), String> {
    let mut broken = Vec::new();
    check_storms(storms, &mut broken);
    check_steady(size, steady, &mut broken);
    check_memory(memory, &mut broken);
    match broken.len() {
        0 => Ok(()),
        n => Err(format!("{n} checks failed:\n  {}", broken.join("\n  "))),
    }
}

fn check_storms(storms: &Storms, broken: &mut Vec<String>) {
    for (name, answered, refused) in [(WHIP, CONNECTIONS, 0), (REFUSING, PEERS, CONNECTIONS - PEERS)] {
        let rounds = storms.iter().filter(|(contender, _)| contender.name == name);
        for storm in rounds.flat_map(|(_, rounds)| rounds.iter()) {
            match storm {
                Ok(storm)
                    if storm.calls == PEERS
                        && storm.answers.of("201") == answered
                        && storm.answers.of("409") == refused => {}
                Ok(storm) => broken.push(format!("{name}, storm: {} calls, {}", storm.calls, storm.answers)),
                Err(error) => broken.push(format!("{name}, storm: {error}")),
            }
        }
    }
}

fn check_steady(size: &Size, steady: &[Runs], broken: &mut Vec<String>) {
    let mut check = |what: &str, runs: &Rounds<Run>, calls: u64, answered: u64| {
        for run in runs.iter() {
            match run {
                Ok(run) if run.calls == calls && run.answers.of("201") == answered => {}
                Ok(run) => broken.push(format!("{what}: {} calls, {}", run.calls, run.answers)),
                Err(error) => broken.push(format!("{what}: {error}")),
            }
        }
    };
    for runs in steady.iter().filter(|runs| runs.contender.name == WHIP) {
        check("whip, duplicates", runs.of(Work::Duplicates), 0, size.duplicates);
        check("whip, new offers", runs.of(Work::New), size.new_offers, size.new_offers);
    }
    for runs in steady.iter().filter(|runs| runs.contender.name == REFUSING) {
        check("refusing, duplicates", runs.of(Work::Duplicates), 0, 0);
        check(
            "refusing, new offers",
            runs.of(Work::New),
            size.new_offers,
            size.new_offers,
        );
    }
}

fn check_memory(memory: &[Memory], broken: &mut Vec<String>) {
    let ours = memory
        .iter()
        .filter(|memory| [WHIP, REFUSING].contains(&memory.contender.name));
    for memory in ours {
        let name = memory.contender.name;
        match (memory.bound, &memory.known) {
            (_, Err(error)) => broken.push(format!("{name}, memory: {error}")),
            (Some(bound), Ok(_)) if memory.growth > (bound as f64 * SLACK) as u64 + ASIDE => broken.push(format!(
                "{name}: memory limited to {bound} bytes grew by {} bytes",
                memory.growth
            )),
            (None, Ok(known)) if *known < PROBES => {
                broken.push(format!("{name}: only {known} of {PROBES} known, despite room for all"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{contenders, load::Tally, storm::Storm};

    fn storm(calls: u64, answered: u64, closed: u64) -> Storm {
        let mut answers = Tally::default();
        answers.count_many("201", answered);
        answers.count_many("closed", closed);
        Storm {
            calls,
            answers,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            sending: Duration::ZERO,
        }
    }

    fn broken(storm: Result<Storm, String>) -> usize {
        let whip = contenders::find(WHIP).unwrap();
        let mut broken = Vec::new();
        let mut rounds = Rounds::default();
        rounds.push(storm);
        check_storms(&vec![(whip, rounds)], &mut broken);
        broken.len()
    }

    #[test]
    fn inexact_storm_fails_the_check() {
        assert_eq!(broken(Ok(storm(PEERS, CONNECTIONS, 0))), 0);
        assert_eq!(broken(Ok(storm(PEERS + 1, CONNECTIONS, 0))), 1);
        assert_eq!(broken(Ok(storm(PEERS, CONNECTIONS - 1, 1))), 1);
        assert_eq!(broken(Err("the server is gone".to_owned())), 1);
    }

    #[test]
    fn memory_checks_find_growth_and_loss() {
        let whip = contenders::find(WHIP).unwrap();
        let broken = |bound, growth, known| {
            let mut memory = Memory::none(whip, bound);
            (memory.growth, memory.known) = (growth, known);
            let mut broken = Vec::new();
            check_memory(&[memory], &mut broken);
            broken.len()
        };
        assert_eq!(broken(Some(4 << 20), 20 << 20, Ok(3)), 0);
        assert_eq!(broken(Some(4 << 20), 50 << 20, Ok(3)), 1);
        assert_eq!(broken(None, 50 << 20, Ok(PROBES)), 0);
        assert_eq!(broken(None, 50 << 20, Ok(PROBES - 1)), 1);
        assert_eq!(broken(None, 0, Err("stopped".to_owned())), 1);
    }
}
