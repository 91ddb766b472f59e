//! Guide pages: choosing a preset, placing the layer, answers, limits, operation, and help with compile errors.

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
page!(limitations, "limitations.md");
page!(metrics, "metrics.md");
page!(migration, "migration.md");
page!(compile_errors, "compile_errors.md");
page!(glossary, "glossary.md");
