//! Guide pages: choosing a preset, placing the layer, answers, limits, operation, and help with compile errors.

#[doc = include_str!("presets.md")]
pub mod presets {}

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("answers.md")]
pub mod answers {}

#[doc = include_str!("limitations.md")]
pub mod limitations {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("compile_errors.md")]
pub mod compile_errors {}

#[doc = include_str!("glossary.md")]
pub mod glossary {}
