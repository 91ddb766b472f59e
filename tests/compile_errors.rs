//! Compile errors name their cause. The texts are those of one compiler.

use std::{fs, process::Command};

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

/// Each message in the guide is the one of a mistake in `compile_fail`, and each mistake there is in the guide.
#[test]
fn guide_quotes_each_compile_error() {
    let messages: Vec<_> = fs::read_dir("tests/compile_fail")
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "stderr"))
        .map(|path| (fs::read_to_string(&path).unwrap(), path))
        .collect();
    let page = fs::read_to_string("src/guide/compile_errors.md").unwrap();
    let quotes = quotes(&page);
    for quote in &quotes {
        let quoted = messages.iter().filter(|(message, _)| is_quote_of(quote, message));
        assert_eq!(quoted.count(), 1, "the message of one mistake should read: {quote}");
    }
    for (message, path) in &messages {
        let quotes = quotes.iter().filter(|quote| is_quote_of(quote, message));
        assert_eq!(quotes.count(), 1, "the guide should quote {} once", path.display());
    }
}

#[test]
fn quotes_match_their_message_only() {
    let message = "error[E0277]: `Fn(A) -> B` does not fit\n   = note: required for\n           `C<D>` to fit\n";
    for quote in [
        "`Fn(..) -> B` does not fit",
        "`..` does not fit … required for `C<..>` to fit",
    ] {
        assert!(is_quote_of(quote, message), "{quote}");
    }
    for quote in [
        "`Fn(..) -> C` does not fit",
        "required for `C<D>` to fit",
        "`..` does not fit … required for `C<E>`",
        "does not fit … `Fn(A) -> B`",
    ] {
        assert!(!is_quote_of(quote, message), "{quote}");
    }
}

/// Returns the block quotes of a page, each in one line.
fn quotes(page: &str) -> Vec<String> {
    let blocks = page.split("\n\n").filter(|block| block.starts_with("> "));
    let text = |line: &str| line.trim_start_matches("> ").to_owned();
    blocks
        .map(|block| block.lines().map(text).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Returns whether a quote is of a compiler's message. It begins with an error's headline, in which `..` leaves text out.
/// Further parts follow ` … `.
fn is_quote_of(quote: &str, message: &str) -> bool {
    let (headline, rest) = quote.split_once(" … ").unwrap_or((quote, ""));
    let mut headlines = message.lines().filter(|line| line.starts_with("error"));
    let rest = rest.split(" … ").flat_map(|part| part.split(".."));
    headlines.any(|line| has_in_order(line, headline.split(".."))) && {
        let after = message.split_once('\n').map_or("", |(_, after)| after);
        has_in_order(&one_line(after), rest)
    }
}

fn has_in_order<'a>(text: &str, mut parts: impl Iterator<Item = &'a str>) -> bool {
    let mut rest = Some(text);
    parts.all(|part| {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        rest.is_some()
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
