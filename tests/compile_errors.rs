//! Compile errors name their cause. The texts are those of one compiler.

use std::process::Command;

/// The compiler whose messages `compile_fail/*.stderr` holds. To move on to another one, change this and run the test
/// with `TRYBUILD=overwrite`.
const COMPILER: &str = "rustc 1.95.0";

#[test]
fn compile_errors_name_the_cause() {
    let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    assert!(
        version.starts_with(COMPILER),
        "the messages are those of {COMPILER}, not of {version}"
    );
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
