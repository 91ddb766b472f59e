//! The README's examples are packages in `tests/readme`, each with its `cargo add` lines, as a user would paste them.

use std::collections::BTreeSet;

const README: &str = include_str!("../README.md");

struct Project {
    section: &'static str,
    source: &'static str,
    manifest: &'static str,
}

macro_rules! projects {
    ($($section:literal: $folder:literal,)*) => {
        [$(Project {
            section: $section,
            source: include_str!(concat!("readme/", $folder, "/src/main.rs")),
            manifest: include_str!(concat!("readme/", $folder, "/Cargo.toml")),
        }),*]
    };
}

const PROJECTS: [Project; 4] = projects! {
    "WHIP on axum": "axum-whip",
    "Room messages": "room-messages",
    "WebSocket on axum": "axum-websocket",
    "JSON on hyper": "hyper-json",
};

/// Returns the title and the text of the README's sections of the third level.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = README.split("\n### ").skip(1);
    sections.map(|section| {
        let section = section.split("\n## ").next().unwrap_or_default();
        section.split_once('\n').expect("a section should have a text")
    })
}

/// Returns a section's only block of code in this language.
fn block(section: &str, language: &str) -> &'static str {
    let (_, text) = sections()
        .find(|(title, _)| *title == section)
        .unwrap_or_else(|| panic!("the README should have a section {section}"));
    let start = format!("\n```{language}");
    let mut blocks = text.split(start.as_str()).skip(1);
    let block = blocks.next().and_then(|rest| rest.split_once("```"));
    assert!(blocks.next().is_none(), "{section} should have one block of {language}");
    let (block, _) = block.unwrap_or_else(|| panic!("{section} should have a block of {language}"));
    let (_attributes, code) = block.split_once('\n').expect("a block should have lines");
    code
}

/// Returns each dependency that `cargo add` lines name, followed by its features.
fn added(commands: &str) -> BTreeSet<Vec<&str>> {
    let mut dependencies = BTreeSet::new();
    for command in commands.lines() {
        let names = command
            .strip_prefix("cargo add ")
            .expect("a line should add dependencies");
        match names.split_once(" --features ") {
            Some((name, features)) => {
                dependencies.insert([name].into_iter().chain(features.split(',')).collect());
            }
            None => dependencies.extend(names.split(' ').map(|name| vec![name])),
        }
    }
    dependencies
}

/// Returns each dependency of a manifest, followed by its features.
fn listed(manifest: &str) -> BTreeSet<Vec<&str>> {
    let (_, rest) = manifest
        .split_once("[dependencies]\n")
        .expect("there should be dependencies");
    let lines = rest.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(" = ").expect("a dependency should fill one line");
            let features = value
                .split_once("features = [")
                .map(|(_, rest)| rest.trim_end_matches("] }"));
            let features = features.into_iter().flat_map(|features| features.split(", "));
            [name]
                .into_iter()
                .chain(features.map(|feature| feature.trim_matches('"')))
                .collect()
        })
        .collect()
}

#[test]
fn projects_equal_readme_examples() {
    for Project { section, source, .. } in PROJECTS {
        let (program, _) = source
            .split_once("\n#[cfg(test)]\n")
            .unwrap_or_else(|| panic!("{section} should have tests"));
        assert_eq!(program, block(section, "rust"), "{section}");
    }
}

#[test]
fn projects_need_what_readme_adds() {
    for Project { section, manifest, .. } in PROJECTS {
        assert_eq!(listed(manifest), added(block(section, "sh")), "{section}");
    }
}

#[test]
fn every_example_is_project() {
    let titles: Vec<_> = sections().map(|(title, _)| title).collect();
    assert_eq!(titles, PROJECTS.map(|project| project.section));
}
