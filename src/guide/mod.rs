//! Guide pages: choosing a preset, placing the layer, answers, limits, operation, and help with compile errors.
//!
//! | read | to learn |
//! |---|---|
//! | [`presets`] | which configuration to start from |
//! | [`placement`] | where the layer goes among other layers, and what to use as a key |
//! | [`answers`] | what the sender of a duplicate gets, and when a session ends |
//! | [`nodes`] | how several nodes behind a load balancer share their decisions |
//! | [`limitations`] | what to check before production |
//! | [`metrics`] | how to watch the layer in operation |
//! | [`compile_errors`] | what a compiler message means |
//! | [`migration`] | what changes for users of the JavaScript room manager |
//! | [`glossary`] | the meaning of a word |

// The examples use items of these features, and doc tests run without them too.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[cfg_attr(all(feature = "http", feature = "json"), doc = include_str!($file))]
        #[cfg_attr(
            not(all(feature = "http", feature = "json")),
            doc = "This page is shown with the features `http` and `json`."
        )]
        pub mod $name {}
    };
}

page!(presets, "presets.md");
page!(placement, "placement.md");
page!(answers, "answers.md");
page!(nodes, "nodes.md");
page!(limitations, "limitations.md");
page!(metrics, "metrics.md");
page!(migration, "migration.md");
page!(compile_errors, "compile_errors.md");
page!(glossary, "glossary.md");
